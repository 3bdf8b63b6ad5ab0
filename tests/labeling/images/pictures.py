"""Write small image files of all supported formats, for tests and benchmarks."""

import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pydicom
import tifffile
from astropy.io import fits
from PIL import Image


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_file(width: int, height: int, body: bytes, *more: bytes, bits: int = 8, kind: int = 2) -> bytes:
    """Return a PNG of a declared size, with compressed pixels and more chunks before them."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join([header, *more, png_chunk(b"IDAT", body), png_chunk(b"IEND", b"")])


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8))


def oriented(turn: int) -> Image.Exif:
    """Return an EXIF block with an orientation."""
    block = Image.Exif()
    block[0x0112] = turn
    return block


def png16(pixels: np.ndarray) -> bytes:
    """Return a PNG with 16 bits per channel, (h, w, 2 to 4), cycling through all filters, which Pillow can't write."""
    height, width, channels = pixels.shape
    raw = pixels.astype(">u2").view(np.uint8).reshape(height, -1).astype(int)
    step = 2 * channels
    rows = []
    for y, row in enumerate(raw):
        above = raw[y - 1] if y else np.zeros_like(row)
        left = np.concatenate([np.zeros(step, int), row[:-step]])
        corner = np.concatenate([np.zeros(step, int), above[:-step]])
        guess = left + above - corner
        paeth = np.where(
            (abs(guess - left) <= abs(guess - above)) & (abs(guess - left) <= abs(guess - corner)),
            left,
            np.where(abs(guess - above) <= abs(guess - corner), above, corner),
        )
        predicted = [np.zeros_like(row), left, above, (left + above) // 2, paeth][y % 5]
        rows.append(bytes([y % 5]) + ((row - predicted) % 256).astype(np.uint8).tobytes())
    kind = {2: 4, 3: 2, 4: 6}[channels]
    return png_file(width, height, zlib.compress(b"".join(rows)), bits=16, kind=kind)


def scan(pixels: np.ndarray, **elements: Any) -> bytes:
    """Return a DICOM file of signed 16-bit gray."""
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.PixelData = pixels.astype("<i2").tobytes()
    for name, value in elements.items():
        setattr(data, name, value)
    written = io.BytesIO()
    data.save_as(written, enforce_file_format=True)
    return written.getvalue()


def samples(folder: Path) -> dict[str, Path]:
    """Write a file of every format, small enough for an exact thumbnail."""
    pillow_heif.register_heif_opener()
    rng = np.random.default_rng(5)
    deep = rng.integers(0, 4000, (40, 60)).astype(np.uint16)
    image = Image.fromarray(rng.integers(0, 255, (40, 60, 4), dtype=np.uint8))
    files = {}
    for suffix in ("jpg", "png", "tif", "webp", "bmp", "gif", "avif", "heic"):
        files[suffix] = folder / f"plain.{suffix}"
        (image.convert("RGB") if suffix in {"jpg", "bmp", "gif"} else image).save(files[suffix])
    for kind, packed in (("lzw", "tiff_lzw"), ("jpeg", "jpeg")):
        files[f"{kind}.tif"] = folder / f"{kind}.tif"
        image.convert("RGB").save(files[f"{kind}.tif"], compression=packed)
    names = (
        "deep.png", "rgb.png", "deep.tif", "packed.tif", "big.tif", "bands.tif",
        "a.fits", "rice.fits", "a.fits.gz", "a.dcm",
    )  # fmt: skip
    files |= {name: folder / name for name in names}
    Image.fromarray(deep).save(files["deep.png"])
    files["rgb.png"].write_bytes(png16(np.stack([deep, deep.T.reshape(40, 60), deep], axis=-1)))
    tifffile.imwrite(files["packed.tif"], deep, compression="zlib", predictor=True, tile=(16, 16))
    tifffile.imwrite(files["big.tif"], deep, compression="zlib", tile=(16, 32), bigtiff=True)
    tifffile.imwrite(files["deep.tif"], np.stack([deep, deep + 99]))
    tifffile.imwrite(
        files["bands.tif"], rng.normal(500, 99, (4, 40, 60)), planarconfig="separate", photometric="minisblack"
    )
    fits.PrimaryHDU(np.stack([deep, deep + 99])).writeto(files["a.fits"])
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(deep)]).writeto(files["rice.fits"])
    files["a.fits.gz"].write_bytes(gzip.compress(files["a.fits"].read_bytes()))
    files["a.dcm"].write_bytes(scan(deep))
    return files
