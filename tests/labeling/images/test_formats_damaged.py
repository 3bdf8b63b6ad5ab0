"""Test damaged files of all formats: each gets a reason, none crashes the process, and valid files are read."""

import sys
import zlib
from pathlib import Path

import pytest

from benchmarks import corruption, corruption_ingest
from labeling.images.file_check import examine
from labeling.images.open_image import open_image
from labeling.images.problems import ImageProblem
from labeling.images.source_file import as_image_problems
from tests.labeling.images.pictures import samples

# Files whose end is not displayed: a second page, or the padding of the last block.
WHOLE_FROM = {"deep.tif": 6, "a.fits": 9, "rice.fits": 9}


def test_every_file_cut_at_every_tenth_has_a_reason(tmp_path: Path) -> None:
    for name, file in samples(tmp_path).items():
        content = file.read_bytes()
        for tenth in range(WHOLE_FROM.get(name, 10)):
            cut = tmp_path / f"cut{file.suffix}"
            cut.write_bytes(content[: len(content) * tenth // 10])
            for read in (examine, open_image):
                with pytest.raises(ImageProblem) as caught:
                    read(cut)
                assert caught.value.reason.endswith("."), (name, tenth)
                assert "\n" not in caught.value.reason


def test_a_wrong_ending_does_not_matter(tmp_path: Path) -> None:
    files = samples(tmp_path)
    for file, other in zip(files.values(), reversed(files.values()), strict=True):
        before = open_image(file)
        renamed = tmp_path / f"renamed{other.suffix}"
        renamed.write_bytes(file.read_bytes())
        assert open_image(renamed).tobytes() == before.tobytes()


@pytest.mark.slow
def test_hundreds_of_damaged_files_crash_nothing_and_lose_nothing() -> None:
    report = corruption.run(600, seed=20)
    assert report.wrong == []
    assert report.outcomes["good"] == 60
    assert sum(report.outcomes.values()) == 600
    assert len(report.refused) == 20
    assert report.shown


@pytest.mark.slow
def test_a_crash_and_a_hang_are_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        "import json, os, sys, time\n"
        "start, stop = map(int, sys.argv[1:])\n"
        "for number in range(start, stop):\n"
        "    print(json.dumps({'number': number, 'name': 'a', 'kind': 'flip'}), flush=True)\n"
        "    if number == 2: os._exit(11)\n"
        "    if number == 4: time.sleep(600)\n"
        "    print(json.dumps({'outcome': 'refused'}), flush=True)\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(corruption, "command_of", lambda start, n, *_: [sys.executable, script, str(start), str(n)])
    report = corruption.run(6, seed=0, patience=8)
    assert report.outcomes == {"refused": 4, "crashed": 1, "hung": 1}
    assert [message.split(":")[0] for message in report.wrong] == ["crashed (11)", "hung"]


@pytest.mark.slow
def test_an_ingest_comes_through_a_folder_of_damaged_files(tmp_path: Path) -> None:
    report = corruption_ingest.run(400, 21, tmp_path)
    assert (report.wrong, report.n_good) == ([], 40)
    assert report.items >= 40
    assert report.reasons.total() > 200


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (IndexError("list index out of range"), "(the decoder cannot interpret its header: list index out of range)."),
        (zlib.error("Error -3 while decompressing"), "data do not match their checksum). Copy or save it again."),
        (OSError("decoder error -2."), "(decoder error -2). Copy or save it again."),
        (RuntimeError("file truncated"), "Copy or download it again."),
        (MemoryError(), "Save it smaller."),
        (PermissionError(13, "no"), "Allow the user that runs HOSHINA to read it."),
    ],
)
def test_reasons_say_what_to_do_and_name_no_class_of_errors(kind: Exception, message: str) -> None:
    with pytest.raises(ImageProblem) as caught, as_image_problems():
        raise kind
    assert message in caught.value.reason
    assert corruption_ingest.is_plain(caught.value.reason)
