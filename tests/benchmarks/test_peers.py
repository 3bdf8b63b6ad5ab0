"""Test the comparison with peers: its table, its images, and how it finds the processes of a tool."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image

from benchmarks.peer_apps import FiftyOne, Hoshina, LightlyStudio, apps
from benchmarks.peers import empty_rows, group, print_table, wait_for, write_images

# A process that starts another and leaves it, as a database does that outlives its launcher.
LEAVES_A_CHILD = """
import subprocess, sys
command = [sys.executable, "-c", "import time; sum(range(10**7)); time.sleep(60)"]
child = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
print(child.pid, flush=True)
"""


def test_table_has_medians_and_ratios_and_dashes_for_what_a_peer_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    rows = empty_rows()
    rows["label", "ms"] |= {"HOSHINA": [2.0, 4.0, 90.0], "FiftyOne": [8.0], "LightlyStudio": [1.0, 3.0]}
    rows["paths", "s"]["FiftyOne"] = [1.0]
    print_table(rows, ["HOSHINA", "FiftyOne", "LightlyStudio"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| label | 4 ms | 8 ms | 2 ms | 0.50 × | 2.00 × |"
    assert lines[3] == "| paths | – | 1 s | – | – | – |"


def test_only_peers_with_a_python_are_measured(tmp_path: Path) -> None:
    assert [type(app) for app in apps(tmp_path, None, None)] == [Hoshina]
    assert [type(app) for app in apps(tmp_path, "a", "b")] == [Hoshina, FiftyOne, LightlyStudio]


def test_images_are_distinct_png_files(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 20)
    files = sorted((tmp_path / "images").iterdir())
    assert len({file.read_bytes() for file in files}) == 20
    with Image.open(files[0]) as image:
        assert (image.format, image.size) == ("PNG", (28, 28))


def test_all_processes_of_a_tool_are_counted_and_ended(tmp_path: Path) -> None:
    app = FiftyOne(sys.executable, tmp_path)
    with group(app, tmp_path / "store") as processes:
        parent = processes.start([sys.executable, "-c", LEAVES_A_CHILD], stdout=subprocess.PIPE)
        pid = int(parent.communicate()[0])
        assert [process.pid for process in processes.processes()] == [pid]
        assert processes.megabytes() > 1
        assert wait_for(processes.processor_seconds, processes) > 0
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
