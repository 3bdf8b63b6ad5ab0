"""What a process remembers of what it made last, for many threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """The ``most`` things that were used last, by a key that names all that they were made from."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: OrderedDict[tuple[object, ...], T] = OrderedDict()
        self._lock = threading.Lock()

    def once(self, key: tuple[object, ...], made: Callable[[], T]) -> T:
        """The thing of that key; made now if it isn't there. Two threads may both make it, which does no harm."""
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
                return self._things[key]
        thing = made()
        with self._lock:
            self._things[key] = thing
            while len(self._things) > self._most:
                self._things.popitem(last=False)
        return thing

    def forget(self) -> None:
        """Drop everything (tests, whose records have the same numbers)."""
        with self._lock:
            self._things.clear()
