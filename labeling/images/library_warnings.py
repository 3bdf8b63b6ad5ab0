"""Libraries that warn of files which break a rule and can be read all the same."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Silencing warnings is not safe in two threads at once.
_one_at_a_time = threading.RLock()


@contextmanager
def silenced() -> Iterator[None]:
    """Without warnings, one thread at a time."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
