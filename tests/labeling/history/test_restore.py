"""Test that a record is imported into an empty store without a loss, as a whole or not at all."""

import hashlib
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError

from hoshina.core.errors import Refusal
from labeling.decisions.random_draws import random_draws
from labeling.exporting import Export, Options
from labeling.history.restore import restore
from labeling.models import Action, Annotation, ClassChange, ClassExample, Dataset, Item, LabelClass, Note
from modeling.models import ModelVersion
from sampling.accuracy.estimate import newest_audited
from sampling.models import Check, Round
from sampling.sweeps.checks import carryover_of, measured, settle, waiting_rows
from tests.factories import MakeDataset, archive_bytes, command_json, command_output, decide, fresh, not_none, opened
from tests.labeling.history.conftest import EVERYTHING

pytestmark = pytest.mark.django_db


@pytest.fixture
def new_dataset(make_dataset: MakeDataset, empty_store: Callable[[], None]) -> Callable[[], Dataset]:
    """Delete everything and make the dataset with the same images again, without classes."""

    def make() -> Dataset:
        empty_store()
        return make_dataset(40, classes=())

    return make


def contents_of(archive: Path | bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) if isinstance(archive, Path) else opened(archive) as files:
        return {name: files.read(name) for name in files.namelist()}


def manifest_without_model(content: bytes) -> Any:
    """Return a manifest without what describes the files of models, which a record does not have."""
    found = json.loads(content)
    del found["files"]["data_card.md"]
    return {key: value for key, value in found.items() if key not in {"model", "embedding_backend", "encoder"}}


def card_without_model(content: bytes) -> str:
    return re.sub(r"## Models.*?(?=## )", "", content.decode(), flags=re.DOTALL)


@pytest.mark.parametrize("escape_formulas", [False, True])
def test_an_export_of_the_import_has_the_same_bytes(
    recorded: Dataset, new_dataset: Callable[[], Dataset], tmp_path: Path, escape_formulas: bool
) -> None:
    first = archive_bytes(recorded, extras=EVERYTHING, escapes_formulas=escape_formulas)
    path = tmp_path / "export.zip"
    path.write_bytes(first)
    draws, audited = random_draws(recorded.pk), newest_audited(recorded.pk)
    counters = {name: getattr(recorded, name) for name in ("n_labelled", "n_unsure", "n_skipped", "n_decisions")}
    dataset = new_dataset()
    report = restore(dataset, path)
    assert (report.decisions, report.items, report.classes) == (Annotation.objects.count(), 35, 4)
    again = contents_of(archive_bytes(dataset, extras=EVERYTHING, escapes_formulas=escape_formulas))
    before = contents_of(first)
    assert json.loads(before["manifest.json"])["checks"]["wrong"] == 1
    assert manifest_without_model(again.pop("manifest.json")) == manifest_without_model(before.pop("manifest.json"))
    assert card_without_model(again.pop("data_card.md")) == card_without_model(before.pop("data_card.md"))
    assert again == before
    assert len(draws.labeled) == 6
    assert {row: draw.suggested_id for row, draw in random_draws(dataset.pk).labeled.items()} == {
        row: draw.suggested_id for row, draw in draws.labeled.items()
    }
    assert newest_audited(dataset.pk) == audited
    assert {name: getattr(fresh(dataset), name) for name in counters} == counters
    assert ClassExample.objects.get().item.row == 1


def test_the_undo_history_goes_on(exported: Path, new_dataset: Callable[[], Dataset]) -> None:
    dataset = new_dataset()
    restore(dataset, exported)
    item = Item.objects.get(row=30)
    assert item.label
    decide(dataset, "undo", holder="")
    assert fresh(item).label is None
    row20 = Item.objects.get(row=24)
    assert row20.label is not None
    decide(dataset, "undo", holder="second")
    assert fresh(row20).label == row20.label  # fox before, which was merged into cat


def test_an_earlier_time_can_be_rebuilt_in_the_new_store(
    recorded: Dataset, new_dataset: Callable[[], Dataset], exported: Path
) -> None:
    until = Action.objects.order_by("pk")[8].created_at.isoformat()
    before = opened(archive_bytes(recorded, as_of=until)).read("labels.csv")
    dataset = new_dataset()
    restore(dataset, exported)
    assert opened(archive_bytes(dataset, as_of=until)).read("labels.csv") == before


