"""Places in the sky between the nodes of a grid, against astropy's own; values of pixels as they are in the file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from django.test import Client
from django.urls import reverse

from labeling.images.sky_coordinates import SkyGrid, sky_in
from labeling.models import Frame
from tests.factories import new_folder, not_none
from tests.labeling.factories import ingest_folder
from tests.labeling.images.pictures import samples

W, H = 300, 200


def header(
    at: tuple[float, float] = (150.1, 2.2), scale: float = 0.4 / 3600, kind: str = "RA---TAN", **cards: Any
) -> Any:
    """Return a WCS that is turned by 30 degrees."""
    turned = np.array([[-np.cos(0.5), np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]) * scale
    longitude, projection = kind[:4], kind[5:]
    made = fits.Header()
    latitude = {"RA--": "DEC-", "GLON": "GLAT", "HPLN": "HPLT"}[longitude]
    made["CTYPE1"], made["CTYPE2"] = kind, f"{latitude}-{projection}"
    made["CRVAL1"], made["CRVAL2"] = at
    made["CRPIX1"], made["CRPIX2"] = 140.5, 90.0
    for (i, j), value in np.ndenumerate(turned):
        made[f"CD{i + 1}_{j + 1}"] = value
    made.update(cards)
    return made


def sky_with(file: Path, cards: Any = None) -> SkyGrid | None:
    """Return the grid of an image whose header has these cards."""
    fits.PrimaryHDU(np.zeros((H, W), np.float32), header=cards).writeto(file)
    return sky_in(file)


def between(grid: SkyGrid, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return longitude and latitude (m, 2) in degrees at pixel positions from 0, as the page's script does."""
    u, v = (x + 0.5) / W * (grid.n - 1), (y + 0.5) / H * (grid.n - 1)
    i, j = np.minimum(u.astype(int), grid.n - 2), np.minimum(v.astype(int), grid.n - 2)
    u, v = (u - i)[:, None], (v - j)[:, None]
    nodes = grid.vectors
    mixed = (nodes[j, i] * (1 - u) + nodes[j, i + 1] * u) * (1 - v) + (
        nodes[j + 1, i] * (1 - u) + nodes[j + 1, i + 1] * u
    ) * v
    longitude = np.degrees(np.arctan2(mixed[:, 1], mixed[:, 0])) % 360
    return np.stack([longitude, np.degrees(np.arctan2(mixed[:, 2], np.hypot(mixed[:, 0], mixed[:, 1])))], axis=1)


SIP = {
    "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 3e-5, "B_0_2": -2e-5,
    "B_1_1": 4e-5,
}  # fmt: skip


@pytest.mark.parametrize(
    "made",
    [
        header(), header((359.999, -12.0)), header((40.0, 89.99)), header(scale=60 / 3600), header(**SIP),
        header((80.0, -30.0), kind="GLON-CAR"), header((0.0, 0.0), 5 / 3600, kind="HPLN-TAN"),
    ],
    ids=["tan", "over 0h", "at the pole", "wide", "distorted", "galactic", "the Sun"],
)  # fmt: skip
def test_a_place_between_nodes_is_right_to_a_small_part_of_a_pixel(tmp_path: Path, made: Any) -> None:
    grid = not_none(sky_with(tmp_path / "a.fits", made))
    assert grid.error < 0.02
    rng = np.random.default_rng(4)
    x, y = rng.uniform(-0.5, W - 0.5, 400), rng.uniform(-0.5, H - 0.5, 400)
    world = WCS(made)
    back = np.stack(world.all_world2pix(between(grid, x, y), 0).T, axis=1)
    apart = np.hypot(back[:, 0] - x, back[:, 1] - y)
    assert apart.max() < max(0.03, 2 * grid.error)


def test_the_error_of_a_grid_that_cannot_follow_is_told(tmp_path: Path) -> None:
    wild = SIP | {"A_2_0": 3e-3, "A_ORDER": 4, "A_4_0": 2e-7, "A_0_4": -3e-7}
    grid = not_none(sky_with(tmp_path / "a.fits", header(**wild)))
    assert grid.n == 65
    assert grid.error > 0.02


def test_latitude_may_come_first_and_no_sense_has_no_place(tmp_path: Path) -> None:
    swapped = header()
    for name in ("CTYPE", "CRVAL"):
        swapped[f"{name}1"], swapped[f"{name}2"] = swapped[f"{name}2"], swapped[f"{name}1"]
    grid = not_none(sky_with(tmp_path / "a.fits", swapped))
    [(longitude, latitude)] = between(grid, np.array([139.5]), np.array([89.0]))
    assert (longitude, latitude) == pytest.approx((150.1, 2.2), abs=1e-6)
    assert sky_with(tmp_path / "b.fits") is None
    assert sky_with(tmp_path / "c.fits", header(CD1_1=0.0, CD1_2=0.0)) is None
    (tmp_path / "more").mkdir()
    assert sky_in(samples(tmp_path / "more")["png"]) is None


@pytest.mark.django_db
def test_both_are_asked_for_by_address_and_kept_under_a_version(client: Client, store: Path, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "in")
    pixels = np.random.default_rng(2).normal(size=(H, W)).astype(np.float32)
    fits.PrimaryHDU(pixels, header=header()).writeto(folder / "a.fits")
    ingest_folder(folder)
    frame = Frame.objects.get()
    sky, values, scale = (reverse(f"labeling:{name}", args=[frame.pk]) for name in ("sky", "values", "scale"))
    grid = not_none(sky_in(folder / "a.fits"))
    assert client.get(sky).json() == grid.as_params()
    assert client.get(scale).json() == {"size": pytest.approx(0.4), "unit": "arcsec"}
    found = client.get(values, {"v": frame.version(frame.dataset.shown_as)})
    np.testing.assert_array_equal(np.frombuffer(found.content, "<f4").reshape(H, W), np.flipud(pixels))
    assert "immutable" in found["Cache-Control"]
    assert client.get(values)["Cache-Control"] == "no-store"
    Frame.objects.update(width=100_000)
    assert client.get(values).content == b""
    (folder / "a.fits").unlink()
    assert client.get(sky).status_code == 404
    Frame.objects.update(path="../../etc/passwd")
    assert client.get(values).status_code == 404
