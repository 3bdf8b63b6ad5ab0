"""Rules that every template keeps."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings

TEMPLATES = sorted(Path(settings.BASE_DIR, "templates").rglob("*.html"))


def test_requests_of_elements_inside_are_not_aborted() -> None:
    """htmx passes hx-sync on to every element inside, whose requests a newer one of the outer element would abort."""
    tags = [
        (path.name, tag)
        for path in TEMPLATES
        for tag in re.findall(r"<\w+[^<]*hx-sync=[^>]*>", path.read_text(encoding="utf-8"))
    ]
    assert len(tags) >= 5
    assert [name for name, tag in tags if 'hx-disinherit="hx-sync"' not in tag] == []