def test_earlier_names_are_known_in_the_new_store(
    recorded: Dataset, new_dataset: Callable[[], Dataset], exported: Path
) -> None:
    until = not_none(ClassChange.objects.filter(kind="renamed").first()).changed_at.isoformat()
    before = contents_of(archive_bytes(recorded, as_of=until, extras=frozenset({"annotations"})))
    assert b'"hound"' in before["history/classes.json"]
    assert b'"owl"' not in before["history/classes.json"]
    dataset = new_dataset()
    assert restore(dataset, exported).parts["class_changes"] == 4
    again = contents_of(archive_bytes(dataset, as_of=until, extras=frozenset({"annotations"})))
    del again["manifest.json"], before["manifest.json"]  # the first store has the encoder's libraries
    assert again == before


def test_hidden_checks_go_on_in_the_new_store(
    recorded: Dataset, new_dataset: Callable[[], Dataset], exported: Path
) -> None:
    before, carryover = measured(recorded), carryover_of(recorded)
    assert (before.n, before.n_wrong, before.n_waiting) == (2, 1, 2)
    dataset = new_dataset()
    Item.objects.filter(row=34).update(path="elsewhere.png")  # its check waits, so it is in no decision
    assert restore(dataset, exported).parts["checks"] == 4
    settle(dataset.pk)
    assert (measured(dataset), carryover_of(dataset)) == (before, carryover)
    assert waiting_rows(dataset).tolist() == [33, 34]
    decide(dataset, "assign", [34], "=dog", holder="check")
    decide(dataset, "assign", [33], "cat", holder="check")  # the second look confirms it
    settle(dataset.pk)
    assert (measured(dataset).n, measured(dataset).n_wrong, measured(dataset).n_waiting) == (4, 2, 0)


def test_a_page_of_a_sweep_can_be_undone_in_the_new_store(exported: Path, new_dataset: Callable[[], Dataset]) -> None:
    dataset = new_dataset()
    restore(dataset, exported)
    decide(dataset, "undo", holder="sweep")
    settle(dataset.pk)
    assert set(Check.objects.values_list("outcome", flat=True)) == {Check.Outcome.DEALT}


def test_a_record_of_an_older_version_has_neither_changes_of_classes_nor_checks(
    exported: Path, new_dataset: Callable[[], Dataset]
) -> None:
    def older(files: dict[str, bytes]) -> None:
        manifest = json.loads(files["manifest.json"])
        for name in ("history/class_changes.jsonl", "history/checks.jsonl"):
            del files[name], manifest["files"][name]
        files["manifest.json"] = json.dumps(manifest).encode()

    assert restore(new_dataset(), rewritten(exported, older)).classes == 4
    assert not ClassChange.objects.exists()
    assert not Check.objects.exists()


def test_nobody_gains_access(exported: Path, new_dataset: Callable[[], Dataset]) -> None:
    dataset = new_dataset()
    User.objects.create_user("ana", password="secret")
    report = restore(dataset, exported)
    assert report.people == ["ben"]
    ben = User.objects.get(username="ben")
    assert (ben.is_active, ben.is_staff, ben.is_superuser, ben.has_usable_password()) == (False,) * 4
    assert not ben.groups.exists()
    assert User.objects.get(username="ana").check_password("secret")
    assert Annotation.objects.filter(annotator=ben).exists()


def test_it_fits_a_store_with_other_datasets(
    exported: Path, new_dataset: Callable[[], Dataset], make_dataset: MakeDataset
) -> None:
    first = contents_of(exported)
    new_dataset()
    other = make_dataset(3, name="other")
    decide(other, "assign", [0], "cat")
    Round.objects.create(dataset=other, queue="random", seed=1)
    dataset = make_dataset(40, name="copy", classes=())
    restore(dataset, exported)
    again = contents_of(archive_bytes(dataset, extras=EVERYTHING))

    def labels(content: bytes) -> list[list[str]]:
        return [line.split(",")[1:] for line in content.decode().splitlines()]

    assert labels(again["labels.csv"]) == labels(first["labels.csv"])
    assert labels(again["splits.csv"]) == labels(first["splits.csv"])
    assert ModelVersion.objects.filter(dataset=dataset).count() == 1
    assert not ModelVersion.objects.get(dataset=dataset).is_active
    assert Annotation.objects.filter(item__dataset=other).count() == 1


def test_moved_and_changed_files(exported: Path, new_dataset: Callable[[], Dataset]) -> None:
    dataset = new_dataset()
    Item.objects.filter(row=0).update(path="elsewhere.png")
    frame = Item.objects.get(row=1).frames.get()
    frame.sha256 = "f" * 64
    frame.save()
    report = restore(dataset, exported)
    assert (report.moved, report.changed) == (1, 1)
    assert Item.objects.get(row=0).label is not None
    assert Item.objects.get(row=1).is_content_changed
    assert not Item.objects.get(row=2).is_content_changed


