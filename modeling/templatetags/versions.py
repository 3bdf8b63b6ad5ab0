"""Format differences between versions for pages."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def points(value: float) -> str:
    """Format a difference in percentage points: +1.7 points, −0.3 points, ±0.0 points."""
    number = f"{abs(value):.1f}"
    sign = "±" if number == "0.0" else "+" if value > 0 else "−"
    return f"{sign}{number} points"


@register.filter
def percents(share: float | None) -> str:
    """Format a share with one decimal: 0.8667 as 86.7 %. An unknown share is empty."""
    return "" if share is None else f"{100 * share:.1f} %"
