"""Limit how often one token or session requests the API, in each web process."""

from __future__ import annotations

import threading
import time
from math import ceil

from cachetools import LRUCache
from django.conf import settings

_MINUTE = 60.0
# By client: how many requests are left, and when that was so.
_left: LRUCache[str, tuple[float, float]] = LRUCache(10_000)
_lock = threading.Lock()


def seconds_to_wait(client: str) -> int:
    """Count a request of ``client``. Return 0 if it is within the limit, else the seconds until the next one is.

    A client may send the requests of a minute at once; they come back evenly.
    """
    rate = settings.API_RATE
    if not rate:
        return 0
    now = time.monotonic()
    with _lock:
        left, then = _left.get(client, (float(rate), now))
        left = min(float(rate), left + (now - then) * rate / _MINUTE)
        is_within = left >= 1
        _left[client] = (left - is_within, now)
    return 0 if is_within else max(1, ceil((1 - left) * _MINUTE / rate))


def forget() -> None:
    """Forget all requests, for tests."""
    with _lock:
        _left.clear()
