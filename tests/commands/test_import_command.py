"""Test ``hoshina import_labels``."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError

from labeling.models import Annotation, Item, LabelClass, State
from tests.factories import MakeDataset, command_json, command_output

pytestmark = pytest.mark.django_db


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "labels.csv"
    file.write_text(
        "path,label\nimage0000.png,cat\nimage0001.png,emu\nimage0002.png,dog\nno.png,cat\n", encoding="utf-8"
    )
    return file


def run(*arguments: str) -> dict[str, Any]:
    result = command_json("import_labels", *arguments)
    assert isinstance(result, dict)
    return result


def test_it_applies_and_reports(make_dataset: MakeDataset, file: Path) -> None:
    make_dataset(4)
    result = run(str(file))
    assert {name: result[name] for name in ("applied", "unchanged", "unknown_paths", "unknown_classes")} == {
        "applied": 2, "unchanged": 0, "unknown_paths": ["no.png"], "unknown_classes": ["emu"],
    }  # fmt: skip
    again = run(str(file))
    assert (again["applied"], again["unchanged"]) == (0, 2)


def test_it_makes_classes(make_dataset: MakeDataset, file: Path) -> None:
    make_dataset(4)
    result = run(str(file), "--create-classes")
    assert (result["applied"], result["created_classes"], result["unknown_classes"]) == (3, ["emu"], [])
    assert Item.objects.get(row=1).label == LabelClass.objects.get(name="emu")


def test_it_speaks_to_people(make_dataset: MakeDataset, file: Path) -> None:
    make_dataset(4)
    assert command_output("import_labels", str(file)).splitlines() == [
        "2 applied, 0 unchanged, of 4 lines.",
        "1 line about items that this dataset does not have (column path): no.png.",
        "1 line of unknown classes: emu. Add --create-classes to create them.",
    ]


def test_the_user_may_be_named(make_dataset: MakeDataset, file: Path) -> None:
    make_dataset(4)
    User.objects.create_user("ana")
    run(str(file), "--user", "ana")
    assert set(Annotation.objects.values_list("annotator__username", flat=True)) == {"ana"}
    with pytest.raises(CommandError, match="no user 'ben'"):
        run(str(file), "--user", "ben")


def test_the_dataset_may_be_named(make_dataset: MakeDataset, file: Path) -> None:
    make_dataset(4, name="one")
    two = make_dataset(4, name="two")
    with pytest.raises(CommandError, match="--dataset"):
        run(str(file))
    run(str(file), "--dataset", "two")
    assert set(Item.objects.exclude(state=State.UNLABELLED).values_list("dataset", flat=True)) == {two.pk}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "could not be read"), (b"path,label\na\x81,cat", "not text in Windows-1252"), (b"", "empty")],
)
def test_a_file_that_cannot_be_read_fails_in_words(
    make_dataset: MakeDataset, tmp_path: Path, content: bytes | None, message: str
) -> None:
    make_dataset(4)
    file = tmp_path / "other.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CommandError, match=message):
        run(str(file))
    assert Annotation.objects.count() == 0
