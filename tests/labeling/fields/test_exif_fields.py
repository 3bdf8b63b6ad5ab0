"""EXIF facts to fields: what the page offers, kinds, and files that come later."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.core.management import call_command
from django.test import Client
from PIL import ExifTags, Image

from hoshina.core.errors import Refusal
from labeling.fields import header_fields
from labeling.ingest.dataset_folder import dataset_for
from labeling.models import Dataset
from tests.factories import assert_contains, new_folder
from tests.labeling.fields.conftest import ingest, read, run_queued, texts

pytestmark = pytest.mark.usefixtures("transactional_db")


def save(file: Path, seed: int, *, latitude: float | None = None, day: int = 0, model: str = "") -> None:
    exif = Image.Exif()
    if model:
        exif[ExifTags.Base.Model] = model
    if day:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"2024:05:{day:02d} 12:34:56"
    if latitude is not None:
        exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N" if latitude > 0 else "S", 2: (abs(latitude), 0.0, 0.0)})
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (12, 12, 3), np.uint8)).save(file, exif=exif)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = new_folder(tmp_path / "trap")
    save(folder / "IMG_2.jpg", 1, latitude=-33.5, day=2, model="007")
    save(folder / "IMG_10.png", 2, latitude=48.25, day=10, model="8")
    save(folder / "IMG_9.webp", 3, day=9, model="8")
    save(folder / "plain.jpg", 4)
    return folder


def test_rows_are_in_natural_order(dataset: Dataset) -> None:
    paths = dataset.items.order_by("row").values_list("path", flat=True)
    assert list(paths) == ["IMG_2.jpg", "IMG_9.webp", "IMG_10.png", "plain.jpg"]


def test_the_page_offers_exif_by_plain_names(dataset: Dataset, client: Client) -> None:
    sample = header_fields.sample_of(dataset)
    assert (sample.n_files, sample.n_read) == (4, 3)
    assert [(offer.name, offer.n) for offer in sample.offers][:3] == [
        ("DateTimeOriginal", 3), ("Model", 3), ("GPSLatitude", 2),
    ]  # fmt: skip
    page = client.get(f"/d/{dataset.slug}/fields/cards/").content.decode()
    assert_contains(page, 'value="GPSLatitude"', "decimal degrees, south negative")


def test_exif_becomes_fields_of_the_right_kind(dataset: Dataset) -> None:
    result = read(dataset, "datetimeoriginal", "GPSLatitude", "Model", "GPSAltitude")
    assert [(one["name"], one["kind"], one["known"]) for one in result["fields"]] == [
        ("DateTimeOriginal", "time", 3), ("GPSLatitude", "number", 2), ("Model", "text", 3),
    ]  # fmt: skip
    assert (result["without"], result["failed"]) == (["GPSAltitude"], 0)
    assert texts(dataset, "DateTimeOriginal") == [*(f"2024-05-{day}T12:34:56Z" for day in ("02", "09", "10")), ""]
    assert texts(dataset, "GPSLatitude") == ["-33.5", "", "48.25", ""]
    assert texts(dataset, "Model") == ["007", "8", "8", ""]


def test_new_files_fill_them_at_ingest(dataset: Dataset, folder: Path) -> None:
    call_command("import_fields", "--cards", "Model,DateTimeOriginal", "--json")
    save(folder / "IMG_1.jpg", 9, day=30, model="M 9")
    ingest(dataset)
    claimed = run_queued("read_cards")
    assert (claimed.result["files"], texts(dataset, "Model")[-1]) == (1, "M 9")
    assert not header_fields.has_work(dataset)


def test_a_fits_card_of_the_same_word_is_another(dataset: Dataset) -> None:
    assert header_fields.check_cards(dataset, ["MODEL", "gain"]) == ["MODEL", "GAIN"]
    assert header_fields.check_cards(dataset, ["model"]) == ["Model"]
    read(dataset, "Model")
    with pytest.raises(Refusal, match="There is already a field Model"):
        header_fields.check_cards(dataset, ["MODEL"])


def test_of_an_item_with_both_the_fits_header_counts(store: Path, tmp_path: Path, settings: Any) -> None:
    settings.EMBEDDING_BACKEND = "hog"
    folder = new_folder(tmp_path / "both")
    save(folder / "a_1.jpg", 1, model="preview")
    fits.PrimaryHDU(np.arange(64.0).reshape(8, 8), fits.Header({"MODEL": "ccd"})).writeto(folder / "a_2.fits")
    dataset = dataset_for(folder, None)
    ingest(dataset, grouping="{id}_{role}")
    read(dataset, "MODEL")
    assert texts(dataset, "MODEL") == ["ccd"]
