"""Numbers with their nouns."""

from __future__ import annotations


def counted(n: int, one: str, many: str = "") -> str:
    """Return ``1 image``, ``0 images``, ``1,234 images``; ``many`` is the plural where it is not ``one`` with an s."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"
