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


def encoders_are_listed(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Check that the installed metadata of this package, by which encoders are found, is as new as its code."""
    from modeling.backends import BUILT_IN, OUTDATED
    from modeling.backends.plugins import missing_names

    missing = missing_names(BUILT_IN)
    if not missing:
        return []
    message = f"The installed metadata of hoshina lists no encoder {', '.join(missing)}."
    return [Error(message, hint=OUTDATED, id="hoshina.E002")]


def register_all() -> None:
    """Register the checks; called once the apps are ready."""
    register(store_is_writable)
    register(sign_in_is_safe)
    register(encoders_are_listed)
