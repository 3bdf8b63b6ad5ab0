"""Return memory that is no longer used to the system."""

from __future__ import annotations

import ctypes
import gc
import sys


def trim() -> None:
    """Collect unreachable objects, and return free memory to the system where the C library keeps it (glibc)."""
    gc.collect()
    if sys.platform == "linux":
        trim_heap = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none, and keeps little
        if trim_heap is not None:
            trim_heap(0)
