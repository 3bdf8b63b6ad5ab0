"""Delete what nobody needs any more, in every worker, when it starts and every hour.

Apps register their functions when they are loaded. Several workers may run one at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY_SECONDS = 3600.0

_functions: list[Callable[[], None]] = []
_ran_at = float("-inf")


def register(function: Callable[[], None]) -> None:
    """Have workers call ``function`` every hour."""
    if function not in _functions:
        _functions.append(function)


def run_if_due() -> bool:
    """Call all registered functions if that is an hour ago in this process. Return whether they ran."""
    global _ran_at
    if time.monotonic() - _ran_at < EVERY_SECONDS:
        return False
    for function in _functions:
        function()
    _ran_at = time.monotonic()
    return True
