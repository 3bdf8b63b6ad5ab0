"""The embedded broker, and brokers that are away."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue

from hoshina.jobs import lifecycle
from hoshina.jobs.models import Job
from hoshina.jobs.notify import broker_answers
from tests.factories import fresh, new_folder
from tests.jobs.conftest import Store, open_store
from tests.parts import free_port, redis_server, wait_until


def connect(folder: Path) -> Connection:
    return Connection(
        "files://localhost", transport="hoshina.jobs.broker:Transport",
        transport_options={"folder": str(folder), "polling_interval": 0.01},
    )  # fmt: skip


def queue(name: str) -> Queue:
    return Queue(name, Exchange(name, type="direct"), routing_key=name)


def send(folder: Path, name: str, *bodies: int) -> None:
    with connect(folder) as connection:
        producer = Producer(connection)
        for body in bodies:
            to = queue(name)
            producer.publish({"n": body}, exchange=to.exchange, routing_key=name, declare=[to])


def receive(folder: Path, name: str, into: list[int], seconds: float = 0.5) -> None:
    """Take messages until none comes for some seconds."""

    def take(body: dict[str, int], message: Any) -> None:
        into.append(body["n"])
        message.ack()

    with connect(folder) as connection, Consumer(connection, [queue(name)], callbacks=[take]):
        while True:
            try:
                connection.drain_events(timeout=seconds)
            except TimeoutError:
                return


def test_messages_arrive_once_in_order_in_their_own_queue(tmp_path: Path) -> None:
    send(tmp_path / "broker", "interactive", 1, 2, 3)
    send(tmp_path / "broker", "heavy", 4)
    for name, wanted in (("heavy", [4]), ("interactive", [1, 2, 3]), ("interactive", [])):
        got: list[int] = []
        receive(tmp_path / "broker", name, got)
        assert got == wanted
    assert list((tmp_path / "broker").iterdir()) == []


def test_several_readers_get_each_message_once(tmp_path: Path) -> None:
    send(tmp_path, "heavy", *range(200))
    got: list[int] = []
    readers = [threading.Thread(target=receive, args=(tmp_path, "heavy", got)) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert sorted(got) == list(range(200))


@pytest.mark.parametrize("keeps_time", [False, True])
def test_a_message_that_comes_later_is_delivered_even_if_the_time_of_the_folder_does_not_change(
    tmp_path: Path, keeps_time: bool
) -> None:
    """Check a reader that waits; file systems round times, some to two seconds."""
    got: list[int] = []
    os.utime(tmp_path, (1_000, 1_000))
    reader = threading.Thread(target=receive, args=(tmp_path, "heavy", got, 3.0))
    reader.start()
    time.sleep(0.5)
    send(tmp_path, "heavy", 1)
    if keeps_time:
        os.utime(tmp_path, (1_000, 1_000))
    reader.join()
    assert got == [1]


def test_an_unfinished_message_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "0-x.heavy.part").write_text('{"half')
    got: list[int] = []
    receive(tmp_path, "heavy", got)
    assert got == []


UNREADABLE = {
    "empty": b"",
    "half-written": b'{"body": "eyJuIjog',
    "not UTF-8": b'{"body": "\xff\xfe"}',
    "no message": b'{"n": 1}',
    "null": b"null",
    "no object": b"[1, 2]",
    "body not base64": b'{"body": "%%%", "properties": {"delivery_tag": "a", "delivery_info": {}, '
    b'"body_encoding": "base64"}}',
}


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("name", ["interactive", "heavy"])
def test_a_message_that_cannot_be_read_is_set_aside_and_the_next_one_is_taken(
    tmp_path: Path, kind: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = new_folder(tmp_path / "broker")
    (broker / f"0-older.{name}.msg").write_bytes(UNREADABLE[kind])
    send(broker, name, 7)
    (broker / f"9-newer.{name}.msg").write_bytes(UNREADABLE[kind])
    got: list[int] = []
    receive(broker, name, got)
    assert got == [7]
    assert sorted(file.name for file in (broker / "unreadable").iterdir()) == [
        f"0-older.{name}.msg",
        f"9-newer.{name}.msg",
    ]
    assert list(broker.glob("*.msg")) == []
    assert caplog.text.count("cannot be read and was moved to") == 2


def test_a_worker_goes_on_after_messages_that_cannot_be_read(files_store: Store) -> None:
    """Also after those that can be read and hold no task that it knows."""
    broker = files_store.folder / "broker"
    broker.mkdir(exist_ok=True)
    for number, content in enumerate(UNREADABLE.values()):
        for name in ("interactive", "heavy"):
            (broker / f"0-{number}.{name}.msg").write_bytes(content)
    (broker / "0-folder.heavy.msg").mkdir()
    send(broker, "heavy", 1)
    worker = files_store.worker("interactive", "heavy")
    for kind in ("test_steps", "test_chunks"):
        files_store.wait(files_store.enqueue(kind, n=1, pause=0), Job.State.SUCCEEDED, seconds=60)
    assert worker.poll() is None
    assert len(list((broker / "unreadable").iterdir())) == 2 * len(UNREADABLE) + 1


def test_size_and_purge(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        assert queue("heavy")(connection.channel()).queue_declare(passive=False).message_count == 0
        send(tmp_path, "heavy", 1, 2)
        bound = queue("heavy")(connection.channel())
        assert bound.queue_declare().message_count == 2
        assert bound.purge() == 2
    got: list[int] = []
    receive(tmp_path, "heavy", got)
    assert got == []


def test_a_job_waits_while_the_broker_is_away(tmp_path: Path, migrated: Path, django_db_blocker: Any) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    with django_db_blocker.unblock(), open_store(tmp_path / "store", migrated, away) as store:
        job = store.enqueue("test_steps", n=1, pause=0)
        job.refresh_from_db()
        assert (job.state, job.sent_at) == (Job.State.QUEUED, None)
        assert not broker_answers()
        assert lifecycle.resend() == 0
        job.refresh_from_db()
        assert (job.state, job.sent_at) == (Job.State.QUEUED, None)


@pytest.mark.redis
def test_a_worker_outlives_its_broker(tmp_path: Path, migrated: Path, django_db_blocker: Any) -> None:
    with (
        django_db_blocker.unblock(),
        redis_server() as server,
        open_store(tmp_path / "store", migrated, server.url) as store,
    ):
        worker = store.worker("interactive")
        store.wait(store.enqueue("test_steps", n=1, pause=0), Job.State.SUCCEEDED)
        for _ in range(6):  # Celery's event loop went deaf at about the fifth
            server.stop()
            job = store.enqueue("test_steps", n=1, pause=0)
            job.refresh_from_db()
            assert (job.state, job.sent_at) == (Job.State.QUEUED, None)
            server.start()
            store.wait(job, Job.State.SUCCEEDED)
        assert worker.poll() is None
        # This process too finds its broker again.
        later = store.enqueue("test_steps", n=1, pause=0)
        assert fresh(later).sent_at is not None
        store.wait(later, Job.State.SUCCEEDED)


def test_an_unwritable_embedded_broker_is_noticed(files_store: Store) -> None:
    assert broker_answers()
    (files_store.folder / "broker").write_text("not a folder")
    assert not broker_answers()
    job = files_store.enqueue("test_steps", n=1, pause=0)
    assert fresh(job).sent_at is None
    (files_store.folder / "broker").unlink()
    lifecycle.resend()
    wait_until(lambda: list((files_store.folder / "broker").glob("*.msg")), why="the message")
