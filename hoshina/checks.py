"""Check the installation with ``hoshina check``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register


def store_is_writable(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Check that the store, which holds everything that the application writes, is writable."""
    folder = settings.STORE_DIR
    while not folder.exists():
        folder = folder.parent
    if folder.is_dir() and os.access(folder, os.W_OK):
        return []
    return [
        Error(
            f"The store {settings.STORE_DIR} is not writable.",
            hint="Set AL_STORE_DIR to a folder that this user can write to.",
            id="hoshina.E001",
        )
    ]


def sign_in_is_safe(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Check that passwords are not sent over a network in clear text."""
    if settings.LOCAL_ONLY or settings.BEHIND_HTTPS:
        return []
    return [
        Warning(
            f"The server listens on {settings.HOST} without HTTPS.",
            hint="Put an HTTPS proxy in front of it that sets X-Forwarded-Proto, and set AL_HTTPS=1.",
            id="hoshina.W001",
        )
    ]


def register_all() -> None:
    """Register the checks; called once the apps are ready."""
    register(store_is_writable)
    register(sign_in_is_safe)
