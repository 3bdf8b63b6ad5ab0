"""Damaged files of every format: each gets a reason, none takes the process along, good ones come through."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import corruption
from labeling.images.opening import open_image
from labeling.images.problems import ImageProblem
from labeling.images.reading import examine
from tests.labeling.pictures import samples

# What is cut off behind all that is shown: a second page, or what fills the last block up.
WHOLE_FROM = {"deep.tif": 6, "a.fits": 9, "rice.fits": 9}


def test_every_file_cut_at_every_tenth_has_a_reason(tmp_path: Path) -> None:
    for name, file in samples(tmp_path).items():
        content = file.read_bytes()
        for tenth in range(WHOLE_FROM.get(name, 10)):
            cut = tmp_path / f"cut{file.suffix}"
            cut.write_bytes(content[: len(content) * tenth // 10])
            for read in (examine, open_image):
                with pytest.raises(ImageProblem) as told:
                    read(cut)
                assert told.value.reason.endswith("."), (name, tenth)
                assert "\n" not in told.value.reason


def test_a_wrong_ending_does_not_matter(tmp_path: Path) -> None:
    made = samples(tmp_path)
    for file, other in zip(made.values(), reversed(made.values()), strict=True):
        before = open_image(file)
        renamed = tmp_path / f"renamed{other.suffix}"
        renamed.write_bytes(file.read_bytes())
        assert open_image(renamed).tobytes() == before.tobytes()


def test_hundreds_of_damaged_files_crash_nothing_and_lose_nothing() -> None:
    told = corruption.run(600, seed=20)
    assert told.wrong == []
    assert told.outcomes["good"] == 60
    assert sum(told.outcomes.values()) == 600
    assert len(told.refused) == 17
    assert told.shown


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
    told = corruption.run(6, seed=0, patience=8)
    assert told.outcomes == {"refused": 4, "crashed": 1, "hung": 1}
    assert [words.split(":")[0] for words in told.wrong] == ["crashed (11)", "hung"]
