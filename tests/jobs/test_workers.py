"""Jobs in real worker processes, on the embedded broker and on a real Redis."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from hoshina.jobs import life, presence
from hoshina.jobs.models import Chunk, Job
from tests.jobs.conftest import Store
from tests.parts import wait_until

S = Job.State


def test_a_job_runs_in_another_process(any_store: Store) -> None:
    worker = any_store.worker("interactive")
    job = any_store.enqueue("test_steps", n=3, pause=0.1)
    any_store.wait(job, S.SUCCEEDED)
    assert job.result == {"steps": 3}
    assert (job.done, job.total, job.attempts) == (3, 3, 1)
    assert job.sent_at and job.started_at and job.finished_at
    [begun] = any_store.lines()
    assert begun.startswith(f"begun:{worker.pid}:")
    assert f":{worker.pid}:" in job.worker


def test_progress_and_cancel(any_store: Store) -> None:
    any_store.worker("interactive")
    job = any_store.enqueue("test_steps", n=1000, pause=0.02)
    seen = set()

    def moved() -> bool:
        job.refresh_from_db()
        seen.add(job.done)
        return len(seen) > 3

    wait_until(moved, why="progress")
    assert (job.stage, job.total) == ("Stepping", 1000)
    life.cancel(job)
    any_store.wait(job, S.CANCELLED, seconds=10)
    assert job.done < 1000
    assert job.finished_at
    # The worker is free again.
    any_store.wait(any_store.enqueue("test_steps", n=1, pause=0, name="b"), S.SUCCEEDED)


def test_cancelled_before_it_began(any_store: Store) -> None:
    job = any_store.enqueue("test_steps", n=1, pause=0)
    life.cancel(job)
    assert job.state == S.CANCELLED
    any_store.worker("interactive")
    any_store.wait(any_store.enqueue("test_steps", n=1, pause=0, name="b"), S.SUCCEEDED)
    job.refresh_from_db()
    assert job.state == S.CANCELLED
    assert len(any_store.lines()) == 1


def test_the_same_key_returns_the_active_job(any_store: Store) -> None:
    any_store.worker("interactive")
    first = any_store.enqueue("test_steps", n=20, pause=0.05)
    assert any_store.enqueue("test_steps", n=5, pause=0) == first
    any_store.wait(first, S.RUNNING)
    assert any_store.enqueue("test_steps", n=5, pause=0) == first
    any_store.wait(first, S.SUCCEEDED)
    assert any_store.enqueue("test_steps", n=1, pause=0) != first


@pytest.mark.parametrize(
    ("how", "error", "hint"),
    [
        ("words", "The folder is gone.", "Plug the disk in."),
        ("bug", "ZeroDivisionError: one by  zero", ""),
        ("result", "ValueError: Out of range float values are not JSON compliant", ""),
    ],
)
def test_errors_and_retry(files_store: Store, how: str, error: str, hint: str) -> None:
    files_store.worker("interactive")
    job = files_store.wait(files_store.enqueue("test_error", how=how), S.FAILED)
    assert job.error.startswith(error)
    assert job.hint == hint
    again = life.retry(job)
    assert again != job
    assert again.params == job.params
    files_store.wait(again, S.FAILED)


def test_a_killed_worker_loses_what_cannot_go_on(any_store: Store) -> None:
    worker = any_store.worker("interactive")
    job = any_store.enqueue("test_steps", n=1000, pause=0.02)
    wait_until(any_store.lines, why="its begin")
    any_store.kill(worker)
    any_store.worker("interactive")
    any_store.wait(job, S.LOST, seconds=20)
    assert job.error == "The worker that ran this stopped."
    assert job.hint == "Start it again."
    assert len(any_store.lines()) == 1


def test_a_killed_workers_restartable_job_goes_on_elsewhere(any_store: Store) -> None:
    worker = any_store.worker("interactive")
    job = any_store.enqueue("test_again", n=40, pause=0.05)
    wait_until(any_store.lines, why="its begin")
    any_store.kill(worker)
    other = any_store.worker("interactive")
    any_store.wait(job, S.SUCCEEDED)
    assert job.attempts == 2
    assert [line.split(":")[1] for line in any_store.lines()] == [str(worker.pid), str(other.pid)]


def test_a_job_that_kills_its_workers_is_given_up(files_store: Store) -> None:
    job = files_store.enqueue("test_again", n=1000, pause=0.05)
    for attempt in (1, 2, 3):
        worker = files_store.worker("interactive")
        wait_until(lambda n=attempt: len(files_store.lines()) == n, why="another try")
        files_store.kill(worker)
    files_store.worker("interactive")
    files_store.wait(job, S.LOST)
    assert "tried 3 times" in job.error


def test_a_message_that_was_lost_is_sent_again(files_store: Store) -> None:
    job = files_store.enqueue("test_steps", n=1, pause=0)
    for message in (files_store.folder / "broker").glob("*.msg"):
        message.unlink()
    files_store.worker("interactive")
    files_store.wait(job, S.SUCCEEDED, seconds=20)


def test_sigterm_gives_a_job_back(files_store: Store) -> None:
    worker = files_store.worker("interactive")
    job = files_store.enqueue("test_again", n=100, pause=0.02)
    files_store.wait(job, S.RUNNING)
    worker.terminate()
    worker.wait(timeout=20)
    job.refresh_from_db()
    assert (job.state, job.attempts, job.worker) == (S.QUEUED, 0, "")
    assert not presence.worker_alive("interactive")
    files_store.worker("interactive")
    files_store.wait(job, S.SUCCEEDED)


def test_sigterm_does_not_wait_for_the_deaf(files_store: Store) -> None:
    worker = files_store.worker("interactive")
    job = files_store.enqueue("test_deaf", pause=300)
    files_store.wait(job, S.RUNNING)
    worker.terminate()
    worker.wait(timeout=20)
    job.refresh_from_db()
    assert job.state == S.QUEUED


def test_a_long_call_is_no_death(files_store: Store) -> None:
    files_store.worker("interactive")
    job = files_store.enqueue("test_deaf", pause=4)  # twice as long as silence is taken for death
    files_store.wait(job, S.RUNNING)
    while job.state == S.RUNNING:
        assert life.reap() == 0
        time.sleep(0.1)
        job.refresh_from_db()
    assert (job.state, job.attempts) == (S.SUCCEEDED, 1)


def test_heavy_work_makes_no_retrain_wait(files_store: Store) -> None:
    files_store.worker("heavy")
    files_store.worker("interactive")
    heavy = files_store.enqueue("test_chunks", n=1000, pause=0.05)
    files_store.wait(heavy, S.RUNNING)
    files_store.wait(files_store.enqueue("test_steps", n=1, pause=0), S.SUCCEEDED)
    heavy.refresh_from_db()
    assert heavy.state == S.RUNNING


def test_several_workers_share_the_chunks(any_store: Store) -> None:
    workers = [any_store.worker("heavy") for _ in range(2)]
    job = any_store.enqueue("test_chunks", n=40, pause=0.05)
    any_store.wait(job, S.SUCCEEDED)
    done = [line.split(":") for line in any_store.lines()]
    assert sorted(span for span, _ in done) == sorted(f"{10 * i}-{10 * i + 10}" for i in range(40))
    assert {pid for _, pid in done} == {str(worker.pid) for worker in workers}
    assert (job.done, job.total, job.result) == (400, 400, {"items": 400})
    assert Chunk.objects.filter(job=job, done=True).count() == 40


def test_a_broken_chunk_fails_the_job_in_its_words(files_store: Store) -> None:
    for _ in range(2):
        files_store.worker("heavy")
    job = files_store.enqueue("test_chunks", n=10, pause=0.02, fails_at=77)
    files_store.wait(job, S.FAILED)
    assert (job.error, job.hint) == ("Item 77 is broken.", "Remove it.")
    files_store.wait(files_store.enqueue("test_chunks", n=1, pause=0, name="b"), S.SUCCEEDED)


def test_a_helper_makes_way_for_other_jobs(files_store: Store) -> None:
    for _ in range(2):
        files_store.worker("heavy")
    long = files_store.enqueue("test_chunks", n=2000, pause=0.02)
    wait_until(lambda: len({line.split(":")[1] for line in files_store.lines()}) == 2, why="the helper")
    short = files_store.enqueue("test_chunks", n=2, pause=0, name="b")
    files_store.wait(short, S.SUCCEEDED)
    long.refresh_from_db()
    assert long.state == S.RUNNING
    before = len(files_store.lines())
    helper = short.worker.split(":")[1]
    wait_until(
        lambda: any(line.endswith(f":{helper}") for line in files_store.lines()[before:]), why="it to help again"
    )


def test_ctrl_c_cancels_a_command_s_job(files_store: Store) -> None:
    code = (
        "import django; django.setup()\n"
        "from django.core.management.base import BaseCommand, CommandError\n"
        "from hoshina.jobs.console import run_command_job\n"
        "try:\n"
        f"    run_command_job(BaseCommand(), 'test_steps', None, dict(name='a', notes={str(files_store.notes)!r}, n=1000, pause=0.02))\n"
        "except CommandError as error:\n"
        "    print(error, error.returncode)\n"
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        process = files_store.manage("shell", "-c", code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: Job.objects.filter(state=S.RUNNING, done__gt=0).exists(), why="the job")
        process.send_signal(number)
        output, _ = process.communicate(timeout=20)
        assert output.decode().strip() == "Steps was stopped. 130"
        assert not Job.objects.filter(state__in=Job.ACTIVE).exists()
        assert Job.objects.latest("created_at").state == S.CANCELLED
