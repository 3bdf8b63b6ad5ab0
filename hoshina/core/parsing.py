"""Declare options once for jobs, forms and commands, as annotated fields of a dataclass, and parse numbers in URLs.

The annotation of a field is its type with the metadata of :func:`about`::

    epochs: Annotated[int, about("Epochs", "Passes over the training images.", ge=1, le=200)] = 10
"""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from django import forms

from hoshina.core.errors import Refusal

MAX_SEED = 2**31 - 1
Options = TypeVar("Options")


def about(title: str, description: str = "", *, refusal: str = "", choices: Any = None, **bounds: Any) -> msgspec.Meta:
    """Return the metadata of an option for forms and commands: its label, its help, and titles of its choices by value.

    ``bounds`` are those of ``msgspec.Meta``: ``ge``, ``le``, ``max_length``. ``refusal`` is the message for other
    values.
    """
    extra = {"refusal": refusal, "choices": choices or {}}
    return msgspec.Meta(title=title, description=description, extra=extra, **bounds)


@dataclass(frozen=True)
class Option:
    """One option of a dataclass: its type (``annotation`` with bounds) and its metadata (``meta``)."""

    name: str
    annotation: Any
    kind: Any
    meta: msgspec.Meta

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the values of a Literal; empty for other types."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def titles(self) -> list[tuple[str, str]]:
        """Return the choices with their titles."""
        titles = (self.meta.extra or {}).get("choices", {})
        return [(value, titles.get(value, value)) for value in self.choices]

    @property
    def refusal(self) -> str:
        """Return the message for an invalid value."""
        if reason := (self.meta.extra or {}).get("refusal"):
            return str(reason)
        if self.choices:
            return f"Choose {', '.join(self.choices[:-1])} or {self.choices[-1]}."
        if self.kind is bool:
            return "Choose yes or no."
        if self.kind is str:
            length = self.meta.max_length
            return f"Give a name of at most {length} characters." if length else "Give text without a NUL character."
        expected = "a whole number" if self.kind is int else "a number"
        return (
            f"Give {expected}." if self.meta.ge is None else f"Give {expected} from {self.meta.ge} to {self.meta.le}."
        )

    def parse(self, value: Any) -> Any:
        """Return ``value`` if it has the option's type and bounds; text is read as a number. Raises Refusal."""
        try:
            if self.kind is str and "\0" in value:
                raise ValueError
            return msgspec.convert(value, self.annotation)
        except (TypeError, ValueError) as error:
            raise Refusal(self.refusal, field=self.name) from error


@cache
def options_of(cls: type) -> dict[str, Option]:
    """Return the options that a dataclass declares, by name."""
    found = {}
    for name, annotation in get_type_hints(cls, include_extras=True).items():
        is_annotated = get_origin(annotation) is Annotated
        kind, meta = get_args(annotation)[:2] if is_annotated else (annotation, msgspec.Meta())
        found[name] = Option(name, annotation, kind, meta)
    return found


def parse_options(cls: type[Options], values: Mapping[str, Any]) -> Options:
    """Return the options that ``values`` name, with the defaults of the others. Raises Refusal."""
    declared = options_of(cls)  # type: ignore[arg-type]
    if unknown := [name for name in values if name not in declared]:
        raise Refusal("There is no such option.", field=unknown[0])
    return cls(**{name: declared[name].parse(value) for name, value in values.items()})


def parse_texts(cls: type[Options], texts: Mapping[str, str]) -> Options:
    """Return the options that a URL or a command line gives as text, ignoring unknown names and empty values."""
    values: dict[str, Any] = {}
    for name, option in options_of(cls).items():  # type: ignore[arg-type]
        if text := texts.get(name):
            try:
                values[name] = option.kind(text) if option.kind in (int, float) else text
            except ValueError as error:
                raise Refusal(option.refusal, field=name) from error
    return parse_options(cls, values)


def whole_number(text: str | None, digits: int = 18) -> int | None:
    """Return the number that ASCII digits of a URL stand for; None for other text and for too many digits."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= digits else None


class OptionsForm(forms.Form):
    """A form of all options of ``options_class``; fields that a subclass declares stay as they are."""

    options_class: ClassVar[type]

    def __init__(self, data: Mapping[str, Any] | None = None, **more: Any) -> None:
        super().__init__(data, **more)
        declared = options_of(self.options_class)
        self.fields.update({name: _field(option) for name, option in declared.items() if name not in self.fields})
        self.order_fields(list(declared))


def _field(option: Option) -> forms.Field:
    attributes: dict[str, Any] = {"label": option.meta.title, "help_text": option.meta.description or ""}
    if option.choices:
        return forms.ChoiceField(choices=option.titles, **attributes)
    if option.kind is bool:
        return forms.BooleanField(required=False, **attributes)
    if option.kind is str:
        return forms.CharField(required=False, max_length=option.meta.max_length, **attributes)
    number: Any = forms.IntegerField if option.kind is int else forms.FloatField
    field: forms.Field = number(min_value=option.meta.ge, max_value=option.meta.le, **attributes)
    return field


def add_option_arguments(
    parser: ArgumentParser,
    cls: type,
    flags: Mapping[str, str],
    defaults: Mapping[str, Any] = MappingProxyType({}),
    *,
    leave_out: Collection[str] = (),
) -> None:
    """Add an argument, by default None, for each option. ``flags`` are other names; ``defaults`` are for the help."""
    for name, option in options_of(cls).items():
        if name in leave_out:
            continue
        more: dict[str, Any] = {"type": option.kind, "metavar": "N"} if option.kind in (int, float) else {}
        if option.kind is bool:
            more = {"action": BooleanOptionalAction}
        elif option.choices:
            more = {"choices": option.choices}
        flag = flags.get(name, f"--{name.replace('_', '-')}")
        parser.add_argument(flag, dest=name, default=None, help=_help(option, defaults), **more)


def _help(option: Option, defaults: Mapping[str, Any]) -> str:
    facts = [] if option.meta.ge is None else [f"{option.meta.ge} to {option.meta.le}"]
    facts += [f"default {defaults[option.name]}"] if defaults.get(option.name) not in (None, "", False) else []
    parts = [f"{option.meta.title}.", option.meta.description or "", f"({', '.join(facts)})" if facts else ""]
    return " ".join(filter(None, parts)).replace("%", "%%")


def given_options(cls: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a command line gives."""
    return {field.name: value for field in fields(cls) if (value := arguments.get(field.name)) is not None}
