"""Render the Markdown of class guides as HTML that is safe for every page (ADR 51).

There is no raw HTML and there are no images; links lead only to http and https addresses.
"""

from __future__ import annotations

import re

from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore

# The description is below a heading of the third level.
_HEADINGS_ABOVE = 3


def html_of(text: str) -> SafeString:
    """Return a Markdown text as HTML."""
    # The renderer escapes everything that is not Markdown, as `html` is off.
    return SafeString(_renderer.render(text))


def _is_web_address(url: str) -> bool:
    return re.match(r"https?://", url, re.IGNORECASE) is not None


def _adapt(state: StateCore) -> None:
    """Lower the headings below those of the page, and open links in a new tab that learns nothing about this one."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + _HEADINGS_ABOVE)}"
        for child in token.children or ():
            if child.type == "link_open":
                child.attrSet("target", "_blank")
                child.attrSet("rel", "noopener noreferrer nofollow")


def _new_renderer() -> MarkdownIt:
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    renderer.validateLink = _is_web_address  # type: ignore[method-assign]
    renderer.core.ruler.push("adapt", _adapt)
    return renderer


_renderer = _new_renderer()
