"""Permit forms to send large files."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.http import urlencode

from hoshina.core import upload_permit as permits

register = template.Library()


@register.simple_tag(takes_context=True)
def upload_permit(context: dict[str, Any]) -> str:
    """Return the parameter for the address of a form that sends a large file."""
    return urlencode({permits.PARAMETER: permits.issue(context["request"].user.pk)})
