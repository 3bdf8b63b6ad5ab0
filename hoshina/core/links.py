"""Link from pages of one app to pages of the apps above it, which the lower app must not import."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

_url_names: dict[str, str] = {}


def register(**url_names: str) -> None:
    """Register the URL name behind each link, such as ``retrain="modeling:retrain"``; called when an app starts."""
    _url_names.update(url_names)


def link_to(link: str, *arguments: Any) -> str:
    """Return the URL of a registered link; "" if no installed app has registered it."""
    return reverse(_url_names[link], args=arguments) if link in _url_names else ""
