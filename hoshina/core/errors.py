"""Define the error that a person can act on."""

from __future__ import annotations

from collections.abc import Callable


class Refusal(Exception):
    """Tell a person what cannot be done, why, and what to do about it; shown without a traceback.

    Subclasses exist only where some caller handles one kind of refusal differently from the others.

    Parameters
    ----------
    message : what happened.
    hint : what to do about it.
    field : the option or form field at fault, if any.
    """

    def __init__(self, message: str, hint: str = "", field: str = "") -> None:
        super().__init__(message, hint, field)
        self.message = message
        self.hint = hint
        self.field = field

    def __str__(self) -> str:
        return sentences(self.message, self.hint)


def reason_of(action: Callable[[], object]) -> str:
    """Return why an action is refused and what to do about it; "" if it is not."""
    try:
        action()
    except Refusal as refusal:
        return str(refusal)
    return ""


def sentences(message: str, hint: str = "") -> str:
    """Join what happened and what to do into sentences."""
    if not hint:
        return message
    end = "" if message.endswith((".", "!", "?", ":")) else "."
    return f"{message}{end} {hint}"
