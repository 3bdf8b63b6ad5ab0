"""Telling processes apart, and stopping them."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hoshina.core.processes import describe, lives
from hoshina.management import supervision
from tests.parts import wait_until

pytestmark = pytest.mark.slow


def test_a_process_is_known_by_number_and_start() -> None:
    me = describe()
    assert lives(me)
    pid, started = me.split(":")
    assert not lives(f"{pid}:{int(started) - 100}")  # an earlier process with this number
    assert not lives("999999999:1")
    assert not lives("")
    assert not lives("x:y")


def test_a_zombie_does_not_live() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    description = describe(process.pid)
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, why="its end")
    assert not lives(description)
    process.wait()
    assert not lives(description)


def test_stop_kills_who_does_not_listen_and_what_is_below(tmp_path: Path) -> None:
    deaf = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        "print(child.pid, flush=True); time.sleep(600)"
    )
    output = tmp_path / "output"
    with output.open("wb") as stream:
        process = supervision.start([sys.executable, "-c", deaf], stdout=stream.fileno(), stderr=None)
    wait_until(lambda: output.read_text().strip(), why="the grandchild")
    below = describe(int(output.read_text()))
    supervision.stop([process], patience=0.3)
    assert process.returncode == -9
    assert not lives(below)


def test_a_child_that_dies_is_started_again_after_longer_and_longer_pauses(tmp_path: Path) -> None:
    dead: list[str] = []
    child = supervision.Child("The thing", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "logs" / "x.log")
    tree = supervision.Tree([child], on_death=dead.append)
    child.start()
    told: list[str] = []
    wait_until(lambda: told.extend(tree.look()) or len(told) == 3, why="three deaths")
    assert [line.split(";")[0] for line in told] == ["The thing stopped (exit status 3)"] * 3
    assert [line.split(" in ")[1].split(".  ")[0].split(" s.")[0] for line in told] == ["0.5", "1", "2"]
    assert len(set(dead)) == len(dead) == 3
    tree.stop(patience=1)


def test_leftovers_are_ended(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    supervision.end_leftovers([describe(process.pid), "999999999:1"], patience=0.2)
    assert process.wait(timeout=10) == -9
