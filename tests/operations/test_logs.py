"""Log lines: one for each cause and minute, as text or JSON, with the request's id; files that do not grow for ever."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from hoshina.core import logs
from hoshina.management import supervision
from tests.factories import new_folder
from tests.label_clients import Server
from tests.processes import run_python


def record(message: str, *values: object, level: int = logging.WARNING, **facts: Any) -> logging.LogRecord:
    return logging.LogRecord("hoshina.jobs", level, __file__, 1, message, values, None, **facts)


def test_one_line_of_each_cause_in_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: clock[0])
    repetitions = logs.RepetitionFilter()
    passed = [repetitions.filter(record("The database of %s is away", number)) for number in range(10_000)]
    assert passed == [True] + [False] * 9_999
    assert repetitions.filter(record("Another cause"))
    assert repetitions.filter(record("The database of %s is away", 1, level=logging.ERROR))
    clock[0] += 61
    later = record("The database of %s is away", 7)
    assert repetitions.filter(later)
    line = logs.LineFormatter().format(later)
    assert line.endswith("WARNING hoshina.jobs: The database of 7 is away (9999 more like this since the last line)")


def test_causes_that_are_remembered_are_bounded() -> None:
    repetitions = logs.RepetitionFilter()
    for number in range(5_000):
        assert repetitions.filter(record(f"cause {number}"))
    assert len(repetitions._seen) <= 1_001


def test_an_outage_writes_few_lines(tmp_path: Path) -> None:
    code = """if True:
        import django, logging
        django.setup()
        for number in range(50_000):
            logging.getLogger("hoshina.jobs").warning("The reaper could not reach the database: %s", number)
    """
    done = run_python("-c", code, store=tmp_path / "store")
    assert len(done.stderr.splitlines()) == 1


def test_json(tmp_path: Path) -> None:
    code = """if True:
        import django, logging
        django.setup()
        try:
            1 / 0
        except ZeroDivisionError:
            logging.getLogger("hoshina").exception("It failed for %s\\nand on", "ä")
    """
    done = run_python("-c", code, store=tmp_path / "store", AL_LOG_FORMAT="json")
    (line,) = done.stderr.splitlines()
    content = json.loads(line)
    assert (content["level"], content["logger"], content["message"]) == ("ERROR", "hoshina", "It failed for ä\nand on")
    assert "ZeroDivisionError" in content["exception"]


@pytest.mark.django_db
@pytest.mark.parametrize(("given", "is_used"), [("abc-1.2", True), ("x" * 65, False), ("a\nb", False), ("ä", False)])
def test_requests_have_an_id(client: Client, given: str, is_used: bool) -> None:
    response = client.get("/jobs/", headers={"X-Request-ID": given})
    assert (response["X-Request-ID"] == given) is is_used
    assert logs._REQUEST_ID.fullmatch(response["X-Request-ID"])


@pytest.mark.django_db
def test_the_access_log_names_request_and_person(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hoshina.access"):
        response = client.get("/jobs/\x1b[31m")
        client.get("/jobs/")
    assert [entry.facts["status"] for entry in caplog.records if hasattr(entry, "facts")] == [404, 200]
    assert "\x1b" not in caplog.text
    assert response["X-Request-ID"]


def test_a_log_file_is_emptied_while_it_is_written(tmp_path: Path) -> None:
    child = supervision.Child("It", ["true"], tmp_path / "web.log")
    with child.log_file.open("ab") as stream:
        stream.write(b"x" * (supervision.LARGEST_LOG + 1))
        stream.flush()
        child.rotate_log()
        stream.write(b"next\n")
    assert child.log_file.read_bytes() == b"next\n"
    assert child.log_file.with_suffix(".old.log").stat().st_size == supervision.LARGEST_LOG + 1


@pytest.mark.slow
def test_metrics_of_a_real_server(tmp_path: Path) -> None:
    store = new_folder(tmp_path / "store")
    server = Server(store, AL_METRICS_TOKEN="a-token", AL_ACCESS_LOG="1", AL_LOG_FORMAT="json")
    server.manage("migrate", "-v", "0")
    server.start()
    try:
        assert server.get("/metrics")[0] == 401
        assert server.get("/metrics", Authorization="Bearer nothing")[0] == 401
        server.get("/jobs/")
        status, content = server.get("/metrics", Authorization="Bearer a-token")
        assert status == 200
        assert 'hoshina_requests_total{method="GET",status="200",view="jobs:page"} 1.0' in content
        assert 'hoshina_workers{queue="heavy"} 0.0' in content
        assert "hoshina_free_bytes" in content
        lines = [json.loads(line) for line in (store / "web.log").read_text().splitlines()]
        assert {"path": "/jobs/", "status": 200}.items() <= next(x for x in lines if x.get("path") == "/jobs/").items()
    finally:
        server.kill()
    without = Server(store)
    without.start()
    try:
        assert without.get("/metrics")[0] == 404
    finally:
        without.kill()


def test_sentry_is_started_only_with_an_address(tmp_path: Path) -> None:
    code = "import django; django.setup(); import sentry_sdk; print(sentry_sdk.is_initialized())"
    assert run_python("-c", code, store=tmp_path / "store").stdout.strip() == "False"
    with_address = run_python("-c", code, store=tmp_path / "store", AL_SENTRY_DSN="http://key@127.0.0.1:9/1")
    assert with_address.stdout.strip() == "True"


def test_another_host_is_one_line_of_the_log(tmp_path: Path) -> None:
    program = (
        "import django; django.setup()\n"
        "from django.test import Client\n"
        "print(Client(headers={'host': 'evil.example'}).get('/healthz').status_code)"
    )
    done = run_python("-c", program, store=tmp_path)
    assert done.stdout.strip() == "400"
    assert "evil.example" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
