"""Provide addresses of pages that other apps have registered."""

from __future__ import annotations

from django import template

from hoshina.core.links import link_to

register = template.Library()


# {% link "retrain" dataset.slug as url %}
register.simple_tag(link_to, name="link")
