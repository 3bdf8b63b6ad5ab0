"""Test TIFF files of more than 200 megapixels with the compressions of scanners, with and without imagecodecs.

Each file repeats one piece many times. A separate process opens it, and its memory is measured.
"""

import importlib.util
import io
import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from labeling.images.problems import MAX_PIXELS
from tests.parts import missing
from tests.processes import run_python

SIDE, TILE, ROWS = 14336, 1024, 64
# A process that opens no file needs about 70 MB. The whole image would need 590 MB.
MOST_MEGABYTES = 160

OPEN = """
import json, sys
from pathlib import Path
if sys.argv[2] == "without":
    sys.modules["imagecodecs"] = None
from labeling.images.open_image import open_image
from labeling.images.problems import ImageProblem
try:
    image = open_image(sys.argv[1], max_side=256)
    told = {"size": image.size, "row": [image.getpixel((x, 20)) for x in range(0, 256, 16)]}
except ImageProblem as problem:
    told = {"reason": problem.reason}
(peak,) = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(json.dumps(told | {"megabytes": int(peak) / 1024}))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the most memory of one process")


def report_of(file: Path, imagecodecs: str) -> dict[str, Any]:
    if imagecodecs == "with" and importlib.util.find_spec("imagecodecs") is None:
        missing("no imagecodecs in this environment")
    result: dict[str, Any] = json.loads(run_python("-c", OPEN, file, imagecodecs).stdout)
    assert result["megabytes"] < MOST_MEGABYTES
    return result


def packed(pixels: np.ndarray, how: str) -> bytes:
    """Return one tile or strip as stored in a TIFF file."""
    written = io.BytesIO()
    if how == "zlib":
        return zlib.compress(pixels.tobytes(), 1)
    if how == "jpeg":
        Image.fromarray(pixels).save(written, "JPEG", subsampling=0)
        return written.getvalue()
    Image.fromarray(pixels).save(written, "TIFF", compression="tiff_lzw", tiffinfo={278: len(pixels)})
    written.seek(0)
    with tifffile.TiffFile(written) as file:
        written.seek(file.pages[0].dataoffsets[0])
        return written.read(file.pages[0].databytecounts[0])


def giant(file: Path, how: str, is_tiled: bool) -> None:
    """Write SIDE² pixels whose red increases from left to right in each piece."""
    assert SIDE**2 > MAX_PIXELS
    height, width = (TILE, TILE) if is_tiled else (ROWS, SIDE)
    red = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8), (height, width))
    piece = packed(np.stack([red, np.full_like(red, 100), np.full_like(red, 50)], axis=-1), how)
    write(file, piece, SIDE**2 // (height * width), {"tile": (TILE, TILE)} if is_tiled else {"rowsperstrip": ROWS})
    with tifffile.TiffFile(file, mode="r+b") as tiff:  # tifffile itself needs imagecodecs to write such a file
        tags = tiff.pages[0].tags
        tags["Compression"].overwrite({"zlib": 8, "lzw": 5, "jpeg": 7}[how])
        if how == "jpeg":
            tags["PhotometricInterpretation"].overwrite(6)


def write(file: Path, piece: bytes, n: int, pieces: dict[str, Any]) -> None:
    with tifffile.TiffWriter(file) as writer:
        writer.write(
            (piece for _ in range(n)),
            shape=(SIDE, SIDE, 3), dtype=np.uint8, photometric="rgb", compression="zlib", **pieces,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("is_tiled", [True, False], ids=["tiles", "strips"])
@pytest.mark.parametrize(
    ("how", "imagecodecs"), [("zlib", "without"), ("zlib", "with"), ("lzw", "with"), ("jpeg", "with")]
)
def test_packed_giants_come_reduced_within_the_memory(
    tmp_path: Path, how: str, imagecodecs: str, is_tiled: bool
) -> None:
    giant(tmp_path / "a.tif", how, is_tiled)
    report = report_of(tmp_path / "a.tif", imagecodecs)
    (tmp_path / "a.tif").unlink()
    assert report["size"] == [256, 256]
    red, green, blue = (np.array(channel, float) for channel in zip(*report["row"], strict=True))
    assert abs(green - 100).max() < 4
    assert abs(blue - 50).max() < 4
    period = TILE / SIDE * 256 if is_tiled else 256
    expected = (np.arange(0, 256, 16) + 0.5) % period / period * 255
    inner = (expected > 30) & (expected < 225)  # the edges of tiles are smoothed
    assert inner.sum() > 8
    assert abs(red - expected)[inner].max() < 8


@pytest.mark.slow
@pytest.mark.parametrize("how", ["lzw", "jpeg"])
def test_what_needs_imagecodecs_says_so_at_once(tmp_path: Path, how: str) -> None:
    giant(tmp_path / "a.tif", how, is_tiled=True)
    reason = report_of(tmp_path / "a.tif", "without")["reason"]
    (tmp_path / "a.tif").unlink()
    assert "Python package imagecodecs" in reason
    assert "uv sync --extra tiff" in reason


@pytest.mark.slow
def test_a_giant_that_hardly_packs_is_not_read_at_once(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, TILE * TILE * 3, dtype=np.uint8)
    write(tmp_path / "a.tif", zlib.compress(noise.tobytes(), 0), (SIDE // TILE) ** 2, {"tile": (TILE, TILE)})
    assert (tmp_path / "a.tif").stat().st_size > SIDE**2 * 3
    report = report_of(tmp_path / "a.tif", "without")
    (tmp_path / "a.tif").unlink()
    assert report["size"] == [256, 256]
