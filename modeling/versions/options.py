"""Describe the options with which a model version was made."""

from __future__ import annotations

from typing import Any

from hoshina.core.parsing import Option, options_of
from modeling.models import ModelVersion
from modeling.quick.options import QuickOptions

# It tells what happened at the end of the training, nothing of the version.
_LEFT_OUT = frozenset({"is_used"})
# The labels of what is recorded about imported predictions.
_IMPORTED = {"sha256": "SHA-256", "imported_at": "Imported at", "by": "Imported by"}


def option_texts(version: ModelVersion) -> dict[str, tuple[str, str]]:
    """Return the label and the value of each option as texts, by its name."""
    declared = options_of(QuickOptions) if version.kind == ModelVersion.Kind.QUICK else {}
    return {
        name: (_label(name, declared.get(name)), _value(name, value, declared.get(name)))
        for name, value in version.options.items()
        if name not in _LEFT_OUT
    }


def _label(name: str, option: Option | None) -> str:
    title = option.meta.title if option is not None else _IMPORTED.get(name)
    return (title or name.replace("_", " ").capitalize()).removesuffix(", %")


def _value(name: str, value: Any, option: Option | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "validation_share":
        return f"{100 * value:g} %"
    titles = dict(option.titles) if option is not None else {}
    return str(titles.get(value, value))
