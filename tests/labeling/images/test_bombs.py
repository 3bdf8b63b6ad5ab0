"""Test that decompression bombs cost only a decoder, and a full disk only a cached picture."""

import io
import signal
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image

from labeling.images.decoder_pool import Decoders
from labeling.images.file_check import Examined
from labeling.images.problems import ImageProblem
from labeling.images.rendering import DEFAULT
from tests.labeling.images.pictures import noise, png_chunk, png_file
from tests.processes import run_python

pytestmark = pytest.mark.usefixtures("store")

MOST_MEGABYTES = 250
UNPACKED = 800  # megabytes of zeros


def zeros(wbits: int = 15) -> bytes:
    packer = zlib.compressobj(9, wbits=wbits)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(UNPACKED)) + packer.flush()


def png_text() -> bytes:
    return png_file(60, 40, zlib.compress(bytes(40 * 181)), png_chunk(b"zTXt", b"a\0\0" + zeros()))


def tiff_bands() -> bytes:
    """Return a TIFF with many bands, whose strips tifffile decompresses as a whole."""
    written = io.BytesIO()
    with tifffile.TiffWriter(written) as writer:
        writer.write(
            iter([zeros()] * 5), shape=(5, 40, 60), dtype=np.float64, compression="zlib", planarconfig="separate",
            photometric="minisblack", rowsperstrip=40,
        )  # fmt: skip
    return written.getvalue()


def tiff_strip() -> bytes:
    written = io.BytesIO()
    with tifffile.TiffWriter(written) as writer:
        writer.write(iter([zeros()]), shape=(40, 60), dtype=np.uint8, compression="zlib", rowsperstrip=40)
    return written.getvalue()


def fits_tile() -> bytes:
    """Return a compressed FITS image whose only tile decompresses to far more than the image."""
    plain = io.BytesIO()
    image = fits.CompImageHDU(np.zeros((40, 60), np.int16), compression_type="GZIP_1", tile_shape=(40, 60))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(plain)
    with fits.open(io.BytesIO(plain.getvalue()), disable_image_compression=True) as parts:
        cards = {name: value for name, value in parts[1].header.items() if name.startswith("Z")}
    tile = np.array([np.frombuffer(zeros(wbits=31), np.uint8)], dtype=object)
    table = fits.BinTableHDU.from_columns([fits.Column("COMPRESSED_DATA", "1PB()", array=tile)])
    table.header.update(cards)
    written = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(written)
    return written.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: png_file(60_000, 60_000, zeros()), "3,600 megapixels"),
        (lambda: png_file(60, 40, zeros()), None),  # the image is complete, and data after it is not decompressed
        (png_text, "damaged"),
        (tiff_strip, None),
        # The optional package stops when a band is full.
        (tiff_bands, "damaged" if find_spec("imagecodecs") else "more than 250 MB of memory"),
        (fits_tile, "more than 250 MB of memory"),
    ],
)
def test_a_bomb_is_refused_or_costs_a_decoder_and_never_those_behind_it(
    tmp_path: Path, content: Callable[[], bytes], message: str | None
) -> None:
    bomb, good = tmp_path / "bomb", tmp_path / "good.png"
    bomb.write_bytes(content())
    assert bomb.stat().st_size < 8 * 2**20
    Image.new("RGB", (60, 40)).save(good)
    strict = Decoders(1, seconds=60, megabytes=MOST_MEGABYTES)
    try:
        results = list(strict.examined([bomb, good], DEFAULT))
    finally:
        strict.end()
    if message is None:
        assert isinstance(results[0], Examined)
    else:
        assert isinstance(results[0], ImageProblem)
        assert message in results[0].reason
    assert isinstance(results[1], Examined)


# -- A full disk ------------------------------------------------------------------------------------
FULL = """
import errno, resource, signal, sys
from pathlib import Path
import django
django.setup()
from labeling.images.decoder_pool import decoders, pictures
from labeling.images.rendering import DEFAULT
file = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    decoders().thumbnail(file, "ab" * 32, 512, pictures(), DEFAULT)
except OSError as error:
    print(error.errno in (errno.EFBIG, errno.ENOSPC), end=" ")
from labeling.images.file_check import Keep
(known,) = decoders().examined([file], DEFAULT, Keep(pictures()))
print(known.width, [one.name for one in pictures().folder.rglob("*") if one.suffix in {".part", ".jpg"}])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="only Unix limits the size of files")
def test_where_no_picture_can_be_written_none_is_left_in_half_and_the_file_is_known_all_the_same(
    tmp_path: Path,
) -> None:
    """Limit the size of files, which interrupts writes like a full disk."""
    noise(900, 900).save(tmp_path / "a.png")
    process = run_python("-c", FULL, tmp_path / "a.png", store=tmp_path / "s")
    assert process.stdout.split() == ["True", "900", "[]"]
