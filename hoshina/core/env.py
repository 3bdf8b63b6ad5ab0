"""Read typed environment variables; a malformed value is refused with the variable's name."""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_BOOLEANS = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)


def text(name: str, default: str = "") -> str:
    """Return the variable's value without surrounding space; ``default`` if it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def boolean(name: str, default: bool) -> bool:
    """Return the boolean of 1, true, yes, on or 0, false, no, off, in any case."""
    raw = text(name).lower()
    if not raw:
        return default
    if raw not in _BOOLEANS:
        raise ImproperlyConfigured(f"{name} is {raw!r}; expected one of 1, 0, true, false, yes, no, on, off.")
    return _BOOLEANS[raw]


def integer(name: str, default: int, *, minimum: int, maximum: int) -> int:
    """Return a whole number within [minimum, maximum]."""
    raw = text(name)
    if not raw:
        return default
    expected = f"expected a whole number from {minimum} to {maximum}"
    try:
        value = int(raw)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is {raw!r}; {expected}.") from error
    if not minimum <= value <= maximum:
        raise ImproperlyConfigured(f"{name} is {raw}; {expected}.")
    return value


def choice(name: str, default: str, *, options: tuple[str, ...]) -> str:
    """Return one of ``options``."""
    value = text(name, default)
    if value not in options:
        raise ImproperlyConfigured(f"{name} is {value!r}; expected one of {', '.join(options)}.")
    return value


def path(name: str, default: Path) -> Path:
    """Return a path; ``~`` is expanded, and a relative path starts at the working directory."""
    raw = text(name)
    return Path(raw).expanduser().absolute() if raw else default


def optional_path(name: str) -> Path | None:
    """Return a path that must exist, or None if the variable is unset."""
    raw = text(name)
    if not raw:
        return None
    result = Path(raw).expanduser().absolute()
    if not result.exists():
        raise ImproperlyConfigured(f"{name} is {raw!r}, which does not exist.")
    return result


def words(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """Return the parts of a comma-separated list that are not empty."""
    return [part.strip() for part in text(name).split(",") if part.strip()] or list(default)


def secret(name: str) -> str:
    """Return the variable, or the content of the file that ``<name>_FILE`` names (Docker secrets)."""
    file = optional_path(f"{name}_FILE")
    if file is None:
        return text(name)
    if text(name):
        raise ImproperlyConfigured(f"Set {name} or {name}_FILE, not both.")
    value = file.read_text(encoding="utf-8").strip()
    if not value:
        raise ImproperlyConfigured(f"{name}_FILE names {file}, which is empty.")
    return value
