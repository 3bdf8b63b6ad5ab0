"""Options that are declared once: what jobs, forms, addresses and commands take, and what all of them refuse."""

from argparse import ArgumentParser
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import pytest
from django import forms

from hoshina.core.errors import Refusal
from hoshina.core.parsing import (
    OptionsForm,
    about,
    add_option_arguments,
    given_options,
    parse_options,
    parse_texts,
    whole_number,
)


@dataclass(frozen=True)
class Cake:
    """Something with an option of each kind."""

    layers: Annotated[int, about("Layers", "How many there are.", ge=1, le=9)] = 2
    sugar: Annotated[float, about("Sugar", ge=0, le=0.8, refusal="Give a share.")] = 0.5
    is_iced: Annotated[bool, about("Iced")] = False
    shape: Annotated[Literal["round", "square"], about("Shape", choices={"round": "as a wheel"})] = "round"
    name: Annotated[str, about("Name", max_length=5)] = ""


class CakeForm(OptionsForm):
    options_class = Cake
    shape = forms.CharField(label="Outline")


NUMBERS = ["", " 1", "1 ", "+1", "-1", "1_0", "1.0", "1e3", "0x1", "١", "²", "1\x00", "nan", "9" * 19]


@pytest.mark.parametrize("text", NUMBERS)
def test_only_a_few_ascii_digits_are_a_whole_number(text: str) -> None:
    assert whole_number(text) is None


def test_whole_numbers_have_as_many_digits_as_are_asked_for() -> None:
    assert (whole_number("007"), whole_number("9" * 18), whole_number(None)) == (7, 10**18 - 1, None)
    assert (whole_number("123", 3), whole_number("1234", 3)) == (123, None)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        *(("layers", value, "a whole number from 1 to 9") for value in (0, 10, True, 1.0, "2", None, 10**400)),
        *(("sugar", value, "Give a share.") for value in (-0.1, 0.9, float("nan"), float("inf"), True, "0.1", 10**400)),
        *(("is_iced", value, "Choose yes or no.") for value in (0, 1, "yes", None)),
        *(("shape", value, "Choose round or square.") for value in ("oval", "", None, ["round"])),
        *(("name", value, "at most 5 characters") for value in ("madeira", "a\x00", 7, None)),
        ("filling", "jam", "There is no such option."),
    ],
)
def test_what_an_option_cannot_be_is_refused_with_its_name(name: str, value: Any, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_options(Cake, {"layers": 3, name: value})
    assert refused.value.field == name
    assert words in refused.value.message


def test_options_survive_being_stored() -> None:
    cake = Cake(layers=3, sugar=0.25, is_iced=True, shape="square", name="lemon")
    assert parse_options(Cake, asdict(cake)) == cake
    assert parse_options(Cake, {}) == Cake()
    assert isinstance(parse_options(Cake, {"sugar": 0}).sugar, float)


def test_texts_of_an_address_are_read_as_numbers() -> None:
    texts = {"layers": "3", "sugar": ".5", "shape": "square", "name": "", "filling": "jam"}
    assert parse_texts(Cake, texts) == Cake(layers=3, sugar=0.5, shape="square")
    for name, text in (("layers", "3.5"), ("layers", "9" * 5000), ("sugar", "nan"), ("sugar", "1e999"), ("shape", "x")):
        with pytest.raises(Refusal) as refused:
            parse_texts(Cake, {name: text})
        assert refused.value.field == name


def test_a_form_has_the_declared_fields_and_bounds() -> None:
    form = CakeForm({"layers": "10", "sugar": "0.9", "name": "madeira", "shape": "oval"})
    assert list(form.fields) == ["layers", "sugar", "is_iced", "shape", "name"]
    assert set(form.errors) == {"layers", "sugar", "name"}
    assert (form.fields["layers"].label, form.fields["layers"].help_text) == ("Layers", "How many there are.")
    assert form.fields["shape"].label == "Outline"


def test_a_command_has_the_declared_arguments() -> None:
    parser = ArgumentParser()
    add_option_arguments(parser, Cake, {"is_iced": "--icing"}, {"layers": 2}, leave_out={"name"})
    said = vars(parser.parse_args(["--layers", "12", "--no-icing", "--shape", "square"]))
    assert given_options(Cake, said) == {"layers": 12, "is_iced": False, "shape": "square"}
    assert "How many there are. (1 to 9, default 2)" in parser.format_help()
    with pytest.raises(SystemExit):
        parser.parse_args(["--shape", "oval"])
