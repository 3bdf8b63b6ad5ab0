"""Commands: what a person can act on is one line or one JSON object, with exit code 1."""

import json
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from hoshina.core.commands import HoshinaCommand
from hoshina.core.errors import Refusal, reason_of, sentences


class Command(HoshinaCommand):
    needs_database = False

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, **options: Any) -> None:
        raise Refusal("The folder is gone", "Plug the\ndisk in.")


def test_a_refusal_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "refuse"])
    assert ended.value.code == 1
    assert capsys.readouterr() == ("", "The folder is gone. Plug the disk in.\n")


def test_a_refusal_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "refuse", "--json"])
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == ({"error": "The folder is gone", "hint": "Plug the disk in."}, "")


def test_callers_in_python_get_djangos_error() -> None:
    with pytest.raises(CommandError, match="Plug the") as raised:
        call_command(Command())
    assert raised.value.returncode == 1
    assert isinstance(raised.value.__cause__, Refusal)


def test_a_message_and_its_hint_are_sentences() -> None:
    assert sentences("No model yet", "Press R.") == "No model yet. Press R."
    assert sentences("Is it there?", "Look.") == "Is it there? Look."
    assert sentences("No model yet") == "No model yet"


def test_the_reason_why_something_is_refused() -> None:
    assert reason_of(Mock(side_effect=Refusal("No model yet", "Press R."))) == "No model yet. Press R."
    assert reason_of(lambda: 1) == ""
