"""Link from pages to the documentation."""

from __future__ import annotations

import re

from django import template
from django.urls import reverse
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
_CODE = re.compile("`([^`]+)`")


@register.simple_tag
def docs_url(page: str) -> str:
    """Return the address of a page: ``index``, ``explanation/sweeps``, ``reference/formats#damaged-files``."""
    path, _, anchor = page.partition("#")
    address = reverse("docs") if path == "index" else reverse("docs", args=[f"{path}/"])
    return f"{address}#{anchor}" if anchor else address


@register.simple_tag
def docs_link(page: str, topic: str) -> SafeString:
    """Return a "?" that opens a page of the documentation in a new tab; ``topic`` names it for people."""
    return format_html(
        '<a class="docs-link" href="{}" target="_blank" rel="noopener" title="Help: {}">'
        '<span aria-hidden="true">?</span><span class="visually-hidden">Help: {} (new tab)</span></a>',
        docs_url(page),
        topic,
        topic,
    )


@register.filter
def with_code(text: str) -> SafeString:
    """Return text as HTML, with what is between backticks as code."""
    return mark_safe(_CODE.sub(r"<code>\1</code>", escape(text)))  # noqa: S308 - escaped here
