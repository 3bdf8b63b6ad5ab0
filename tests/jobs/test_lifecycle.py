"""Transitions of a job's row, without workers: what races, repetition and deaths leave behind."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.management.base import BaseCommand
from django.db import OperationalError, connection
from django.utils import timezone

from hoshina.core import parent_watch
from hoshina.core.errors import Refusal
from hoshina.core.processes import describe
from hoshina.jobs import chunks, clock, lifecycle, notify, presence, registry, runner, tasks
from hoshina.jobs.console import run_command_job
from hoshina.jobs.errors import Superseded
from hoshina.jobs.models import Chunk, Job, Worker
from hoshina.jobs.runner import Run, seconds_left, stopping
from tests.factories import fresh, not_none
from tests.jobs import tasks as test_jobs

pytestmark = pytest.mark.django_db
assert test_jobs
S = Job.State
MakeJob = Callable[..., Job]


@pytest.fixture
def queue_job(tmp_path: Any) -> MakeJob:
    def make(kind: str = "test_steps", **params: Any) -> Job:
        given = {"name": "a", "notes": str(tmp_path / "notes"), "n": 2, "pause": 0}
        return lifecycle.enqueue(kind, params={**given, **params})

    return make


def stale(job: Job, **fields: Any) -> Job:
    """Make a running job look as if its worker on another machine sent no heartbeat for long."""
    silent = {"state": S.RUNNING, "worker": "elsewhere:1:1", "attempts": 1}
    since = timezone.now() - timedelta(minutes=5)
    Job.objects.filter(pk=job.pk).update(**{**silent, "heartbeat_at": since, **fields})
    job.refresh_from_db()
    return job


def test_only_one_claims_a_job(queue_job: MakeJob) -> None:
    job = queue_job()
    claimed = not_none(lifecycle.claim(job.pk))
    assert (claimed.state, claimed.attempts, claimed.worker) == (S.RUNNING, 1, presence.me())
    assert lifecycle.claim(job.pk) is None


def test_who_lost_a_job_leaves_its_row_alone(queue_job: MakeJob) -> None:
    job = not_none(lifecycle.claim(queue_job().pk))
    run = Run(job)
    run.stage("One", total=5)
    Job.objects.filter(pk=job.pk).update(worker="other:1:1", attempts=2)
    with pytest.raises(Superseded):
        run.stage("Two")
    run.beat()
    lifecycle._end(run, S.SUCCEEDED)
    job.refresh_from_db()
    assert (job.state, job.stage, job.worker) == (S.RUNNING, "One", "other:1:1")


def test_run_now(queue_job: MakeJob, tmp_path: Any) -> None:
    seen = []
    params = {"name": "a", "notes": str(tmp_path / "notes"), "n": 3, "pause": 0}
    job = lifecycle.run_now("test_steps", params=params, on_progress=lambda job: seen.append((job.done, job.total)))
    assert (job.state, job.result, job.attempts) == (S.SUCCEEDED, {"steps": 3}, 1)
    assert seen[0] == (0, 3)
    assert seen[-1] == (3, 3)


def test_run_now_takes_over_the_queued_job_but_not_the_running_one(queue_job: MakeJob) -> None:
    job = queue_job()
    with pytest.raises(Refusal, match="Steps is already queued in another process"):
        lifecycle.run_now("test_steps", params={**job.params, "n": 7})
    assert lifecycle.run_now("test_steps", params=job.params) == job
    assert queue_job() != job
    running = not_none(lifecycle.claim(queue_job().pk))
    with pytest.raises(Refusal, match=r"Steps is already running in another process\. Wait for it"):
        lifecycle.run_now("test_steps", params=running.params)


def test_failures_in_the_foreground(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    params = {"name": "a", "notes": str(tmp_path / "notes")}
    with pytest.raises(Refusal, match=r"^The folder is gone. Plug the disk in.$"):
        run_command_job(BaseCommand(), "test_error", None, {**params, "how": "words"}, as_json=True)
    assert "Traceback" not in caplog.text
    caplog.set_level(logging.ERROR)
    with pytest.raises(Refusal, match="ZeroDivisionError: one by  zero"):
        lifecycle.run_now("test_error", params={**params, "how": "bug"})
    assert "Traceback" in caplog.text
    assert set(Job.objects.values_list("state", flat=True)) == {S.FAILED}


def test_reap_loses_or_queues_again(queue_job: MakeJob) -> None:
    plain = stale(queue_job("test_steps", name="plain"))
    again = stale(queue_job("test_again", name="again"))
    third = stale(queue_job("test_again", name="third"), attempts=3)
    asked = stale(queue_job("test_again", name="asked"), cancel_requested=True)
    unknown = stale(queue_job("test_again", name="unknown"), kind="of_an_older_version")
    living = stale(queue_job("test_steps", name="living"))
    Job.objects.filter(pk=living.pk).update(heartbeat_at=timezone.now())
    assert lifecycle.reap() == 5
    assert lifecycle.reap() == 0
    states = {job.params["name"]: job.state for job in Job.objects.all()}
    assert states == {
        "plain": S.LOST, "again": S.QUEUED, "third": S.LOST, "asked": S.CANCELLED, "unknown": S.LOST,
        "living": S.RUNNING,
    }  # fmt: skip
    plain.refresh_from_db()
    assert (plain.error, plain.hint) == ("The worker that ran this has stopped responding.", "Start it again.")
    again.refresh_from_db()
    assert (again.worker, again.sent_at, again.attempts) == ("", None, 1)
    assert [third.pk, asked.pk, unknown.pk]


def test_a_heartbeat_saves_a_job_from_being_reaped(queue_job: MakeJob) -> None:
    job = stale(queue_job())
    Job.objects.filter(pk=job.pk).update(heartbeat_at=timezone.now())
    assert not lifecycle._end_or_requeue(job, hint="")  # it was read before the heartbeat came
    assert fresh(job).state == S.RUNNING


def test_a_dead_process_of_this_machine_needs_no_silence(
    queue_job: MakeJob, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    job = stale(queue_job())
    dead = f"{presence.host()}:999999999:1"
    Job.objects.filter(pk=job.pk).update(worker=dead, heartbeat_at=timezone.now())
    Worker.objects.create(name=dead, queues="interactive", seen_at=timezone.now())
    settings.BROKER_URL = "redis://localhost/0"  # containers may share a host name: silence has to tell
    assert presence.worker_alive("interactive")
    assert lifecycle.reap() == 0
    settings.BROKER_URL = ""
    assert not presence.worker_alive("interactive")
    assert lifecycle.reap() == 1


@pytest.fixture
def other_process() -> Iterator[str]:
    """Provide the name of a worker that is a process of this machine, alive and silent."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield f"{presence.host()}:{describe(process.pid)}"
    process.kill()
    process.wait()


