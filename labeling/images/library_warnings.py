"""Suppress the warnings of libraries about nonstandard files that they can read."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# warnings.catch_warnings is not safe in several threads.
_one_at_a_time = threading.RLock()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Suppress all warnings. Runs in one thread at a time."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
