"""Delete what nobody needs any more, in every worker, when it starts and every hour.

Apps register their functions when they are loaded. Several workers may run one at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

EVERY_SECONDS = 3600.0

_functions: list[Callable[[], None]] = []
_ran_at = float("-inf")


def register(function: Callable[[], None]) -> None:
    """Have workers call ``function`` every hour."""
    if function not in _functions:
        _functions.append(function)


def run_if_due() -> bool:
    """Call all registered functions if that is an hour ago in this process. Return whether they ran.

    A function that fails is logged, and called again an hour later: the thread that calls it has more important work.
    """
    global _ran_at
    if time.monotonic() - _ran_at < EVERY_SECONDS:
        return False
    _ran_at = time.monotonic()
    for function in _functions:
        try:
            function()
        except Exception:
            log.exception("%s failed, and is called again in an hour.", function.__qualname__)
    return True