def test_a_process_that_is_alive_here_keeps_its_job_however_long_it_is_silent(
    queue_job: MakeJob, other_process: str
) -> None:
    job = stale(queue_job(), worker=other_process)
    long_ago = timezone.now() - timedelta(hours=1)
    Worker.objects.create(name=other_process, queues="interactive", seen_at=long_ago)
    assert lifecycle.reap() == 0
    assert presence.worker_alive("interactive")
    chunk = Chunk.objects.create(job=job, start=0, stop=1, worker=other_process, heartbeat_at=long_ago)
    assert chunks._take(job) is None
    Chunk.objects.create(job=job, start=1, stop=2, worker="elsewhere:1:1", heartbeat_at=long_ago)
    taken = not_none(chunks._take(job))
    assert taken.start == 1
    assert chunk.pk


def test_a_job_that_this_process_no_longer_runs_is_given_up(queue_job: MakeJob) -> None:
    """Its end could not be saved, say, while the database was away."""
    job = stale(queue_job(), worker=presence.me(), started_at=timezone.now() - timedelta(minutes=5))
    runner.running.add(job.pk)
    assert lifecycle.reap() == 0
    runner.running.clear()
    assert lifecycle.reap() == 1
    assert fresh(job).state == S.LOST


def test_under_up_nobody_is_told_to_start_a_worker(monkeypatch: pytest.MonkeyPatch, store: Any) -> None:
    assert presence.missing_worker_message("heavy").endswith("start one with hoshina worker heavy.")
    monkeypatch.setattr(parent_watch, "_is_child_of_up", True)
    message = presence.missing_worker_message("heavy")
    assert message.startswith("The worker is starting.")
    assert str(store / "logs" / "worker-heavy.log") in message


def test_retry_and_cancel(queue_job: MakeJob) -> None:
    job = queue_job()
    assert lifecycle.retry(job) == job  # active: nothing to do
    assert lifecycle.cancel(job).state == S.CANCELLED
    assert lifecycle.cancel(job).state == S.CANCELLED
    again = lifecycle.retry(job)
    assert (again.state, again.params, again.key) == (S.QUEUED, job.params, job.key)
    assert again != job
    claimed = not_none(lifecycle.claim(again.pk))
    lifecycle.cancel(claimed)
    assert (claimed.state, claimed.cancel_requested) == (S.RUNNING, True)
    lifecycle.execute(claimed)
    assert claimed.state == S.CANCELLED


