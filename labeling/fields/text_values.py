"""Store the distinct values of a text column, sorted, and read them from disk one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray


class Vocabulary(Sequence[str]):
    """The different values of a column, by code 0, 1, 2 …, sorted by their code points.

    They lie one behind the other as UTF-8 in ``text`` (uint8), each from its offset in ``starts`` (int64, one more than
    there are values) to the next. Only those that somebody asks for are turned into strings, and one is found among a
    million by twenty comparisons.
    """

    def __init__(self, text: NDArray[np.uint8], starts: NDArray[np.int64]) -> None:
        self._text, self._starts = text, starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, code: int) -> str: ...
    @overload
    def __getitem__(self, code: slice) -> list[str]: ...
    def __getitem__(self, code: int | slice) -> str | list[str]:
        if isinstance(code, slice):
            return [self[one] for one in range(*code.indices(len(self)))]
        if not 0 <= code < len(self):
            raise IndexError(code)
        return self._encoded(code).decode()

    def code_of(self, word: str) -> int:
        """Return the code of a value; -1 if no item has it. O(log n)."""
        wanted = word.encode("utf-8", "surrogatepass")
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            # UTF-8 sorts as its code points do.
            if self._encoded(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._encoded(low) == wanted else -1

    def _encoded(self, code: int) -> bytes:
        return self._text[self._starts[code] : self._starts[code + 1]].tobytes()


NO_WORDS = Vocabulary(np.empty(0, np.uint8), np.zeros(1, np.int64))


def packed(words: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return ``text`` and ``starts`` of a :class:`Vocabulary` for distinct, sorted ``words``."""
    encoded = [word.encode() for word in words]
    starts = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(one) for one in encoded], out=starts[1:])
    return np.frombuffer(b"".join(encoded), np.uint8), starts
