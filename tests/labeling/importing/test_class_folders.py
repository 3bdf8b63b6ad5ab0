"""Labels from class folders: at ingest, and by the preview of the import page."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from labeling.fields import column_of
from labeling.models import Dataset, Item
from tests.factories import assert_contains, assign, command_json, said

pytestmark = pytest.mark.django_db(transaction=True)


def pictures(folder: Path, *paths: str) -> Path:
    for number, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number * 9, 3, 7)).save(folder / path)
    return folder


def labels() -> dict[str, str | None]:
    return dict(Item.objects.values_list("path", "label__name"))


def ingest(folder: Path, *options: str) -> dict[str, Any]:
    result = command_json("ingest", "--data-dir", str(folder), *options)
    assert isinstance(result, dict)
    return result


def test_folders_give_labels_and_never_replace_a_decision(store: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pets", "cat/1.png", "cat/old/2.png", "Dog/1.png", "other.png")
    ingest(folder)
    assert set(labels().values()) == {None}
    result = ingest(folder, "--labels-from-folders")
    assert result["folder_labels"] == {"applied": 3, "classes": ["cat", "Dog"]}
    assert labels() == {"cat/1.png": "cat", "cat/old/2.png": "cat", "Dog/1.png": "Dog", "other.png": None}
    dataset = Dataset.objects.get()
    assert not dataset.fields.exists()
    assign(dataset, [dataset.items.get(path="cat/1.png").row], dataset.classes.get(name="Dog"))
    pictures(folder, "cat/3.png")
    assert ingest(folder, "--labels-from-folders")["folder_labels"] == {"applied": 1, "classes": []}
    assert (labels()["cat/1.png"], labels()["cat/3.png"]) == ("Dog", "cat")


def test_splits_above_the_classes_are_a_field(store: Path, tmp_path: Path) -> None:
    ingest(pictures(tmp_path / "pets", "train/cat/1.png", "val/cat/2.png", "test/dog/3.png"), "--labels-from-folders")
    assert labels() == {"train/cat/1.png": "cat", "val/cat/2.png": "cat", "test/dog/3.png": "dog"}
    column = column_of(Dataset.objects.get().fields.get(name="split"))
    rows = dict(Item.objects.values_list("path", "row"))
    splits = {path: column.vocabulary[int(column.values[row])] for path, row in rows.items()}
    assert splits == {"train/cat/1.png": "train", "val/cat/2.png": "val", "test/dog/3.png": "test"}


def test_the_page_previews_labels_from_folders(client: Client, store: Path, tmp_path: Path) -> None:
    ingest(pictures(tmp_path / "pets", "train/cat/1.png", "train/dog/2.png", "test/dog/3.png"))
    page = client.get("/d/pets/import/")
    assert_contains(said(page), "Labels from class folders", "cat, dog")
    preview = client.post("/d/pets/import/folders/", follow=True)
    assert_contains(said(preview), "3 lines: 3 new labels", "New classes: dog (2), cat (1)", "Metadata fields: split")
    assert set(labels().values()) == {None}
    answers = {"upload": preview.context["token"], "create_classes": "on", "column-2": "field"}
    client.post("/d/pets/import/apply/", answers)
    assert labels() == {"train/cat/1.png": "cat", "train/dog/2.png": "dog", "test/dog/3.png": "dog"}


def test_a_folder_without_class_folders_is_not_offered(client: Client, store: Path, tmp_path: Path) -> None:
    ingest(pictures(tmp_path / "pets", "1.png"))
    assert_contains(client.get("/d/pets/import/"), lacks=["Labels from class folders"])
    assert client.post("/d/pets/import/folders/").status_code == 422
