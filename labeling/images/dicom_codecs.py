"""Register imagecodecs (an optional package) with pydicom: JPEG Lossless, JPEG-LS, JPEG 2000 and 12-bit JPEG."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

from labeling.images.problems import ImageProblem

_JPEG_12 = "1.2.840.10008.1.2.4.51"
_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203))
_ALL = (_JPEG_12, *_LOSSLESS, *_JPEG_LS, *_JPEG_2000)

# Required of decoder modules by pydicom: the dependencies of each codec, and ``is_available``.
DECODER_DEPENDENCIES = dict.fromkeys(_ALL, ("imagecodecs>=2025.3.30",))


def is_available(uid: str) -> bool:
    """Return whether frames with this transfer syntax can be decoded here."""
    return uid in _ALL and find_spec("imagecodecs") is not None


def decode_frame(source: bytes, runner: Any) -> bytes:
    """Decode one frame. Called by pydicom, whose ``runner`` describes the image and is given the decoded layout."""
    import imagecodecs

    uid = str(runner.transfer_syntax)
    if uid in _LOSSLESS:
        pixels = _lossless(source)
    elif uid in _JPEG_LS:
        pixels = imagecodecs.jpegls_decode(source)
    elif uid in _JPEG_2000:
        pixels = imagecodecs.jpeg2k_decode(source)
    else:
        pixels = imagecodecs.jpeg8_decode(source)
    runner.set_option("bits_allocated", pixels.dtype.itemsize * 8)
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
        if str(runner.photometric_interpretation) in {"YBR_ICT", "YBR_RCT"}:
            runner.set_option("photometric_interpretation", "RGB")
    return bytes(pixels.tobytes())


def _lossless(source: bytes) -> Any:
    """Decode with the faster decoder, or with the slower one, which supports more variants."""
    import imagecodecs

    try:
        return imagecodecs.ljpeg_decode(source)
    except RuntimeError:
        return imagecodecs.jpegsof3_decode(source)


def require(data: Any) -> None:
    """Raise ImageProblem, naming the package to install, if the image cannot be decoded."""
    from pydicom.pixels import get_decoder

    uid = getattr(getattr(data, "file_meta", None), "TransferSyntaxUID", None)
    if uid is None or not uid.is_compressed or not uid.is_encapsulated:
        return
    _register()
    try:
        is_supported = get_decoder(uid).is_available
    except NotImplementedError:  # pydicom's answer for a compression that it does not know
        is_supported = False
    if is_supported:
        return
    if str(uid) in _ALL:
        raise ImageProblem(
            f"The DICOM image is compressed as {uid.name}. To show it, install the Python package imagecodecs "
            "(in HOSHINA: uv sync --extra dicom)."
        )
    raise ImageProblem(
        f"The DICOM image is compressed as {uid.name}, which HOSHINA cannot read. Convert it, "
        "for example to JPEG 2000 or without compression."
    )


@cache
def _register() -> None:
    """Register these codecs with pydicom, once."""
    from pydicom.pixels import get_decoder

    for uid in _ALL:
        if is_available(uid):
            get_decoder(uid).add_plugin("hoshina", (__name__, "decode_frame"))
