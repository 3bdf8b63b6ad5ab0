"""Undo imports: as a whole, once, and without touching what people decided since."""

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from hoshina.core.errors import Refusal
from labeling.importing import save_table
from labeling.importing.save_table import import_labels
from labeling.importing.undo import past_imports, undo_import
from labeling.models import Annotation, Dataset, Item, LabelClass
from tests.factories import MakeDataset, assert_contains, assign, text

pytestmark = pytest.mark.django_db


def labels(dataset: Dataset) -> list[str | None]:
    return list(Item.objects.filter(dataset=dataset).order_by("row").values_list("label__name", flat=True))


def load(dataset: Dataset, *names: str) -> str:
    lines = "".join(f"image{row:04d}.png,{name}\n" for row, name in enumerate(names))
    return import_labels(dataset, io.BytesIO(f"path,label\n{lines}".encode()), user=None).import_id


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    made = make_dataset(6)
    assign(made, [0, 1], LabelClass.objects.get(name="cat"))
    return made


def test_the_whole_import_goes_back(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save_table, "BATCH", 2)  # several actions
    identity = load(dataset, "dog", "cat", "dog", "dog", "dog")
    assert labels(dataset) == ["dog", "cat", "dog", "dog", "dog", None]
    n_before = Annotation.objects.count()
    assert undo_import(dataset, identity, user=None) == 4
    assert labels(dataset) == ["cat", "cat", None, None, None, None]
    assert Annotation.objects.count() == n_before + 4  # nothing is deleted
    dataset.refresh_from_db()
    assert dataset.n_labelled == 2
    with pytest.raises(Refusal, match="no such import"):
        undo_import(dataset, identity, user=None)


def test_later_decisions_stay(dataset: Dataset) -> None:
    identity = load(dataset, "dog", "dog", "dog")
    assign(dataset, [2], LabelClass.objects.get(name="cat"))
    assert undo_import(dataset, identity, user=None) == 2
    assert labels(dataset) == ["cat", "cat", "cat", None, None, None]


def test_imports_go_back_one_by_one(dataset: Dataset) -> None:
    first, second = load(dataset, "dog", "dog"), load(dataset, "cat", "dog", "dog")
    assert [(past.id, past.n_labels) for past in past_imports(dataset)] == [(second, 2), (first, 2)]
    assert undo_import(dataset, "last", user=None) == 2
    assert labels(dataset) == ["dog", "dog", None, None, None, None]
    assert undo_import(dataset, "last", user=None) == 2
    assert labels(dataset) == ["cat", "cat", None, None, None, None]
    assert past_imports(dataset) == []


def test_nothing_else_is_undone(dataset: Dataset, make_dataset: MakeDataset) -> None:
    other = make_dataset(2, name="other")
    identity = load(other, "dog")
    for name in (identity, "", "x", "last", "%"):
        with pytest.raises(Refusal):
            undo_import(dataset, name, user=None)
    assert labels(other) == ["dog", None]


def test_the_page_lists_and_undoes_them(client: Client, dataset: Dataset) -> None:
    identity = load(dataset, "dog", "dog")
    for page in ("import", "export"):
        assert_contains(text(client.get(f"/d/pictures/{page}/")), "Earlier imports", identity)
    response = client.post("/d/pictures/import/undo/", {"import": identity})
    assert "2 images went back" in text(response)
    assert "hoshina:labels" in response["HX-Trigger"], "the Export page counts again"
    assert labels(dataset)[:2] == ["cat", "cat"]
    assert "no such import" in text(client.post("/d/pictures/import/undo/", {"import": identity}), 422)


def test_the_command(dataset: Dataset, capsys: Any) -> None:
    load(dataset, "dog", "dog")
    call_command("import_labels", undo="last", json=True)
    assert json.loads(capsys.readouterr().out) == {"undone": 2}
    with pytest.raises(CommandError, match="no such import"):
        call_command("import_labels", undo="last")
    with pytest.raises(CommandError, match="Name the file"):
        call_command("import_labels")
