"""Test the web server that `up` starts while it creates the tables."""

from unittest.mock import Mock

import pytest
from django.db import OperationalError

from hoshina.management.commands import serve


def test_it_answers_only_once_the_tables_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    state = Mock(side_effect=["old", OperationalError("no such file"), "old", "current"])
    monkeypatch.setattr(serve.schema, "state", state)
    monkeypatch.setattr(serve, "connection", Mock())
    serve.wait_for_tables()
    assert state.call_count == 4
