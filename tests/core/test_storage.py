"""Mapped files: the memory of what was passed is given back, and what was read stays readable."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from hoshina.core.storage import Passing


def resident(file: Path) -> int:
    """Return the kilobytes of a mapped file that count as this process's."""
    lines = Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith(str(file)))
    return int(next(line for line in lines[start:] if line.startswith("Rss:")).split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is resident")
def test_rows_that_were_passed_no_longer_count_as_this_process_s_memory(tmp_path: Path) -> None:
    file = tmp_path / "X.npy"
    np.save(file, np.arange(4000 * 500, dtype=np.float32).reshape(4000, 500))
    X = np.load(file, mmap_mode="r")
    passing = Passing(X)
    total = float(X.sum(dtype=np.float64))
    full = resident(file)
    assert full > 7000
    passing.done(2000)
    assert resident(file) < full * 0.6
    passing.done(4000)
    assert resident(file) <= 4 * mmap.PAGESIZE // 1024
    assert float(X.sum(dtype=np.float64)) == total


def test_what_could_be_lost_is_not_given_back(tmp_path: Path) -> None:
    file = tmp_path / "X.npy"
    np.save(file, np.zeros((3000, 10), np.float32))
    changed = np.load(file, mmap_mode="c")
    changed[:] = 1
    Passing(changed).done(3000)
    assert (changed == 1).all()
    plain = np.ones((3, 2))
    Passing(plain).done(3)
    assert (plain == 1).all()
