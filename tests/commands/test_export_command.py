"""Test ``hoshina export``."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from labeling.management.commands import export as command
from labeling.models import Dataset, Frame
from tests.factories import MakeDataset, archive_bytes, command_json, command_output, decide, manifest, opened, table
from tests.processes import run_python

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> dict[str, Any]:
    result = command_json("export", *arguments)
    assert isinstance(result, dict)
    return result


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    dataset = make_dataset(12)
    decide(dataset, "assign", range(10), "cat")
    decide(dataset, "skip", [10])
    return dataset


def test_it_writes_the_archive_and_tells_its_hash(dataset: Dataset, tmp_path: Path) -> None:
    output = tmp_path / "new" / "out.zip"
    result = run("--output", str(output), "--seed", "3", "--splits", "50,30,20", "--no-images")
    content = output.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    assert result == {"path": str(output), "items": 11, "sha256": sha256, "images": False}
    assert content == archive_bytes(dataset, seed=3, splits=(50, 30, 20))
    assert list(output.parent.iterdir()) == [output]


def test_its_name_is_the_datasets_and_it_speaks_to_people(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "11 items with a decision" in command_output("export")
    assert len(table(opened((tmp_path / "pictures.zip").read_bytes()), "labels.csv")) == 11


def test_images_are_put_in(dataset: Dataset, tmp_path: Path) -> None:
    output = tmp_path / "out.zip"
    run("--output", str(output), "--with-images")
    assert manifest(zipfile.ZipFile(output))["images"]["missing"]["count"] == 10


@pytest.mark.parametrize(("size", "is_included"), [(99_999_999, True), (100_000_000, False)])
def test_images_are_included_by_default_below_1_gb(
    dataset: Dataset, tmp_path: Path, size: int, is_included: bool
) -> None:
    # Ten labeled items. Skipped and undecided items are not included.
    Frame.objects.filter(item__row__lt=10).update(size=size)
    Frame.objects.filter(item__row__gte=10).update(size=10**12)
    output = tmp_path / "out.zip"
    out, err = io.StringIO(), io.StringIO()
    call_command("export", "--output", str(output), stdout=out, stderr=err)
    assert manifest(zipfile.ZipFile(output))["options"]["images"] is is_included
    assert (command.LEFT_OUT in err.getvalue()) is not is_included
    assert run("--output", str(output))["images"] is is_included
    assert run("--output", str(output), "--with-images")["images"] is True
    assert run("--output", str(output), "--no-images")["images"] is False
    with pytest.raises(CommandError, match="not allowed with"):
        run("--with-images", "--no-images")


def test_an_earlier_export_is_replaced_and_nothing_else(dataset: Dataset, tmp_path: Path) -> None:
    output = tmp_path / "out.zip"
    output.touch()
    first = run("--output", str(output))
    decide(dataset, "assign", [11], "dog")
    assert run("--output", str(output))["sha256"] != first["sha256"]
    theirs = tmp_path / "thesis.zip"
    with zipfile.ZipFile(theirs, "w") as archive:
        archive.writestr("thesis.txt", "years of work")
    content = theirs.read_bytes()
    with pytest.raises(CommandError, match="--force"):
        run("--output", str(theirs))
    assert theirs.read_bytes() == content
    run("--output", str(theirs), "--force")
    assert len(table(zipfile.ZipFile(theirs), "labels.csv")) == 12
    with pytest.raises(CommandError, match="is a folder"):
        run("--output", str(tmp_path))


def test_a_failure_leaves_the_earlier_export(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out.zip"
    run("--output", str(output))
    content = output.read_bytes()

    def break_off(export: object) -> object:
        yield b"PK"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command.Export, "__iter__", break_off)
    with pytest.raises(CommandError, match="No space left"):
        run("--output", str(output))
    assert output.read_bytes() == content
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("arguments", [("--splits", "80,30,10"), ("--splits", "a"), ("--seed", "x")])
def test_wrong_usage_is_refused(dataset: Dataset, arguments: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match=r"splits|seed"):
        run(*arguments)


def test_what_cannot_be_had_fails_in_words(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no predictions yet"):
        run("--with-predictions", "--output", str(tmp_path / "out.zip"))
    with pytest.raises(CommandError, match="seed is -1"):
        run("--seed", "-1", "--output", str(tmp_path / "out.zip"))
    assert list(tmp_path.glob("*.zip")) == []


def test_the_dataset_is_chosen_by_name_or_slug(make_dataset: MakeDataset, tmp_path: Path) -> None:
    output = str(tmp_path / "out.zip")
    with pytest.raises(CommandError, match="no dataset yet"):
        run("--output", output)
    make_dataset(2, name="one")
    Dataset.objects.update(name="The First")
    decide(make_dataset(2, name="two"), "assign", [0], "cat")
    with pytest.raises(CommandError, match=r"--dataset.*two"):
        run("--output", output)
    with pytest.raises(CommandError, match="no dataset called 'three'"):
        run("--output", output, "--dataset", "three")
    assert run("--output", output, "--dataset", "The First")["items"] == 0
    assert run("--output", output, "--dataset", "two")["items"] == 1


FILL = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from labeling.models import Dataset, Frame, Item, LabelClass
dataset = Dataset.objects.create(name="d", slug="d", root="/nowhere", n_items=40)
label = LabelClass.objects.create(dataset=dataset, name="ü", colour="#000000")
for row in range(40):
    item = Item.objects.create(dataset=dataset, row=row, path=f"ü{row}.png", state=1, label=label)
    Frame.objects.create(item=item, dataset=dataset, path=item.path, sha256=f"{row % 30:064x}", size=1, mtime_ns=1,
                         width=1, height=1, format="PNG")
"""


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    run_python("-c", FILL, store=tmp_path)
    hashes = []
    for seed, zone, locale in (("1", "UTC", "C.UTF-8"), ("2", "Pacific/Auckland", "C")):
        output = tmp_path / f"{seed}.zip"
        export = ("manage.py", "export", "--output", output, "--json")
        printed = run_python(*export, store=tmp_path, PYTHONHASHSEED=seed, TZ=zone, LC_ALL=locale).stdout
        hashes.append(json.loads(printed)["sha256"])
        assert hashlib.sha256(output.read_bytes()).hexdigest() == hashes[-1]
    assert hashes[0] == hashes[1]
