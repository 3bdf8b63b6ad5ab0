"""How a dataset is shown: in its pictures, its vectors, its annotations; and read again where it has to be."""

import io
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from PIL import Image

from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.display.settings import show_as
from labeling.images.rendering import Rendering
from labeling.models import Annotation, Dataset, Frame, LabelClass, Problem
from modeling.encoders.pipeline import has_work
from modeling.models import EmbeddingSet
from modeling.store import open_vectors
from tests.factories import new_folder

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


@pytest.fixture(autouse=True)
def plain_encoder(settings: Any) -> None:
    settings.EMBEDDING_BACKEND = "hog"


@pytest.fixture
def sky(tmp_path: Path) -> Dataset:
    """Provide three FITS files: HDU 0 is empty, 1 rises to the right (60 x 40), 2 from top to bottom (30 x 50)."""
    folder = new_folder(tmp_path / "sky")
    for number in range(3):
        across = np.tile(np.arange(60, dtype=np.float32), (40, 1)) * (number + 1)
        down = np.tile(np.arange(50, dtype=np.float32)[::-1, None], (1, 30)) * (number + 1)
        parts = [fits.PrimaryHDU(), fits.ImageHDU(across), fits.ImageHDU(down)]
        fits.HDUList(parts).writeto(folder / f"image{number}.fits")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((9, 9)))]).writeto(folder / "small.fits")
    call_command("ingest", f"--data-dir={folder}", stdout=io.StringIO())
    return Dataset.objects.get()


def picture(client: Client, address: str, **asked: str) -> np.ndarray:
    response = client.get(address, asked)
    assert response.status_code == 200, response.content
    return np.asarray(Image.open(io.BytesIO(response.content)))[..., 0].astype(int)


def thumbnail(frame: Frame) -> str:
    return f"/api/thumb/{frame.item_id}"


def test_pictures_follow_the_dataset_and_each_way_has_a_tag_of_its_own(client: Client, sky: Dataset) -> None:
    frame = sky.items.get(row=0).frames.get()
    usual = client.get(thumbnail(frame))
    assert usual["ETag"] == f'"{frame.sha256}-256"'
    before = picture(client, thumbnail(frame))
    assert (before[0, 0], before[0, -1]) == (0, 255)
    rendering = Rendering(is_inverted=True, stretch="minmax")
    assert show_as(sky, rendering)
    assert not show_as(sky, rendering)
    assert abs(picture(client, thumbnail(frame)) - (255 - before)).max() <= 6
    again = client.get(thumbnail(frame), headers={"If-None-Match": usual["ETag"]})
    assert (again.status_code, again["ETag"]) == (200, f'"{frame.sha256}-256-{rendering.key}"')
    assert client.get(thumbnail(frame), headers={"If-None-Match": again["ETag"]}).status_code == 304


def test_an_address_is_kept_for_ever_only_while_it_names_the_way(client: Client, sky: Dataset) -> None:
    frame = sky.items.get(row=0).frames.get()
    old = frame.version(sky.shown_as)
    assert "immutable" in client.get(thumbnail(frame), {"v": old})["Cache-Control"]
    show_as(sky, Rendering(stretch="asinh"))
    assert client.get(thumbnail(frame), {"v": old})["Cache-Control"] == "private, no-cache"
    assert "immutable" in client.get(thumbnail(frame), {"v": frame.version(sky.shown_as)})["Cache-Control"]
    page = client.get(reverse("labeling:item", args=[sky.slug, 0])).content.decode()
    assert f"?v={frame.version(sky.shown_as)}" in page


def test_a_browser_may_ask_for_another_stretch(client: Client, sky: Dataset) -> None:
    frame = sky.items.get(row=2).frames.get()
    show_as(sky, Rendering(stretch="linear", low=0, high=1000, is_inverted=True))
    for address in (thumbnail(frame), f"/api/file/{frame.item_id}"):
        assert picture(client, address).min() > 200
        assert picture(client, address, s="minmax").min() == 0
        tags = {client.get(address, {"s": name})["ETag"] for name in ("usual", "minmax", "linear", "asinh")}
        assert len(tags) == 4
    response = client.get(thumbnail(frame), {"s": "gamma"})
    assert (response.status_code, response.content[:28]) == (404, b"A stretch is one of usual, z")


