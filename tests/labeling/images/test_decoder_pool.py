"""Test decoder processes, and how they handle files that crash them or exceed their limits."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from astropy.io import fits
from PIL import Image

from labeling.images import thumbnails, watched_process
from labeling.images.browser_formats import format_for_browsers
from labeling.images.decoder_pool import Decoders, decoders, pictures
from labeling.images.file_check import Examined, Keep, examine
from labeling.images.file_headers import header_of, values_of
from labeling.images.problems import ImageProblem
from labeling.images.rendering import DEFAULT, Rendering
from tests.labeling.factories import orion_header
from tests.labeling.images.pictures import noise
from tests.parts import wait_until
from tests.processes import environment

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture(autouse=True)
def _alone_and_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ensure that only the test's decoders are children of this process, and check their memory more often."""
    decoders().end()
    monkeypatch.setattr(watched_process, "_LOOK", 0.02)


@contextmanager
def decoding(n: int, seconds: float = 60, megabytes: int = 4096) -> Iterator[Decoders]:
    decoders = Decoders(n, seconds=seconds, megabytes=megabytes)
    try:
        yield decoders
    finally:
        decoders.end()


@pytest.fixture
def few() -> Iterator[Decoders]:
    with decoding(2) as decoders:
        yield decoders


def pictures_in(folder: Path, n: int) -> list[Path]:
    rng = np.random.default_rng(1)
    files = [folder / f"{number}.png" for number in range(n)]
    for file in files:
        Image.fromarray(rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(file)
    return files


def children() -> list[psutil.Process]:
    return list(filter(_is_decoder, psutil.Process().children()))


def _is_decoder(process: psutil.Process) -> bool:
    try:
        return "labeling.images.decoder_process" in process.cmdline()
    except psutil.NoSuchProcess:  # it has just ended
        return False


@pytest.mark.slow
def test_a_decoder_tells_what_this_process_would_see(few: Decoders, tmp_path: Path) -> None:
    files = [*pictures_in(tmp_path, 5), tmp_path / "none.png", tmp_path / "text.png"]
    (tmp_path / "text.png").write_text("words")
    inverted = Rendering(is_inverted=True)
    results = list(few.examined(files, inverted))
    assert results[:5] == [examine(file, inverted) for file in files[:5]]
    reasons = [result.reason for result in results[5:] if isinstance(result, ImageProblem)]
    assert reasons == ["The file no longer exists, or is a broken link.", "This is not an image but text."]
    assert few.picture(files[0], 256, inverted) == thumbnails.render(files[0], 256, inverted)
    with pytest.raises(ImageProblem, match="not an image but text"):
        few.picture(tmp_path / "text.png", 256, DEFAULT)
    pictures().folder.write_text("no folder")
    with pytest.raises(NotADirectoryError):
        few.thumbnail(files[0], "ab" * 32, 256, pictures(), DEFAULT)
    pictures().folder.unlink()
    place = few.thumbnail(files[0], "ab" * 32, 256, pictures(), DEFAULT)
    assert place == pictures().find("ab" * 32, 256)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are text")
def test_names_of_files_need_not_be_text(few: Decoders, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9.png")
    pictures_in(tmp_path, 1)[0].rename(file)
    assert list(few.examined([file], DEFAULT)) == [examine(file)]
    gone = tmp_path / os.fsdecode(b"\xff.png")
    pictures().folder.write_text("no folder")
    with pytest.raises(NotADirectoryError):
        few.thumbnail(file, "ab" * 32, 256, pictures(), DEFAULT)
    pictures().folder.unlink()
    with pytest.raises(ImageProblem, match="no longer exists"):
        few.picture(gone, 256, DEFAULT)


def test_whoever_asked_first_is_answered_first(tmp_path: Path) -> None:
    decoders = Decoders(1, seconds=60, megabytes=4096)
    files = pictures_in(tmp_path, 3)
    results = decoders.examined(files, DEFAULT)
    next(results)  # occupies the only decoder until all results are taken
    order: list[int] = []

    def ask(number: int) -> None:
        decoders.picture(files[0], 256, DEFAULT)
        order.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for number, thread in enumerate(threads, start=1):
        thread.start()
        wait_until(lambda n=number: len(decoders._urgent) == n)
    assert len(list(results)) == 2
    for thread in threads:
        thread.join()
    decoders.end()
    assert order == list(range(8))


@contextmanager
def killing(n: int) -> Iterator[None]:
    """End the first ``n`` decoders that this process starts, as soon as they run; wait until all are killed."""
    killed = set[int]()

    def kill() -> None:
        while len(killed) < n:
            for child in children():
                if child.pid not in killed and len(killed) < n:
                    killed.add(child.pid)
                    child.kill()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    yield
    thread.join()


def slow_picture(file: Path) -> Path:
    """Write a picture that needs half a second and 590 MB to open."""
    Image.new("RGB", (14_000, 14_000)).save(file, compress_level=1)
    return file


@pytest.mark.slow
def test_a_file_whose_decoder_crashed_once_is_tried_again(few: Decoders, tmp_path: Path) -> None:
    files = [slow_picture(tmp_path / "slow.png"), *pictures_in(tmp_path, 2)]
    with killing(1):
        assert all(isinstance(result, Examined) for result in few.examined(files, DEFAULT))
    with killing(1):  # the decoder that is idle now
        pass
    assert few.picture(files[1], 256, DEFAULT)[1] == ".png"


@pytest.mark.slow
def test_of_several_files_asked_for_at_once_the_right_one_is_given_up(tmp_path: Path) -> None:
    small = pictures_in(tmp_path, 6)
    files = [*small[:3], slow_picture(tmp_path / "slow.png"), *small[3:]]
    with decoding(1, megabytes=150) as strict:
        results = list(strict.examined(files, DEFAULT))
    assert isinstance(results[3], ImageProblem)
    assert "150 MB" in results[3].reason
    assert results[:3] + results[4:] == [examine(file) for file in small]


@pytest.mark.slow
def test_a_file_that_crashes_its_decoder_twice_is_a_problem_and_the_others_come_through(
    few: Decoders, tmp_path: Path
) -> None:
    files = [slow_picture(tmp_path / "slow.png"), *pictures_in(tmp_path, 3)]
    with killing(2):
        results = list(few.examined(files, DEFAULT))
    assert isinstance(results[0], ImageProblem)
    assert "crashed on this file" in results[0].reason
    assert [isinstance(result, Examined) for result in results[1:]] == [True] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "message"), [({"seconds": 0.1}, "took longer than 0.1 s"), ({"megabytes": 150}, "150 MB")]
)
def test_what_takes_too_long_or_too_much_is_given_up(limits: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = slow_picture(tmp_path / "slow.png")
    with decoding(1, **limits) as strict:
        with pytest.raises(ImageProblem, match=message):
            strict.picture(file, 256, DEFAULT)
        assert not children()


def fits_in(folder: Path, n: int) -> list[Path]:
    files = [folder / f"{number}.fits" for number in range(n)]
    for number, file in enumerate(files):
        image = fits.PrimaryHDU(np.full((4, 6), number, np.float32), orion_header())
        image.header["OBJECT"] = f"M {number}"
        image.writeto(file)
    return files


def values_of_one(few: Decoders, file: Path) -> list[str]:
    (values,) = few.card_values([file], ["OBJECT", "NAXIS1"], DEFAULT)
    if isinstance(values, ImageProblem):
        raise values
    return values


ABOUT_HEADERS: dict[str, tuple[Callable[[Decoders, Path], object], Callable[[Path], object]]] = {
    "format": (lambda few, file: few.format_for_browsers(file, DEFAULT), lambda file: format_for_browsers(file)),
    "header": (lambda few, file: few.header(file, DEFAULT), lambda file: header_of(file)),
    "cards": (values_of_one, lambda file: values_of(file, ["OBJECT", "NAXIS1"])),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ABOUT_HEADERS)
def test_what_decoders_say_of_headers_and_whom_it_costs(few: Decoders, tmp_path: Path, name: str) -> None:
    """Check that results equal those of this process, and that files that crash or block decoders give a reason."""
    (file,) = fits_in(tmp_path, 1)
    ask, plainly = ABOUT_HEADERS[name]
    with killing(2), pytest.raises(ImageProblem, match="crashed on this file"):
        ask(few, file)
    assert ask(few, file) == plainly(file)
    few._idle[0]._process._seconds = 0.5
    children()[0].suspend()
    with pytest.raises(ImageProblem, match=r"took longer than 0\.5 s"):
        ask(few, file)
    assert not children()
    if name == "format":
        assert ask(few, pictures_in(tmp_path, 1)[0]) == "PNG"
        return
    (tmp_path / "text.fits").write_text("words")
    with pytest.raises(ImageProblem):
        ask(few, tmp_path / "text.fits")


def test_a_header_may_come_without_the_sky(few: Decoders, tmp_path: Path) -> None:
    (file,) = fits_in(tmp_path, 1)
    whole, less = few.header(file, DEFAULT), few.header(file, DEFAULT, with_sky=False)
    assert (less.cards, less.sky) == (whole.cards, ())
    assert whole.sky


@pytest.mark.slow
def test_cards_of_many_files_come_in_their_order_from_all_decoders(few: Decoders, tmp_path: Path) -> None:
    files = fits_in(tmp_path, 130)
    files[60].write_text("words")
    with killing(1):
        values = list(few.card_values(files, ["OBJECT"], DEFAULT))
    assert isinstance(values[60], ImageProblem)
    assert values[:60] + values[61:] == [[f"M {number}"] for number in range(130) if number != 60]
    assert len(children()) == 2
    some = few.card_values(files, ["OBJECT"], DEFAULT)
    next(some)
    some.close()  # as in a canceled job
    assert len(few._idle) == len(children()) == 2


@pytest.mark.slow
def test_a_format_that_takes_too_much_memory_to_find_out_is_given_up(tmp_path: Path) -> None:
    """Check a PNG file, all of which is decoded to find its orientation."""
    with decoding(1, megabytes=150) as strict, pytest.raises(ImageProblem, match="150 MB"):
        strict.format_for_browsers(slow_picture(tmp_path / "slow.png"), DEFAULT)


def test_many_threads_share_a_few_decoders(few: Decoders, tmp_path: Path) -> None:
    files = pictures_in(tmp_path, 12)
    with ThreadPoolExecutor(6) as pool:
        pictures = list(pool.map(lambda file: few.picture(file, 256, DEFAULT), files))
    assert pictures == [thumbnails.render(file, 256) for file in files]
    assert 1 <= len(children()) <= 2


@pytest.mark.slow
def test_what_is_made_ahead_leaves_room_for_those_who_wait(few: Decoders, tmp_path: Path) -> None:
    slow, small = slow_picture(tmp_path / "slow.png"), pictures_in(tmp_path, 1)[0]
    order: list[str] = []

    def ahead(name: str) -> None:
        few.thumbnail(slow, name * 64, 256, pictures(), DEFAULT, is_ahead=True)
        order.append(name)

    threads = [threading.Thread(target=ahead, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(children()) == 1)
    few.picture(small, 256, DEFAULT)  # while one decoder works ahead and the other waits for it
    order.append("asked")
    for thread in threads:
        thread.join()
    assert order[0] == "asked"


@pytest.mark.slow
def test_decoders_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    file = pictures_in(tmp_path, 1)[0]
    script = (
        "import django, sys, os; django.setup()\n"
        "from pathlib import Path\n"
        "from labeling.images.decoder_pool import decoders\n"
        "from labeling.images.rendering import DEFAULT\n"
        f"decoders().picture(Path({str(file)!r}), 256, DEFAULT)\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )
    variables = environment(tmp_path / "s", DJANGO_SETTINGS_MODULE="hoshina.settings")
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables
    ) as asking:
        assert asking.stdout is not None
        assert asking.stdout.readline().strip() == b"ready"
        left = psutil.Process(asking.pid).children()
        assert len(left) == 1
        asking.kill()
    psutil.wait_procs(left, timeout=20)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in left)


def test_an_ingest_keeps_the_pictures_of_large_files(few: Decoders, tmp_path: Path) -> None:
    noise(700, 600).save(tmp_path / "large.png")
    files = [tmp_path / "large.png", pictures_in(tmp_path, 1)[0]]
    large, small = few.examined(files, DEFAULT, Keep(pictures()))
    assert isinstance(large, Examined)
    assert isinstance(small, Examined)
    assert pictures().find(large.sha256, 256) is not None
    assert pictures().find(small.sha256, 256) is None


def test_the_processs_own_decoders_are_made_once() -> None:
    assert decoders() is decoders()
