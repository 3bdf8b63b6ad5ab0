"""Sign the URLs of thumbnails for one session, so that the web server answers them without Django and the database.

A signed URL names the picture (the hash of its content and rendering) and ends in ``k``: that hash and a keyed hash of
the URL and the session. Whoever has the URL but not the session's cookie is asked to sign in as without it.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings

from labeling.display.item_frames import ItemFrames
from labeling.display.picture_urls import color_thumb_url, thumb_url
from labeling.models import Dataset, Frame

_HASH_BYTES, _MAC_BYTES = 32, 16
_END = "&k="


@dataclass(frozen=True)
class SignedThumbs:
    """Build the URLs of a dataset's thumbnails for one session."""

    dataset: Dataset
    session_key: str

    def of_frame(self, frame: Frame) -> str:
        """Return the URL of the frame's thumbnail."""
        return _signed(thumb_url(frame, self.dataset), frame.picture_hash, self.session_key)

    def of_colors(self, item: ItemFrames) -> str:
        """Return the URL of the thumbnail of the item's color image."""
        return _signed(color_thumb_url(item), item.colour_hash, self.session_key)


def picture_of(url: str, session_key: str) -> tuple[str, str] | None:
    """Return the hash of the picture that a URL names, and the key of its rendering.

    None if the URL was not signed for this session, also if its signature is written in another way.
    """
    address, _, signature = url.rpartition(_END)
    try:
        content = urlsafe_b64decode(signature)
    except (Error, ValueError):
        return None
    picture, mac = content[:_HASH_BYTES], content[_HASH_BYTES:]
    is_valid = session_key and hmac.compare_digest(mac, _mac(address, picture, session_key))
    if not is_valid or urlsafe_b64encode(content).decode() != signature:
        return None
    # The version ends the address: "0123456789ab", or "0123456789ab-key" (labeling.models.Frame.version).
    return picture.hex(), address.rpartition("v=")[2].partition("-")[2]


def _signed(address: str, picture_hash: str, session_key: str) -> str:
    picture = bytes.fromhex(picture_hash)
    signature = urlsafe_b64encode(picture + _mac(address, picture, session_key)).decode()
    return f"{address}{_END}{signature}"


def _mac(address: str, picture: bytes, session_key: str) -> bytes:
    content = b"\n".join((session_key.encode(), address.encode(), picture))
    return hashlib.blake2b(content, key=_key(settings.SECRET_KEY), digest_size=_MAC_BYTES).digest()


@lru_cache(maxsize=2)
def _key(secret: str) -> bytes:
    return hashlib.blake2b(secret.encode(), person=b"hoshina.thumbs").digest()