def refuse(dataset: Dataset, path: Path, message: str) -> None:
    """Assert that an import is refused, and that nothing of it is there."""
    n = Annotation.objects.count(), LabelClass.objects.count(), User.objects.count(), Round.objects.count()
    with pytest.raises(Refusal, match=message):
        restore(dataset, path)
    after = Annotation.objects.count(), LabelClass.objects.count(), User.objects.count(), Round.objects.count()
    assert after == n


def test_a_dataset_with_decisions_is_refused(recorded: Dataset, exported: Path) -> None:
    refuse(recorded, exported, "The dataset has decisions already")


def test_decisions_that_this_store_has_are_refused(
    exported: Path, recorded: Dataset, make_dataset: MakeDataset
) -> None:
    refuse(
        make_dataset(40, name="copy", classes=()), exported, "has these decisions already, in the dataset “pictures”"
    )


def test_a_dataset_with_classes_is_refused(exported: Path, new_dataset: Callable[[], Dataset]) -> None:
    dataset = new_dataset()
    LabelClass.objects.create(dataset=dataset, name="cat", colour="#000000")
    refuse(dataset, exported, "has classes already")


def test_missing_images_are_named(exported: Path, new_dataset: Callable[[], Dataset]) -> None:
    dataset = new_dataset()
    Item.objects.filter(row__in=(3, 35)).delete()
    refuse(dataset, exported, r"2 images of the record are not in this dataset, such as image0003\.png, image0035\.png")


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None], *, is_true: bool = True) -> Path:
    """Write an archive with other files; ``is_true``: its manifest describes them."""
    files = contents_of(path)
    change(files)
    manifest = json.loads(files["manifest.json"])
    if is_true:
        for name in manifest["files"]:
            if name in files:
                manifest["files"][name]["sha256"] = hashlib.sha256(files[name]).hexdigest()
    files["manifest.json"] = json.dumps(manifest).encode()
    target = path.with_name("rewritten.zip")
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target


def replaced(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new, 1)

    return change


def without(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        del files[name]

    return change


def disputed_by_acceptance(files: dict[str, bytes]) -> None:
    """Let the action that accepted a page be the one that disagreed."""
    text = files["history/checks.jsonl"].decode()
    files["history/checks.jsonl"] = re.sub(
        r'("accept":"([\w-]+)","disputed_by":")[\w-]+', r"\1\2", text
    ).encode()  # fmt: skip


def other_action(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        files[name] = re.sub(rb'"(after|accept)":"\w{8}-', rb'"\1":"00000000-', files[name])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("annotations.csv", b"0,labelled"[1:], b",lost"), "has the unknown state 'lost'"),
        (replaced("annotations.csv", b"\n2,", b"\n3,"), "has the number 3"),
        (replaced("annotations.csv", b"label_id", b"label_no"), "lacks the column label_id"),
        (replaced("annotations.csv", b",assign,", b",win,"), "unknown action_kind 'win'"),
        (replaced("annotations.csv", b",1.25,", b",nan,"), "has 'nan' in seconds"),
        (replaced("annotations.csv", b",1.25,", b",1.25,7,"), "cells, and"),
        (replaced("annotations.csv", b"Z,1.25", b",1.25"), "in decided_at"),
        (replaced("annotations.csv", b",ana,", b",a\xff\xfe,"), "can't be read"),
        (replaced("annotations.csv", b",ana,", b",a\x01na,"), "can't be the name of a person"),
        (replaced("history/classes.json", b'"#', b'"!'), "classes.json is damaged"),
        (replaced("history/classes.json", b'"fox"', b'"\\u0000"'), "null character"),
        (replaced("history/rounds.jsonl", b'"seed":7', b'"seed":"x"'), "A line of the folder history is damaged"),
        (replaced("history/rounds.jsonl", b"{", b"["), "is no JSON object"),
        (replaced("history/model_versions.jsonl", b'"kind":"assistive"', b'"kind":"best"'), "is damaged"),
        (replaced("history/actions.jsonl", b'"kind":"undo"', b'"kind":"redo"'), "is damaged"),
        (without("annotations.csv"), "annotations.csv is missing"),
        (without("history/remarks.jsonl"), "remarks.jsonl is missing"),
    ],
)  # fmt: skip
def test_a_damaged_record_is_refused_as_a_whole(
    exported: Path, new_dataset: Callable[[], Dataset], change: Callable[[dict[str, bytes]], None], message: str
) -> None:
    refuse(new_dataset(), rewritten(exported, change), message)