def test_a_job_cancelled_after_its_last_check_succeeds_without_a_reason(
    queue_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_cancelled_late(run: Run) -> dict[str, Any]:
        assert lifecycle.cancel(fresh(run.job), "The groups of its images changed.").error
        return {}

    kind = replace(registry.get("test_steps"), function=is_cancelled_late)
    monkeypatch.setitem(registry._kinds, "test_steps", kind)
    job = not_none(lifecycle.claim(queue_job().pk))
    lifecycle.execute(job)
    assert (job.state, job.error) == (S.SUCCEEDED, "")


def test_chunks_that_are_done_are_kept(queue_job: MakeJob, tmp_path: Any) -> None:
    job = queue_job("test_chunks", n=4)
    Chunk.objects.create(job=job, start=10, stop=20, done=True)
    Chunk.objects.create(job=job, start=20, stop=25, done=True)  # of other shares: not wanted any more
    Chunk.objects.create(job=job, start=30, stop=40, worker="elsewhere:1:1", heartbeat_at=timezone.now())
    Chunk.objects.filter(start=30).update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    claimed = not_none(lifecycle.claim(job.pk))
    lifecycle.execute(claimed)
    assert claimed.state == S.SUCCEEDED, claimed.error
    done = [line.split(":")[0] for line in test_jobs.notes(tmp_path / "notes")]
    assert done == ["0-10", "20-30", "30-40"]
    assert (claimed.done, claimed.total) == (40, 40)


def test_help_is_asked_for_until_a_time_of_the_database(
    queue_job: MakeJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Celery would compare the clocks of the two machines."""
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr("hoshina.celery.app.send_task", lambda name, **options: sent.append(options))
    job = stale(queue_job("test_chunks", n=1), worker="elsewhere:1:1", heartbeat_at=clock.now())
    Chunk.objects.create(job=job, start=0, stop=10)
    assert notify.send_help_job(job)
    [message] = sent
    assert "expires" not in message
    pk, until = message["args"]
    tasks.help_job(pk, (clock.now() - timedelta(seconds=1)).isoformat())
    assert not Chunk.objects.filter(done=True).exists()
    tasks.help_job(pk, until)
    assert Chunk.objects.filter(done=True).count() == 1


def test_what_nobody_asks_for_is_forgotten(queue_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "quiet_kinds", lambda: ["test_again"])
    days_ago = timezone.now() - timedelta(days=2)
    for kind in ("test_again", "test_chunks"):
        for name, ended in (("old", days_ago), ("new", timezone.now()), ("active", None)):
            job = queue_job(kind, name=name)
            Chunk.objects.create(job=job, start=0, stop=1)
            if ended:
                Job.objects.filter(pk=job.pk).update(state=S.SUCCEEDED, finished_at=ended)
    lifecycle.forget_old()
    kept = {(job.kind, job.params["name"], job.chunks.count()) for job in Job.objects.all()}
    assert kept == {
        ("test_again", "new", 1), ("test_again", "active", 1),
        ("test_chunks", "old", 0), ("test_chunks", "new", 1), ("test_chunks", "active", 1),
    }  # fmt: skip


def test_misuse_is_told() -> None:
    with pytest.raises(LookupError, match="no job kind 'nonsense'"):
        lifecycle.enqueue("nonsense")
    with pytest.raises(ValueError, match="Queue 'slow' of job kind 'x'"):
        registry.background(kind="x", queue="slow", title="X")
    with pytest.raises(ValueError, match="Two functions are registered as job kind 'test_steps'"):
        registry.background(kind="test_steps", queue="heavy", title="X")(lambda run: {})
    job = not_none(lifecycle.claim(lifecycle.enqueue("test_steps", params={"name": "a"}).pk))
    with pytest.raises(ValueError, match="belongs to no dataset"):
        _ = Run(job).dataset_id
    with pytest.raises(TypeError, match="registered without chunk"):
        chunks.work_through(Run(job), [(0, 1)])


def test_long_keys_differ_by_all_their_parts() -> None:
    kind = registry.get("test_steps")
    keys = {kind.key_for(None, {"name": "x" * 300 + end}) for end in "ab"}
    assert len(keys) == 2
    assert all(len(key) <= 200 for key in keys)


def test_time_left() -> None:
    now = timezone.now()
    job = Job(done=25, total=100, stage_started_at=now - timedelta(seconds=10))
    assert seconds_left(job, now) == pytest.approx(30)
    assert seconds_left(Job(done=0, total=100, stage_started_at=now), now) is None
    assert seconds_left(Job(done=5, total=0, stage_started_at=now), now) is None


def test_resend_leaves_jobs_alone_whose_workers_are_busy(queue_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Job] = []
    monkeypatch.setattr(notify, "send_run_job", lambda job: bool(sent.append(job) or True))
    job = queue_job()
    long_ago = timezone.now() - timedelta(minutes=5)
    Job.objects.filter(pk=job.pk).update(sent_at=long_ago)
    lifecycle.resend()
    assert sent == []  # nobody is there
    Worker.objects.create(name="elsewhere:1:1", queues="interactive,heavy", seen_at=timezone.now())
    busy = stale(queue_job("test_again", name="busy"), heartbeat_at=timezone.now())
    lifecycle.resend()
    assert sent == []  # the only worker is busy
    Job.objects.filter(pk=busy.pk).update(state=S.SUCCEEDED)
    lifecycle.resend()
    assert sent == [job]
    lifecycle.resend()
    assert sent == [job]  # it was told a moment ago


def test_a_worker_on_its_way_out_takes_nothing_and_passes_the_news_on(
    queue_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would take again what it has just given back, and end with it."""
    sent: list[Job] = []
    monkeypatch.setattr(notify, "send_run_job", lambda job: bool(sent.append(job) or True))
    job = queue_job()
    stopping.set()
    try:
        tasks.run_job(str(job.pk))
    finally:
        stopping.clear()
    job.refresh_from_db()
    assert (job.state, job.attempts) == (S.QUEUED, 0)
    assert sent == [job]


@pytest.mark.parametrize(
    ("restartable", "attempts", "state"), [(True, 1, S.QUEUED), (True, 3, S.FAILED), (False, 1, S.FAILED)]
)
def test_an_outage_of_the_database_returns_the_job(
    queue_job: MakeJob, monkeypatch: pytest.MonkeyPatch, restartable: bool, attempts: int, state: str
) -> None:
    def fails(run: Run) -> dict[str, Any]:
        raise OperationalError("the connection is lost")

    job = queue_job()
    kind = replace(registry.get("test_steps"), function=fails, restartable=restartable)
    monkeypatch.setitem(registry._kinds, "test_steps", kind)
    Job.objects.filter(pk=job.pk).update(attempts=attempts - 1)
    lifecycle.execute(not_none(lifecycle.claim(job.pk)))
    assert (fresh(job).state, fresh(job).attempts) == (state, attempts)
    assert fresh(job).worker == "" or state == S.FAILED


def test_a_clock_that_is_hours_off_kills_no_job(queue_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Liveness is judged by the database's time; with SQLite that is the only clock there is."""
    if connection.vendor != "postgresql":
        assert abs((clock.now() - timezone.now()).total_seconds()) < 5
        return
    job = stale(queue_job(), heartbeat_at=clock.now())
    for hours in (-2, 2):
        skewed = timezone.now() + timedelta(hours=hours)
        monkeypatch.setattr(timezone, "now", lambda moment=skewed: moment)
        assert lifecycle.reap() == 0
        assert fresh(job).state == S.RUNNING


def test_a_job_gives_way_to_others_that_wait(queue_job: MakeJob) -> None:
    """It returns to the queue, and the attempt does not count; it goes on when no other job waits."""
    job = queue_job("test_gives_way")
    waiting = queue_job(name="b")
    Job.objects.update(sent_at=timezone.now())
    tasks.run_job(str(job.pk))
    assert (fresh(job).state, fresh(job).attempts) == (S.QUEUED, 0)
    Worker.objects.create(name="other:1:1", queues="interactive", seen_at=timezone.now())
    assert not lifecycle.is_kept_waiting("interactive")  # a worker is free
    Worker.objects.all().delete()
    assert lifecycle.is_kept_waiting("interactive")
    assert not lifecycle.is_kept_waiting("heavy")
    lifecycle.cancel(waiting)
    queue_job("test_gives_way", name="c")
    Job.objects.update(sent_at=timezone.now())
    tasks.run_job(str(job.pk))
    assert fresh(job).state == S.SUCCEEDED


def test_a_job_that_a_command_runs_gives_way_to_none(queue_job: MakeJob) -> None:
    job = queue_job("test_gives_way")
    queue_job(name="b")
    Job.objects.update(sent_at=timezone.now())
    assert lifecycle.run_now("test_gives_way", params=job.params).state == S.SUCCEEDED
