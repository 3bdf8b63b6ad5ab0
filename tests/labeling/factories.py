"""Folders, files and items that tests of labeling share."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from django.http import HttpResponseBase
from PIL import Image, ImageCms

from hoshina.jobs.errors import Cancelled
from labeling.images.decoder_pool import decoders
from labeling.ingest.dataset_folder import dataset_for
from labeling.ingest.scan import ingest
from labeling.models import Frame, Item, LabelClass, State

BANDS = ("g", "r", "i")


def write_bands(folder: Path, **sizes: tuple[int, int]) -> tuple[dict[str, Path], dict[str, np.ndarray[Any, Any]]]:
    """Write FITS files of three bands, 30 by 20 pixels if nothing else is asked for, and what is in them."""
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    files, values = {}, {}
    for role in BANDS:
        values[role] = rng.normal(100, 20, sizes.get(role, (20, 30))).astype(np.float32)
        files[role] = folder / f"m31_{role}.fits"
        fits.PrimaryHDU(values[role]).writeto(files[role], overwrite=True)
    return files, values


def orion_header(kind: tuple[str, str] = ("RA---TAN", "DEC--TAN")) -> fits.Header:
    """Return a WCS whose middle, of 60 x 40 pixels, is the Trapezium."""
    world = WCS(naxis=2)
    world.wcs.ctype, world.wcs.crval, world.wcs.crpix = kind, [83.8221, -5.3911], [30.5, 20.5]
    world.wcs.cdelt = [-0.0005, 0.0005]
    return world.to_header()


def swapped_profile() -> bytes:
    """Return an sRGB profile in which red and blue have changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile = profile.replace(b"rXYZ", b"!!!!").replace(b"bXYZ", b"rXYZ").replace(b"!!!!", b"bXYZ")
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "Odd!".encode("utf-16-be"))


def forbid_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when an ingest opens a file."""

    def never(paths: list[Path], *_: object) -> list[Path]:
        assert not paths, f"{paths} were opened"
        return paths

    monkeypatch.setattr(decoders(), "examined", never)


def files_by_item() -> dict[str, dict[str, str]]:
    """Return the files of each item that is there, by role."""
    found: dict[str, dict[str, str]] = {path: {} for path in available_paths()}
    for item, role, path in Frame.objects.filter(item__is_available=True).values_list("item__path", "role", "path"):
        found[item][role] = path
    return found


def available_paths() -> list[str]:
    return list(Item.objects.filter(is_available=True).order_by("path").values_list("path", flat=True))


def label_item(path: str) -> LabelClass:
    """Return a class of its own for one item, called after its path."""
    item = Item.objects.get(path=path)
    given = LabelClass.objects.create(dataset=item.dataset, name=f"was {path}", colour="#0072B2")
    Item.objects.filter(pk=item.pk).update(state=State.LABELLED, label=given)
    return given


def labels_by_path() -> dict[str, str]:
    labelled = Item.objects.filter(is_available=True, label__isnull=False)
    return dict(labelled.values_list("path", "label__name"))


class Steps:
    """Stands for a job's run: notes the stages and stops after ``limit`` steps."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.stages: list[str] = []
        self.seen: list[tuple[int, int | None]] = []

    def stage(self, name: str, total: int = 0) -> None:
        self.stages.append(name)

    def check(self) -> None:
        """Do nothing: no one cancels it."""

    def progress(self, done: int, total: int | None = None) -> None:
        self.seen.append((done, total))
        if self.limit is not None and len(self.seen) > self.limit:
            raise Cancelled


def ingest_folder(folder: Path, name: str | None = None, **kwargs: Any) -> dict[str, Any]:
    return ingest(dataset_for(folder, name), Steps(), **kwargs)  # type: ignore[arg-type]


def ingested_folder(folder: Path, *labeled: str) -> Path:
    """Ingest a folder and label some of its items; return the folder."""
    ingest_folder(folder)
    for path in labeled:
        label_item(path)
    return folder


def counts_of(result: dict[str, Any]) -> dict[str, int]:
    wanted = ("items", "new", "changed", "moved", "unchanged", "returned", "missing", "n_failed")
    return {key: result[key] for key in wanted if result[key]}


def write_png(file: Path, *, seed: int = 0, size: int = 12) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def thumbnail_url(frame: Frame, size: int = 256, *, v: str = "") -> str:
    address = f"/api/thumb/{frame.item_id}"
    query = [size != 256 and f"size={size}", v and f"v={v}"]
    return f"{address}?{'&'.join(filter(None, query))}"


def full_url(frame: Frame) -> str:
    return f"/api/file/{frame.item_id}"


def content_of(response: HttpResponseBase) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content  # type: ignore
