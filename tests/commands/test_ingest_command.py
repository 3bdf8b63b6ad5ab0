"""Test ``hoshina ingest`` for users and scripts."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from labeling.models import Dataset, Item
from tests.factories import MakeFolder, command_output, fresh
from tests.labeling.factories import write_png
from tests.labeling.groups import write_triplets
from tests.processes import run_python

KEYS = {"dataset", "items", "new", "changed", "moved", "unchanged", "missing", "failed", "seconds"}


def ingest(*arguments: str) -> str:
    return command_output("ingest", *arguments)


@pytest.mark.django_db
@pytest.mark.usefixtures("store")
class TestCommand:
    def test_json_is_one_object_with_the_keys_of_the_contract(self, picture_folder: MakeFolder) -> None:
        folder = picture_folder(4)
        (folder / "broken\n.png").touch()
        result = json.loads(ingest(f"--data-dir={folder}", "--json"))
        assert result.keys() >= KEYS
        assert (result["dataset"], result["items"], result["new"]) == ("pictures", 4, 4)
        assert result["failed"] == [
            {"path": "broken\n.png", "reason": "The file is empty. Copy it again or remove it."}
        ]
        again = json.loads(ingest(f"--data-dir={folder}", "--json"))
        assert (again["new"], again["unchanged"], again["missing"]) == (0, 4, 0)

    def test_people_get_words(self, picture_folder: MakeFolder) -> None:
        folder = picture_folder(4)
        (folder / "broken\n.png").touch()
        output = ingest(f"--data-dir={folder}")
        assert output.startswith("pictures: 4 items (4 new, 0 changed, 0 unchanged, 0 missing) in ")
        (folder / "image0001.png").rename(folder / "zebra.png")
        again = ingest(f"--data-dir={folder}")
        assert again.startswith("pictures: 4 items (0 new, 0 changed, 3 unchanged, 1 moved, 0 missing) in ")
        assert "1 could not be read:\n  broken\\n.png: The file is empty. Copy it again or remove it.\n" in output

    def test_it_runs_as_a_job_that_succeeded(self, picture_folder: MakeFolder) -> None:
        ingest(f"--data-dir={picture_folder(3)}")
        job = Job.objects.get(kind="ingest")
        assert (job.state, job.dataset_id) == (Job.State.SUCCEEDED, Dataset.objects.get().pk)
        assert job.result["items"] == 3

    def test_dataset_and_extensions(self, picture_folder: MakeFolder) -> None:
        folder = picture_folder(2)
        (folder / "image0000.png").rename(folder / "one.PIC")
        result = json.loads(ingest(f"--data-dir={folder}", "--dataset=cats", "--extensions=pic, .jpg", "--json"))
        assert (result["dataset"], result["items"]) == ("cats", 1)
        assert Item.objects.get().path == "one.PIC"

    def test_a_template_is_tried_out_and_nothing_is_written(self, tmp_path: Path) -> None:
        write_triplets(tmp_path / "in", range(3))
        (tmp_path / "in" / "sn1_ref.png").unlink()
        write_png(tmp_path / "in" / "other.png")
        output = ingest(f"--data-dir={tmp_path / 'in'}", "--group={id}_{role}.png", "--try")
        assert output.splitlines() == [
            "9 files form 3 items with {id}_{role}.png.",
            "Roles: target (3), ref (2), diff (3)",
            "Complete: 2",
            "  sn0",
            "  sn2",
            "Incomplete: 1",
            "  sn1: no ref",
            "Left out: 1",
            "  other.png: It does not match the template {id}_{role}.png, which groups the files.",
        ]
        arguments = ("--group={id}_{role}.png", "--roles=target,diff", "--try", "--json")
        result = json.loads(ingest(f"--data-dir={tmp_path / 'in'}", *arguments))
        assert (result["groups"], result["complete"], result["roles"]) == (3, 3, {"target": 3, "diff": 3})
        assert not Dataset.objects.exists()
        assert not Job.objects.exists()

    def test_files_are_grouped_from_now_on(self, tmp_path: Path) -> None:
        write_triplets(tmp_path / "in", range(3))
        (tmp_path / "in" / "sn1_ref.png").unlink()
        output = ingest(f"--data-dir={tmp_path / 'in'}", "--group={id}_{role}.png", "--roles=target, ref")
        assert output.startswith("in: 3 items from 5 files (5 new, 0 changed, 0 unchanged, 0 missing) in ")
        assert "1 are incomplete: they lack one of target, ref.\nSkipped: 3 files of other roles.\n" in output
        write_png(tmp_path / "in" / "sn1_ref.png")
        result = json.loads(ingest(f"--data-dir={tmp_path / 'in'}", "--json"))
        assert (result["items"], result["frames"], result["incomplete"], result["new"]) == (3, 6, 0, 1)

    @pytest.mark.parametrize(
        "arguments", [["--group={id}.png"], ["--roles=a,b"], ["--try"], ["--group={id}_{role}.png", "--roles=a,,b"]]
    )
    def test_a_template_that_cannot_be_is_wrong_usage(self, tmp_path: Path, arguments: list[str]) -> None:
        with pytest.raises(CommandError) as caught:
            ingest(f"--data-dir={tmp_path}", *arguments)
        assert caught.value.returncode == 2

    @pytest.mark.parametrize("extensions", ["", ",", "*.png", "a/b"])
    def test_malformed_extensions_are_wrong_usage(self, tmp_path: Path, extensions: str) -> None:
        with pytest.raises(CommandError, match="extensions"):
            ingest(f"--data-dir={tmp_path}", f"--extensions={extensions}")

    def test_the_folder_may_come_from_al_data_dir(self, picture_folder: MakeFolder, settings: Any) -> None:
        settings.DATA_DIR = picture_folder(2)
        assert json.loads(ingest("--json"))["items"] == 2

    @pytest.mark.parametrize("name", ["gone", "file.png", "empty"])
    def test_a_useless_folder_is_one_line(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file.png").touch()
        (tmp_path / "empty").mkdir()
        with pytest.raises(CommandError) as caught:
            ingest(f"--data-dir={tmp_path / name}")
        assert caught.value.returncode == 1
        assert "\n" not in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)

    def test_a_waiting_job_is_taken_over_and_a_running_one_is_respected(self, picture_folder: MakeFolder) -> None:
        folder = picture_folder(2)
        ingest(f"--data-dir={folder}")
        waiting = enqueue("ingest", dataset_id=Dataset.objects.get().pk)
        ingest(f"--data-dir={folder}")
        assert fresh(waiting).state == Job.State.SUCCEEDED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data-dir", "{folder}/gone"], 1, "does not exist"),
        ([], 2, "--data-dir"),
        (["--data-dir", "{folder}", "--extensions", ","], 2, "extensions"),
    ],
)
def test_exit_codes_and_one_line_on_standard_error(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    words = [argument.format(folder=tmp_path) for argument in arguments]
    done = run_python("manage.py", "ingest", *words, store=tmp_path / "store", code=code)
    assert done.stdout == ""
    assert message in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
