"""What workers delete every hour, however long they run."""

from typing import Any

import pytest

from hoshina.api import tokens
from hoshina.apps import _forget_expired_sessions
from hoshina.jobs import lifecycle, presence, upkeep
from labeling.importing import uploads
from modeling.apps import forget_frozen_networks
from sampling.queues.retention import forget_old_rankings


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Provide the registered functions, and let the last time be long ago."""
    monkeypatch.setattr(upkeep, "_functions", list(upkeep._functions))
    monkeypatch.setattr(upkeep, "_ran_at", float("-inf"))
    return upkeep._functions


def test_every_hour(functions: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    functions.clear()
    calls: list[float] = []
    now = [100.0]
    monkeypatch.setattr(upkeep.time, "monotonic", lambda: now[0])
    upkeep.register(lambda: calls.append(now[0]))
    assert [upkeep.run_if_due(), upkeep.run_if_due()] == [True, False]
    now[0] += upkeep.EVERY_SECONDS
    assert upkeep.run_if_due()
    assert calls == [100.0, now[0]]


def test_an_error_stops_no_other_function(functions: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    functions.clear()
    calls: list[str] = []

    def fail() -> None:
        raise ConnectionError("the disk is full")

    upkeep.register(fail)
    upkeep.register(lambda: calls.append("second"))
    assert [upkeep.run_if_due(), upkeep.run_if_due()] == [True, False]
    assert calls == ["second"]
    assert "fail failed, and is called again in an hour" in caplog.text
    assert "the disk is full" in caplog.text


def test_all_apps_have_registered(functions: list[Any]) -> None:
    wanted = {
        presence.forget_old, lifecycle.forget_old, _forget_expired_sessions, forget_old_rankings,
        forget_frozen_networks, tokens.forget_expired, uploads.forget_old,
    }  # fmt: skip
    assert set(functions) == wanted


@pytest.mark.django_db
def test_they_run(functions: list[Any]) -> None:
    assert upkeep.run_if_due()
