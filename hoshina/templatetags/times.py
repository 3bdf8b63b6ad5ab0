"""Moments as a page shows them."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def moment(value: datetime | None) -> SafeString | str:
    """``24 Nov 2026, 21:31 UTC``, which static/js/times.js turns into the reader's own time; empty for None."""
    if value is None:
        return ""
    value = value.astimezone(UTC)
    words = f"{value.day} {value:%b %Y, %H:%M} UTC"
    return format_html('<time datetime="{}">{}</time>', value.isoformat(timespec="seconds"), words)
