"""The full view is the file itself only where browsers surely show it as tile and model input do."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from PIL import Image, ImageCms

from labeling.images.browser_formats import format_for_browsers
from labeling.images.encoder_inputs import squash
from labeling.images.open_image import open_for_resizing
from labeling.images.rendering import Rendering
from labeling.models import Frame
from tests.factories import new_folder
from tests.labeling.factories import content_of, full_url, ingest_folder, swapped_profile, thumbnail_url
from tests.labeling.images.pictures import oriented, png_chunk
from tests.labeling.images.quadrants import COLORS, corners, quadrants

PICTURE = Image.fromarray(quadrants(COLORS).astype(np.uint8))
XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>"""
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def saved(suffix: str, image: Image.Image = PICTURE, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, suffix, **how)
    return buffer.getvalue()


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG with these chunks before the pixels."""
    whole = saved("PNG")
    at = whole.index(b"IDAT") - 4
    return whole[:at] + b"".join(png_chunk(*chunk) for chunk in chunks) + whole[at:]


def chromaticities(*values: int) -> bytes:
    return struct.pack(">8I", *values)


GAMMA = struct.pack(">I", 45455)
USUAL = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
# What is converted, and why.
CONVERTED: dict[str, Callable[[], bytes]] = {
    "xmp.jpg": lambda: saved("JPEG", xmp=XMP),
    "gama.png": lambda: png((b"gAMA", struct.pack(">I", 100_000))),
    "chrm.png": lambda: png((b"cHRM", chromaticities(31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600))),
    "cicp.png": lambda: png((b"cICP", bytes([9, 16, 0, 1]))),
    "srgb and gama.png": lambda: png((b"sRGB", b"\x00"), (b"gAMA", struct.pack(">I", 100_000))),
    "turned.png": lambda: saved("PNG", exif=oriented(6)),
    "xmp.webp": lambda: saved("WEBP", xmp=XMP, lossless=True),
    "profile.jpg": lambda: saved("JPEG", icc_profile=swapped_profile()),
    "profile.png": lambda: saved("PNG", icc_profile=swapped_profile()),
    "profile.webp": lambda: saved("WEBP", icc_profile=swapped_profile(), lossless=True),
    "says srgb.png": lambda: saved("PNG", icc_profile=called_srgb()),
    "broken profile.jpg": lambda: saved("JPEG", icc_profile=b"no profile at all"),
    "cmyk.jpg": lambda: saved("JPEG", PICTURE.convert("CMYK")),
    "gray profile.jpg": lambda: saved("JPEG", PICTURE.convert("L"), icc_profile=SRGB),
    "deep.png": lambda: saved("PNG", Image.fromarray(np.arange(64 * 96).reshape(64, 96).astype(np.uint16))),
    "clear.png": lambda: saved("PNG", PICTURE.convert("RGBA")),
    "no end.jpg": lambda: saved("JPEG")[:-2],
    "no end.png": lambda: saved("PNG")[:-12],
    "masks.bmp": lambda: saved("BMP", PICTURE.convert("RGBA")),
    "small frame.gif": lambda: small_frame(),
    "a.jp2": lambda: saved("JPEG2000"),
}  # fmt: skip
SENT: dict[str, Callable[[], bytes]] = {
    "a.jpg": lambda: saved("JPEG", quality=90),
    "progressive.jpg": lambda: saved("JPEG", progressive=True),
    "turned.jpg": lambda: saved("JPEG", exif=oriented(6)),
    "exif against xmp.jpg": lambda: saved("JPEG", xmp=XMP, exif=oriented(1)),
    "with a tail.jpg": lambda: saved("JPEG") + b"what a camera adds",
    "srgb.jpg": lambda: saved("JPEG", icc_profile=SRGB),
    "gray.jpg": lambda: saved("JPEG", PICTURE.convert("L")),
    "a.png": lambda: saved("PNG"),
    "as usual.png": lambda: png((b"sRGB", b"\x00"), (b"gAMA", GAMMA), (b"cHRM", chromaticities(*USUAL))),
    "palette.png": lambda: saved("PNG", PICTURE.quantize(4)),
    "a.webp": lambda: saved("WEBP", lossless=True),
    "a.bmp": lambda: saved("BMP"),
    "a.gif": lambda: saved("GIF", PICTURE.quantize(4)),
}  # fmt: skip


def called_srgb() -> bytes:
    """Return a profile that has the name of sRGB, and other colors."""
    return swapped_profile().replace("Odd!".encode("utf-16-be"), "sRGB".encode("utf-16-be"))


def small_frame() -> bytes:
    """Return a GIF whose picture fills a part of its screen."""
    whole = bytearray(saved("GIF", PICTURE.quantize(4)))
    whole[6:10] = struct.pack("<HH", 120, 80)
    return bytes(whole)


@pytest.mark.parametrize("name", CONVERTED)
def test_what_browsers_show_otherwise_is_not_sent(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CONVERTED[name]())
    assert format_for_browsers(tmp_path / name) == ""


@pytest.mark.parametrize("name", SENT)
def test_what_browsers_show_alike_is_sent_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(SENT[name]())
    assert format_for_browsers(tmp_path / name) == name.rsplit(".")[-1].upper().replace("JPG", "JPEG")
    assert format_for_browsers(tmp_path / name, Rendering(is_inverted=True)) == ""


@pytest.mark.django_db
def test_tile_full_view_and_model_input_show_the_same(client: Client, store: Path, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "in")
    for name, made in (CONVERTED | SENT).items():
        (folder / name).write_bytes(made())
    ingest_folder(folder)
    frames = list(Frame.objects.order_by("path"))
    assert [frame.path for frame in frames] == sorted(CONVERTED | SENT)
    for frame in frames:
        tile, whole = (Image.open(io.BytesIO(content_of(client.get(url(frame))))) for url in (thumbnail_url, full_url))
        whole = whole.convert("RGB") if frame.path in CONVERTED else browser_shows(whole)
        model = squash(open_for_resizing(frame.file, 256), 64)
        assert tile.size == whole.size == (frame.width, frame.height), frame.path
        seen = [corners(np.asarray(image.convert("RGB").resize((64, 64)))) for image in (tile, whole)]
        assert abs(seen[0] - seen[1]).max() <= 8, (frame.path, seen)
        assert abs(seen[0] - corners(model)).max() <= 8, frame.path


def browser_shows(image: Image.Image) -> Image.Image:
    """Return a file that is sent as it is, as a browser shows it: upright by its EXIF block."""
    turn = image.getexif().get(0x0112, 1)
    return image.convert("RGB").transpose(Image.Transpose.ROTATE_270) if turn == 6 else image.convert("RGB")
