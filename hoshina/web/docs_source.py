"""Render the documentation's Markdown files as pages of the product, in a checkout whose site is not built."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.urls import reverse
from django.utils._os import safe_join
from django.utils.safestring import SafeString
from django.utils.text import slugify
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore

# What the site generator reads beside Markdown: classes and widths in braces, and icons.
_BRACES = re.compile(r"(?<=\))\{[^}\n]*\}| :[a-z-]+:(?=\s)")
_MARKUP = re.compile(r"^\s*</?div[^>]*>\s*$", re.MULTILINE)


@dataclass(frozen=True)
class SourcePage:
    """Represent a page: its ``title``, and its ``html``."""

    title: str
    html: SafeString


def source_folder() -> Path:
    """Return the folder of the Markdown files."""
    return Path(settings.RESOURCES_DIR) / "docs"


def source_page(path: str) -> SourcePage | None:
    """Return the page at an address of the site, such as ``explanation/sweeps/``; None if there is no such page.

    Raises SuspiciousFileOperation if the path leads out of the folder.
    """
    name = path.strip("/")
    for candidate in (f"{name}.md", f"{name}/index.md") if name else ("index.md",):
        file = Path(safe_join(source_folder(), candidate))
        if file.is_file():
            text = _BRACES.sub("", _MARKUP.sub("", file.read_text(encoding="utf-8")))
            html = _renderer.render(text, {"folder": posixpath.dirname(candidate)})
            title = next((line[2:] for line in text.splitlines() if line.startswith("# ")), "Documentation")
            return SourcePage(title, SafeString(html))
    return None


def _adapt(state: StateCore) -> None:
    """Give headings the anchors of the site, and links and images its addresses."""
    folder = str(state.env.get("folder", ""))
    for token, following in zip(state.tokens, [*state.tokens[1:], None], strict=True):
        if token.type == "heading_open" and following is not None:
            token.attrSet("id", slugify(following.content))
        for child in token.children or ():
            name = {"link_open": "href", "image": "src"}.get(child.type)
            if name is not None:
                child.attrSet(name, _address(str(child.attrGet(name)), folder))


def _address(target: str, folder: str) -> str:
    path, hash_sign, anchor = target.partition("#")
    if not path or ":" in path:
        return target
    joined = posixpath.normpath(posixpath.join(folder, path))
    if joined.startswith(".."):  # a file of the repository that is no page
        return target
    if joined.endswith(".md"):
        joined = joined.removesuffix(".md").removesuffix("index").rstrip("/")
        joined = f"{joined}/" if joined else ""
    address = reverse("docs", args=[joined]) if joined else reverse("docs")
    return f"{address}{hash_sign}{anchor}"


def _new_renderer() -> MarkdownIt:
    renderer = MarkdownIt("commonmark", {"html": True}).enable("table")  # files of this project, with comments
    renderer.core.ruler.push("adapt", _adapt)
    return renderer


_renderer = _new_renderer()
