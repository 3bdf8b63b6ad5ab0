"""Test FITS headers: cards of the image and of the file, and the position in the sky."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from django.test import Client
from django.urls import reverse

from labeling.images import watched_process
from labeling.images.decoder_pool import Decoders
from labeling.images.file_headers import header_of
from labeling.images.problems import ImageProblem
from labeling.images.rendering import Rendering
from labeling.models import Dataset, Frame
from labeling.views import items
from tests.factories import MakeDataset, assert_contains, text
from tests.labeling.factories import orion_header


def test_the_cards_of_the_image_come_first_then_those_of_the_file(tmp_path: Path) -> None:
    first = fits.PrimaryHDU()
    first.header["OBSERVER"] = ("Hoshina", "who looked")
    image = fits.ImageHDU(np.ones((40, 60), np.float32), header=orion_header())
    fits.HDUList([first, image]).writeto(tmp_path / "a.fits")
    header = header_of(tmp_path / "a.fits")
    numbers = [card.hdu for card in header.cards]
    assert numbers == sorted(numbers, reverse=True)
    (card,) = [card for card in header.cards if card.name == "OBSERVER"]
    assert (card.hdu, card.value, card.comment) == (0, "Hoshina", "who looked")
    assert ("SIMPLE", "true") in {(card.name, card.value) for card in header.cards}


@pytest.mark.parametrize(
    ("kind", "names", "texts"),
    [
        (("RA---TAN", "DEC--TAN"), ("Right ascension", "Declination"), ("5h35m17.30s", "-5d23m28.0s")),
        (("GLON-CAR", "GLAT-CAR"), ("Galactic longitude", "Galactic latitude"), ("83.82210°", "-5.39110°")),
        (("HPLN-TAN", "HPLT-TAN"), ("Helioprojective x", "Helioprojective y"), ("301759.6″", "-19408.0″")),
    ],
)
def test_the_middle_of_the_image_in_the_sky(tmp_path: Path, kind: tuple, names: tuple, texts: tuple) -> None:
    fits.PrimaryHDU(np.ones((40, 60), np.float32), header=orion_header(kind)).writeto(tmp_path / "a.fits")
    sky = header_of(tmp_path / "a.fits").sky
    assert sky == ((names[0], texts[0]), (names[1], texts[1]), ("Scale", "1.8″ a pixel"))


def test_latitude_may_come_first_and_cubes_have_a_place(tmp_path: Path) -> None:
    header = orion_header()
    for name in ("CTYPE", "CRVAL", "CDELT", "CRPIX"):
        header[f"{name}1"], header[f"{name}2"] = header[f"{name}2"], header[f"{name}1"]
    fits.PrimaryHDU(np.ones((3, 60, 40), np.float32), header=header).writeto(tmp_path / "a.fits")
    sky = dict(header_of(tmp_path / "a.fits").sky)
    assert (sky["Right ascension"], sky["Declination"]) == ("5h35m17.30s", "-5d23m28.0s")


def test_no_place_in_the_sky_is_no_trouble(tmp_path: Path) -> None:
    broken = orion_header()
    broken["CTYPE1"], broken["CRVAL1"] = "RA---XYZ", 1e300
    for name, header in (("none", None), ("broken", broken)):
        fits.PrimaryHDU(np.ones((4, 6), np.float32), header=header).writeto(tmp_path / f"{name}.fits")
        assert header_of(tmp_path / f"{name}.fits").sky == ()
        assert header_of(tmp_path / f"{name}.fits").cards


def test_a_damaged_card_costs_only_itself(tmp_path: Path) -> None:
    part = fits.PrimaryHDU(np.ones((4, 6), np.float32))
    part.header["OBSERVER"] = "Hoshina"
    part.writeto(tmp_path / "a.fits")
    content = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(content.replace(b"OBSERVER= 'Hoshina '", b"OBSERVER= 'Hoshina\x01 "))
    cards = {card.name: card for card in header_of(tmp_path / "a.fits").cards}
    assert cards["NAXIS1"].value == "6"
    assert "can't be read" in cards[""].comment


@pytest.mark.django_db
def test_the_fragment_follows_the_dataset_and_says_what_is_wrong(
    client: Client, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    dataset = make_dataset(2)
    dataset.data_dir.mkdir()
    frame = Frame.objects.get(item__row=0)
    parts = [fits.PrimaryHDU(np.ones((4, 6), np.float32)), fits.ImageHDU(np.ones((4, 6), np.float32), name="SECOND<b>")]
    fits.HDUList(parts).writeto(frame.file)
    Frame.objects.filter(pk=frame.pk).update(
        format="FITS", path=frame.path, sha256=hashlib.sha256(frame.file.read_bytes()).hexdigest()
    )
    page = client.get(reverse("labeling:detail", args=[dataset.slug, 0])).content.decode()
    address = reverse("labeling:file_header", args=[frame.pk])
    assert f'hx-get="{address}"' in page
    assert reverse("labeling:file_header", args=[frame.pk + 1]) not in page
    assert client.get(reverse("labeling:file_header", args=[frame.pk + 1])).status_code == 404
    assert "SECOND" not in client.get(address).content.decode()
    Dataset.objects.update(rendering=Rendering(hdu=1).as_params())
    assert_contains(client.get(address), "SECOND&lt;B&gt;", "no usable WCS")
    Dataset.objects.update(rendering=Rendering(hdu=7).as_params())
    assert "has no HDU 7" in client.get(address).content.decode()
    frame.file.unlink()
    assert "no longer exists" in client.get(address).content.decode()


@pytest.mark.django_db
def test_a_header_whose_decoder_fails_is_told(
    client: Client, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(1)
    dataset.data_dir.mkdir()
    Frame.objects.update(format="FITS")
    frame = Frame.objects.get()
    fits.PrimaryHDU(np.ones((4, 6), np.float32), orion_header()).writeto(frame.file)
    strict = Decoders(1, seconds=60, megabytes=1)  # the first check of its memory ends it
    monkeypatch.setattr(items, "decoders", lambda: strict)
    monkeypatch.setattr(watched_process, "_LOOK", 0.01)
    assert "took more than 1 MB" in text(client.get(reverse("labeling:file_header", args=[frame.pk])), 200)


def test_what_is_no_fits_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_bytes(b"SIMPLE  = nothing else")
    with pytest.raises(ImageProblem):
        header_of(tmp_path / "a.fits")
