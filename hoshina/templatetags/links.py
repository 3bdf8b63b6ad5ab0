"""Provide addresses of pages that other apps have registered."""

from __future__ import annotations

from typing import Any

from django import template

from hoshina.core.links import link_to

register = template.Library()


@register.simple_tag
def link(name: str, *arguments: Any) -> str:
    """Return the address of a registered link: ``{% link "retrain" dataset.slug as url %}``."""
    return link_to(name, *arguments)
