"""Format numbers with their nouns."""

from __future__ import annotations


def counted(n: int, singular: str, plural: str = "") -> str:
    """Return ``1 image``, ``0 images``, ``1,234 images``; ``plural`` defaults to the singular plus s."""
    return f"{n:,} {singular if n == 1 else plural or f'{singular}s'}"