def test_another_part_of_the_files_is_read_again_and_may_be_missing(sky: Dataset) -> None:
    frames = Frame.objects.filter(dataset=sky).order_by("path")
    assert [(frame.width, frame.height) for frame in frames] == [(60, 40)] * 3 + [(9, 9)]
    assert show_as(sky, Rendering(hdu=2))
    job = Job.objects.get(kind="ingest", state=Job.State.QUEUED)
    assert job.params == {"reread": True}
    run_now("ingest", dataset_id=sky.pk, params=job.params)
    frames = Frame.objects.filter(dataset=sky, item__is_available=True).order_by("path")
    assert [(frame.width, frame.height) for frame in frames] == [(30, 50)] * 3
    assert "has no HDU 2" in Problem.objects.get().reason


def test_the_command_takes_the_hdu_and_keeps_it(sky: Dataset) -> None:
    def ingest(*more: str) -> None:
        call_command("ingest", f"--data-dir={sky.root}", *more, stdout=io.StringIO())
        sky.refresh_from_db()

    ingest("--hdu=2")
    assert sky.shown_as == Rendering(hdu=2)
    assert Frame.objects.get(item__row=0).height == 50
    ingest()
    assert sky.shown_as == Rendering(hdu=2)
    ingest("--hdu=first")
    assert sky.shown_as == Rendering()
    assert Frame.objects.get(item__row=0).height == 40


def test_vectors_are_of_what_is_shown_and_kept_for_each_way(sky: Dataset) -> None:
    run_now("embed", dataset_id=sky.pk)
    usual = EmbeddingSet.objects.get(is_active=True)
    assert not has_work(sky)
    Job.objects.all().delete()
    show_as(sky, Rendering(is_inverted=True))
    assert Job.objects.get().kind == "embed"
    assert has_work(sky)
    result = run_now("embed", dataset_id=sky.pk).result
    inverted = EmbeddingSet.objects.get(is_active=True)
    assert result["fingerprint"] == inverted.fingerprint == f"{usual.fingerprint}-{sky.shown_as.key}"
    assert result["computed"] == 4
    assert not has_work(sky)
    found = [open_vectors(vectors) for vectors in (usual, inverted)]
    assert abs(found[0].X[0] - found[1].X[0]).max() > 0.01  # type: ignore[union-attr]
    show_as(sky, Rendering())
    assert run_now("embed", dataset_id=sky.pk).result["computed"] == 0
    assert EmbeddingSet.objects.get(is_active=True) == usual


def test_how_an_image_was_shown_is_kept_with_its_label(client: Client, sky: Dataset) -> None:
    cat = LabelClass.objects.create(dataset=sky, name="cat", colour="#000000")
    item = sky.items.get(row=0)
    for sent, kept in (
        ("inverted; seen as asinh", "inverted; seen as asinh"),
        ("x" * 500 + "\0", "x" * 120),
        (None, ""),
    ):
        action = {
            "uuid": str(uuid.uuid4()), "kind": "assign", "label": cat.pk, "at": datetime.now(UTC).isoformat(),
            "items": [{"id": item.pk, "seen": 0, "shown": {"queue": "auto", "rendering": sent}}],
        }  # fmt: skip
        address = reverse("labeling:annotate", args=[sky.slug])
        response = client.post(address, {"actions": [action]}, content_type="application/json")
        assert response.json()["results"][0]["status"] == "saved"
        assert Annotation.objects.latest("pk").rendering == kept
    page = client.get(reverse("labeling:item", args=[sky.slug, 0])).content.decode()
    assert "shown as inverted; seen as asinh" in page


def test_limits_that_suit_all_images_are_measured_on_their_pixels(client: Client, sky: Dataset) -> None:
    asked = {"plane": "first", "stretch": "linear", "background": "#808080"}
    answer = client.get(reverse("labeling:images_limits", args=[sky.slug]), asked)
    pixels = np.concatenate([np.tile(np.arange(60) * factor, 40) for factor in (1, 2, 3)] + [np.ones(81)])
    low, high = np.percentile(pixels, (0.25, 99.9))
    form = answer.content.decode()
    assert f'value="{low:.6g}"' in form
    assert f'value="{high:.6g}"' in form
    assert answer["HX-Trigger-After-Swap"] == "hoshina:measured"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"stretch": "zscale"}, "Choose one of linear"),
        ({"stretch": "linear", "hdu": "9"}, "None of the images"),
        ({"hdu": "x"}, "Correct it first"),
    ],
)
def test_limits_that_cannot_be_measured_say_why(
    client: Client, sky: Dataset, asked: dict[str, str], words: str
) -> None:
    answer = client.get(reverse("labeling:images_limits", args=[sky.slug]), {"plane": "first"} | asked)
    assert words in answer.content.decode()
    assert "HX-Trigger-After-Swap" not in answer
