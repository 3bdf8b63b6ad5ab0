"""Files of the store: nothing is half written, generations replace each other, and passed memory is released."""

import errno
import mmap
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from hoshina.core import storage
from hoshina.core.errors import Refusal
from hoshina.core.storage import Generations, PageReleaser, StoreError, write_arrays


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
    releaser = PageReleaser(X)
    total = float(X.sum(dtype=np.float64))
    full = resident(file)
    assert full > 7000
    releaser.release(2000)
    assert resident(file) < full * 0.6
    releaser.release(4000)
    assert resident(file) <= 4 * mmap.PAGESIZE // 1024
    assert float(X.sum(dtype=np.float64)) == total


def test_what_could_be_lost_is_not_given_back(tmp_path: Path) -> None:
    file = tmp_path / "X.npy"
    np.save(file, np.zeros((3000, 10), np.float32))
    changed = np.load(file, mmap_mode="c")
    changed[:] = 1
    PageReleaser(changed).release(3000)
    assert (changed == 1).all()
    plain = np.ones((3, 2))
    PageReleaser(plain).release(3)
    assert (plain == 1).all()


class TestReplacing:
    def test_a_block_that_fails_leaves_the_older_file_alone(self, tmp_path: Path) -> None:
        file = tmp_path / "state.json"
        file.write_bytes(b"older")
        with pytest.raises(ZeroDivisionError), storage.replacing(file) as stream:
            stream.writelines(b"half of the new" if left else bytes(1 // left) for left in (1, 0))
        assert file.read_bytes() == b"older"
        assert list(tmp_path.iterdir()) == [file]

    @pytest.mark.parametrize("is_durable", [True, False])
    def test_the_bytes_are_on_the_disk_before_they_get_their_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_durable: bool
    ) -> None:
        calls: list[str] = []
        monkeypatch.setattr("os.fsync", lambda handle: calls.append(f"fsync {os.fstat(handle).st_size}"))
        monkeypatch.setattr(storage, "put_in_place", lambda draft, target: calls.append("rename"))
        with storage.replacing(tmp_path / "state.json", is_durable=is_durable) as stream:
            stream.write(b"new")
        assert calls == (["fsync 3", "rename"] if is_durable else ["rename"])

    def test_a_disk_that_is_full_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="Is the disk full") as raised, storage.writing(tmp_path / "X.npy"):
            raise OSError(errno.ENOSPC, "No space left on device")
        assert isinstance(raised.value, Refusal)
        assert list(tmp_path.iterdir()) == []


@dataclass
class Row:
    """As a database row: ``newest`` is its generation there."""

    generation: int
    newest: int

    def refresh_from_db(self, *, fields: list[str]) -> None:
        self.generation = self.newest


class TestGenerations:
    @pytest.fixture
    def files(self, tmp_path: Path) -> Generations:
        return Generations(tmp_path / "7", "Make it again.")

    def test_a_reader_whose_files_went_reads_the_newer_ones(self, files: Generations) -> None:
        files.write("values", 2, np.arange(3))
        row = Row(1, newest=2)
        assert files.read_current(row, lambda: files.open("values", row.generation)).tolist() == [0, 1, 2]
        assert row.generation == 2

    def test_files_that_are_gone_for_good_are_told(self, files: Generations) -> None:
        row = Row(1, newest=2)
        with pytest.raises(StoreError, match=r"values-2\.npy is missing\. Make it again\."):
            files.read_current(row, lambda: files.open("values", row.generation))

    def test_another_kind_of_rows_is_damage(self, files: Generations) -> None:
        files.write("values", 1, np.zeros((4, 2), np.float32))
        assert files.open("values", 1, np.float32, (2,)).shape == (4, 2)
        assert files.open("values", 1, np.float32, (None,)).shape == (4, 2)
        for dtype, shape in ((np.float64, (2,)), (np.float32, (3,)), (np.float32, ()), (np.float32, (2, 1))):
            with pytest.raises(StoreError, match="Make it again"):
                files.open("values", 1, dtype, shape)

    def test_a_number_is_never_used_twice(self, files: Generations) -> None:
        assert files.next_after(0) == 1
        files.write("values", 5, np.arange(3))  # of a run that was believed dead
        write_arrays(files.file("graph", 6, "npz"), indices=np.arange(3))
        assert files.next_after(3) == 7
        assert files.next_after(9) == 10

    def test_earlier_generations_go_and_later_ones_stay(self, files: Generations) -> None:
        for generation in (1, 2, 3):
            files.write("unit", generation, np.arange(3))
            files.write("unitgraph", generation, np.arange(3))
        files.remove_before(2, "unit")
        assert {file.name for file in files.folder.iterdir()} == {
            "unit-2.npy", "unit-3.npy", "unitgraph-1.npy", "unitgraph-2.npy", "unitgraph-3.npy",
        }  # fmt: skip
        files.remove_before(3)
        assert {file.name for file in files.folder.iterdir()} == {"unit-3.npy", "unitgraph-3.npy"}

    def test_what_is_there_is_not_made_again(self, files: Generations) -> None:
        make = Mock(side_effect=lambda: np.arange(3))
        for _ in range(2):
            assert files.array_of("inverse", 1, make).tolist() == [0, 1, 2]
            assert files.arrays_of("graph", 1, lambda: {"indices": make()})["indices"].tolist() == [0, 1, 2]
        assert make.call_count == 2
