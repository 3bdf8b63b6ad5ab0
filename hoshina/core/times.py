"""Format times for pages."""

from __future__ import annotations

from datetime import UTC, datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString


def moment(value: datetime | None) -> SafeString | str:
    """Return ``24 Nov 2026, 21:31 UTC``, which static/js/times.js converts to the reader's time; "" for None."""
    if value is None:
        return ""
    value = value.astimezone(UTC)
    text = f"{value.day} {value:%b %Y, %H:%M} UTC"
    return format_html('<time datetime="{}">{}</time>', value.isoformat(timespec="seconds"), text)
