"""Format times in templates."""

from __future__ import annotations

from django import template

from hoshina.core.times import moment

register = template.Library()
register.filter(moment)
