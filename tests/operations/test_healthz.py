"""/healthz: an answer within two seconds whatever hangs, and status 503 when labels cannot be saved."""

import shutil
import threading
import time
from collections import namedtuple
from typing import Any

import pytest
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from hoshina.jobs.models import Worker
from hoshina.jobs.presence import say_alive

pytestmark = pytest.mark.django_db(transaction=True)
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def _health(settings: Any, store: Any) -> None:
    settings.LOGIN_REQUIRED = True
    say_alive("interactive,heavy")


def test_a_healthy_server(client: Client) -> None:
    response = client.get("/healthz")
    assert response.status_code == 200
    content = response.json()
    assert {"database": True, "broker": True, "labels": True, "schema": "current"}.items() <= content.items()
    assert content["workers"] == {"interactive": True, "heavy": True}
    assert all(0 <= age < 30 for age in content["worker_seconds"].values())
    assert content["free_bytes"] > 0
    assert not response.cookies


def test_without_workers_labels_are_saved_all_the_same(client: Client) -> None:
    Worker.objects.all().delete()
    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.json()["workers"] == {"interactive": False, "heavy": False}
    assert response.json()["worker_seconds"] == {"interactive": None, "heavy": None}


def test_a_broker_that_is_away(client: Client, settings: Any) -> None:
    settings.BROKER_URL = "redis://127.0.0.1:1/0"
    response = client.get("/healthz")
    assert (response.status_code, response.json()["broker"], response.json()["labels"]) == (503, False, True)


def test_a_full_disk(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10, 10, 4096))
    response = client.get("/healthz")
    assert (response.status_code, response.json()["labels"], response.json()["free_bytes"]) == (503, False, 4096)


@pytest.mark.parametrize(("app", "name", "expected"), [("labeling", "9999_later", "new"), (None, None, "old")])
def test_a_store_of_another_version(
    client: Client, monkeypatch: pytest.MonkeyPatch, app: str | None, name: str | None, expected: str
) -> None:
    from django.db import connection

    recorder = MigrationRecorder(connection)
    if app and name:
        recorder.record_applied(app, name)
    else:
        monkeypatch.setattr(MigrationRecorder, "applied_migrations", lambda self: {})
    try:
        response = client.get("/healthz")
        assert (response.status_code, response.json()["schema"]) == (503, expected)
    finally:
        recorder.migration_qs.filter(name="9999_later").delete()


def test_whatever_hangs_the_answer_comes(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    freed = threading.Event()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: freed.wait(60) and Usage(1, 1, 1))
    started, n_threads = time.monotonic(), threading.active_count()
    try:
        for _ in range(3):
            response = client.get("/healthz")
            assert (response.status_code, response.json()["labels"]) == (503, False)
        assert threading.active_count() <= n_threads + 1
        assert time.monotonic() - started < 60  # three answers, although each check would hang
    finally:
        freed.set()
        for thread in threading.enumerate():
            if thread.name == "healthz":
                thread.join(timeout=60)
