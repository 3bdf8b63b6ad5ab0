"""``hoshina up``: one process tree, from start to end, in the ways it can end."""

import json
import re
import shutil
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from hoshina import health
from hoshina.core.processes import lives
from tests.factories import MakeFolder, assert_contains, new_folder
from tests.parts import free_port, wait_until
from tests.processes import Up


def test_everything_from_one_command(up: Callable[..., Up], picture_folder: MakeFolder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        one = up(str(picture_folder(8)), "--port", str(busy), "--dataset", "noise")
        used = int(one.wait_for(rf"Port {busy} is busy; using (\d+)\.")[1])
    assert one.port == used > busy
    one.wait_until_well()
    one.wait_for(r"noise: 8 items")
    one.wait_for(rf"Data is stored in {re.escape(str(one.store))}\n")
    assert one.query("select name, n_items from labeling_dataset") == [("noise", 8)]
    status, content = health.ask("127.0.0.1", used)
    assert (status, content["database"], content["broker"]) == (200, True, True)

    # A second one says who holds the store.
    second = up()
    assert second.process.wait(timeout=90) == 1
    second._reader.join()
    assert_contains(second.output, f"process {one.process.pid}", f"http://127.0.0.1:{used}/")
    assert len(second.output.strip().splitlines()) == 1

    # What dies is started again, and said.
    one.child("worker", "heavy").kill()
    one.wait_for(r"The heavy worker stopped \(signal 9\); restarting it")
    one.child("serve").kill()
    one.wait_for(r"The web server stopped \(signal 9\); restarting it")
    wait_until(lambda: one.healthz() and one.child("worker", "heavy"), why="both to be back")
    one.wait_until_well()

    # A program of this machine's user gets in by the file in the store.
    local = json.loads((one.store / "api.json").read_text())
    asked = urllib.request.Request(f"{local['url']}api/v1/me", headers={"Authorization": f"Bearer {local['token']}"})
    with urllib.request.urlopen(asked) as answer:
        assert json.load(answer)["role"] == "administrator"

    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(timeout=60) == 0
    assert not [process for process in one.tree if lives(process)]
    assert not (one.store / "up.json").exists()
    assert not (one.store / "api.json").exists()
    assert one.query("select count(*) from api_token") == [(0,)]


def test_the_children_notice_a_hard_end_and_the_next_up_goes_on(
    up: Callable[..., Up], picture_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = picture_folder(4)
    one = up(str(folder), "--port", str(free_port()))
    one.wait_until_well()
    one.wait_for(r"4 items")
    one.process.kill()
    one.process.wait()
    wait_until(lambda: not [process for process in one.tree if lives(process)], why="the children to end")
    assert (one.store / "up.json").exists()
    # Without a folder the store's datasets are served again; with another one the page is that one's.
    other = up("--port", str(free_port()))
    other.wait_until_well()
    assert other.query("select n_items from labeling_dataset") == [(4,)]
    assert re.search(r"HOSHINA is at \S+/ \(", other.output)
    other.process.send_signal(signal.SIGTERM)
    assert other.process.wait(timeout=60) == 0
    more = new_folder(tmp_path / "more images")
    shutil.copy(next(folder.rglob("*.*")), more)
    other = up(str(more), "--port", str(free_port()))
    other.wait_for(r"HOSHINA is at \S+/\?dataset=more-images \(")
    other.wait_until_well()
    for _ in range(2):  # `uv run` hands on what the terminal has sent already
        other.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert other.process.wait(timeout=60) == 0
    assert "Traceback" not in other.output
    assert not [process for process in other.tree if lives(process)]


def test_the_demo(up: Callable[..., Up]) -> None:
    one = up("--demo", "--port", str(free_port()))
    one.wait_for(r"digits: 1,797 items")
    assert one.query("select count(*) from labeling_item") == [(1797,)]


def test_wrong_use_is_told_in_a_line(up: Callable[..., Up], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for arguments, status, words in (
        (["nowhere"], 1, f"The folder {tmp_path / 'nowhere'} does not exist."),
        ([str(file)], 1, f"{file} is a file. Specify the folder that contains the images."),
        ([str(tmp_path), "--demo"], 2, "Name a folder or --demo, not both."),
        (["--port", "70000"], 2, "'70000' is not a port; expected a whole number from 1 to 65535."),
        (["--port", "0"], 2, "'0' is not a port"),
    ):
        one = up(*arguments)
        assert one.process.wait(timeout=90) == status, one.output
        one._reader.join()
        assert words in one.output
        assert "Traceback" not in one.output


def test_a_stale_note_of_a_holder_stops_nobody(tmp_path: Path) -> None:
    from hoshina.management.commands.up import _Holder

    holder = _Holder(tmp_path / "up.json")
    assert holder.read() == {}
    holder.write(pid=1, url="http://x/")
    assert json.loads((tmp_path / "up.json").read_text()) == {"pid": 1, "url": "http://x/"}
    (tmp_path / "up.json").write_text("{half")
    assert holder.read() == {}