def test_damaged_changes_of_classes_and_checks_are_refused_as_a_whole(
    exported: Path, new_dataset: Callable[[], Dataset]
) -> None:
    dataset = new_dataset()
    for change, message in (
        (replaced("history/class_changes.jsonl", b'"kind":"added"', b'"kind":"lost"'), "is damaged"),
        (replaced("history/class_changes.jsonl", b'"old_name":"hound"', b'"old_name":""'), "Change 3 .* is impossible"),
        (replaced("history/class_changes.jsonl", b'"label":2', b'"label":77'), "refers to 77, which classes lacks"),
        (replaced("history/class_changes.jsonl", b'"after":"', b'"after":"x'), "is damaged"),
        (other_action("history/class_changes.jsonl"), "refers to the action .*, which is missing"),
        (replaced("history/class_changes.jsonl", b'"by":"ben"', b'"by":"a/b"'), "can't be the name of a person"),
        (replaced("history/checks.jsonl", b'"outcome":"wrong"', b'"outcome":"fine"'), "is damaged"),
        (replaced("history/checks.jsonl", b'"promised":0.02', b'"promised":NaN'), "is damaged"),
        (replaced("history/checks.jsonl", b'"round":3', b'"round":77'), "refers to 77, which rounds lacks"),
        (other_action("history/checks.jsonl"), "refers to the action .*, which is missing"),
        (disputed_by_acceptance, "Check 2 .* is disputed by another image's decision"),
        (without("history/checks.jsonl"), "checks.jsonl is missing"),
        (without("history/class_changes.jsonl"), "class_changes.jsonl is missing"),
    ):
        refuse(dataset, rewritten(exported, change), message)
    assert not ClassChange.objects.exists()
    assert not Check.objects.exists()


def test_a_changed_file_is_refused(exported: Path, new_dataset: Callable[[], Dataset]) -> None:
    changed = rewritten(exported, replaced("annotations.csv", b",ana,", b",eve,"), is_true=False)
    refuse(new_dataset(), changed, "annotations.csv was changed after the export")


def test_other_files_are_no_export(exported: Path, new_dataset: Callable[[], Dataset], tmp_path: Path) -> None:
    dataset, text, empty = new_dataset(), tmp_path / "labels.csv", tmp_path / "empty"
    text.write_text("path,label\n")
    refuse(dataset, text, "neither a ZIP archive nor a folder")
    empty.mkdir()
    refuse(dataset, empty, "it has no manifest.json")
    (empty / "manifest.json").write_text("[]")
    refuse(dataset, empty, "lists no files")


def test_an_export_without_the_record_is_refused(
    recorded: Dataset, new_dataset: Callable[[], Dataset], tmp_path: Path
) -> None:
    path = tmp_path / "export.zip"
    path.write_bytes(archive_bytes(recorded))
    refuse(new_dataset(), path, "Export the dataset again with --with-annotations")


def test_people_with_numbers_in_place_of_names(
    recorded: Dataset, new_dataset: Callable[[], Dataset], tmp_path: Path
) -> None:
    content = archive_bytes(recorded, extras=EVERYTHING, numbers_annotators=True)
    assert b"ana" not in b"".join(contents_of(content).values())
    assert b"ben" not in b"".join(contents_of(content).values())
    path = tmp_path / "export.zip"
    path.write_bytes(content)
    dataset = new_dataset()
    assert restore(dataset, path).people == ["annotator-1", "annotator-2"]
    assert Note.objects.get().author == User.objects.get(username="annotator-1")


def test_the_command_reads_a_folder(recorded: Dataset, new_dataset: Callable[[], Dataset], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    command_json("export", "--with-annotations", "--folder", "--no-images", "--output", str(folder))
    dataset = new_dataset()
    report = command_json("import_labels", str(folder), "--history")
    assert report["decisions"] == Annotation.objects.filter(item__dataset=dataset).count() > 30
    assert report["people"] == ["ana", "ben"]
    with pytest.raises(CommandError, match="has decisions already"):
        command_output("import_labels", str(folder), "--history")


def test_an_export_as_of_a_round_is_a_record_too(
    recorded: Dataset, new_dataset: Callable[[], Dataset], tmp_path: Path
) -> None:
    options = Options(as_of=str(Round.objects.order_by("pk")[0].pk), extras=frozenset({"annotations"}))
    path = tmp_path / "export.zip"
    path.write_bytes(b"".join(Export(recorded, options)))
    dataset = new_dataset()
    assert restore(dataset, path).decisions == 6
    assert fresh(dataset).n_labelled == 6
