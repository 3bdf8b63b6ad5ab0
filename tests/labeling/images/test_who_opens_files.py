"""Test that only decoder processes open images, not the process that serves pages, scans folders or reads cards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from django.test import Client
from django.urls import reverse
from PIL import Image

from hoshina.jobs.lifecycle import run_now
from labeling.display.settings import compose_as
from labeling.images import exif, fits_cards, open_image
from labeling.images.composite import Composition
from labeling.images.decoder_pool import decoders
from labeling.images.rendering import Rendering
from labeling.ingest.dataset_folder import dataset_for
from labeling.models import Dataset, Frame, Item
from labeling.views.images import _fields
from tests.factories import new_folder
from tests.labeling.factories import BANDS, orion_header, write_bands

pytestmark = pytest.mark.usefixtures("store", "transactional_db")


@pytest.fixture
def opened_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the files that this process opens with an image reader."""
    opened: list[str] = []
    readers = {Image: "open", fits: "open", tifffile: "TiffFile", open_image: "decoded", fits_cards: "headers_in"}
    readers |= {exif: "facts_in"}
    for place, name in readers.items():
        monkeypatch.setattr(place, name, noting(getattr(place, name), name, opened))
    return opened


def noting(reader: Callable[..., Any], name: str, opened: list[str]) -> Callable[..., Any]:
    def noted(*args: Any, **kwargs: Any) -> Any:
        opened.append(name)
        return reader(*args, **kwargs)

    return noted


def ask(client: Client, *addresses: str) -> None:
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200, (address, answer.content)
        answer.close()


def test_readers_would_be_noticed(opened_here: list[str], tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    open_image.open_image(tmp_path / "a.png")
    assert opened_here == ["decoded", "open"]


def test_single_files(opened_here: list[str], client: Client, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "in")
    fits.PrimaryHDU(np.arange(24, dtype=np.float32).reshape(4, 6), orion_header()).writeto(folder / "a.fits")
    for name in ("b.png", "c.jpg", "d.tif"):
        Image.new("RGB", (8, 6), "green").save(folder / name)
    dataset = dataset_for(folder, None)
    opened_here.clear()
    assert run_now("ingest", dataset_id=dataset.pk).result["items"] == 4
    assert run_now("read_cards", dataset_id=dataset.pk, params={"cards": ["CTYPE1"]}).result["files"] == 4
    for frame in Frame.objects.all():
        for name in ("sky", "scale", "values", "rendered"):
            ask(client, f"{reverse(f'labeling:{name}', args=[frame.pk])}?{urlencode(_fields(Rendering()))}")
        ask(client, f"/api/thumb/{frame.item_id}?frame={frame.role}", f"/api/file/{frame.item_id}?frame={frame.role}")
    ask(client, reverse("labeling:file_header", args=[Frame.objects.get(format="FITS").pk]))
    slug = [dataset.slug]
    ask(client, *(reverse(f"labeling:{name}", args=slug) for name in ("images", "field_cards", "grouping", "problems")))
    ask(client, reverse("labeling:item", args=[dataset.slug, 0]))
    answer = client.get(reverse("labeling:images_limits", args=slug), _fields(Rendering(stretch="linear")))
    assert answer["HX-Trigger-After-Swap"] == "hoshina:measured"
    assert opened_here == []


def test_several_files_an_item(opened_here: list[str], client: Client, tmp_path: Path) -> None:
    write_bands(tmp_path / "in")
    dataset = dataset_for(tmp_path / "in", None)
    opened_here.clear()
    run_now("ingest", dataset_id=dataset.pk, params={"grouping": "{id}_{role}.fits"})
    dataset = Dataset.objects.get()
    assert set(dataset.roles) == set(BANDS)
    compose_as(dataset, Composition(layout="rgb"))
    item = Item.objects.get()
    ask(client, f"/api/thumb/{item.pk}?color=1", f"/api/file/{item.pk}?color=1")
    ask(client, reverse("labeling:images", args=[dataset.slug]), reverse("labeling:detail", args=[dataset.slug, 0]))
    assert opened_here == []
    assert decoders()._idle  # a decoder did it
