"""Small pictures of images, made once and kept in a folder under the hash of the original and the rendering."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

from PIL import Image

from labeling.images.opening import open_image
from labeling.images.rendering import DEFAULT, Rendering

# The sides in pixels that pages may ask for; a picture is never larger than its original.
THUMBNAIL_SIZES = (256, 512)
# The full view of what browsers cannot show themselves; they give up on much larger pictures.
FULL_SIZE = 8192

CONTENT_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}
# Up to this side every pixel is kept as it is: such images are looked at enlarged.
_EXACT_SIDE = 64
# A full view up to this many pixels is kept exact as well; beyond, PNG takes seconds.
_EXACT_PIXELS = 4_000_000


def thumbnail(
    file: str | os.PathLike[str], sha256: str, size: int, folder: Path, rendering: Rendering = DEFAULT
) -> Path:
    """The picture of ``file`` with its longer side at most ``size`` pixels, from ``folder`` or made now.

    Any number of threads and processes may ask for the same one at once. Raises ImageProblem.
    """
    made = cached(sha256, size, folder, rendering)
    if made is not None:
        return made
    content, suffix = render(file, size, rendering)
    target = _place(sha256, size, folder, suffix, rendering)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        Path(temporary).replace(target)
    except PermissionError:
        # Windows does not replace a file that someone reads; then another request made the same one.
        if not target.exists():
            raise
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target


def cached(sha256: str, size: int, folder: Path, rendering: Rendering = DEFAULT) -> Path | None:
    """The picture, if it was made before."""
    for suffix in CONTENT_TYPES:
        place = _place(sha256, size, folder, suffix, rendering)
        if place.exists():
            return place
    return None


def render(file: str | os.PathLike[str], size: int, rendering: Rendering = DEFAULT) -> tuple[bytes, str]:
    """The bytes of the picture and its suffix, ``.png`` or ``.jpg``. Raises ImageProblem."""
    image = open_image(file, max_side=size, rendering=rendering)
    buffer = io.BytesIO()
    if _is_kept_exact(image, size):
        image.save(buffer, "PNG", compress_level=1 if size == FULL_SIZE else 6)
        return buffer.getvalue(), ".png"
    if size == FULL_SIZE:
        image.save(buffer, "JPEG", quality=92, subsampling=0)
    else:
        image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue(), ".jpg"


def _is_kept_exact(image: Image.Image, size: int) -> bool:
    if size == FULL_SIZE:
        return image.width * image.height <= _EXACT_PIXELS
    return max(image.size) <= _EXACT_SIDE


def _place(sha256: str, size: int, folder: Path, suffix: str, rendering: Rendering) -> Path:
    way = f"-{rendering.key}" if rendering.key else ""
    return folder / sha256[:2] / f"{sha256}-{size}{way}{suffix}"
