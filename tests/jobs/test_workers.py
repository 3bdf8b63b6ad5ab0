"""Jobs in real worker processes, on the embedded broker and on a real Redis."""

import signal
import subprocess
import time

import psutil
import pytest

from hoshina.jobs import lifecycle, presence
from hoshina.jobs.models import Chunk, Job
from tests.factories import fresh
from tests.jobs.conftest import Store
from tests.parts import wait_until

S = Job.State


def test_a_job_runs_in_another_process(working_store: Store) -> None:
    job = working_store.enqueue("test_steps", n=3, pause=0.1)
    working_store.wait(job, S.SUCCEEDED)
    assert job.result == {"steps": 3}
    assert (job.done, job.total, job.attempts) == (3, 3, 1)
    assert None not in (job.sent_at, job.started_at, job.finished_at)
    [begun] = working_store.lines(job)
    pid = begun.split(":")[1]
    assert int(pid) in [process.pid for process in working_store.processes]
    assert f":{pid}:" in job.worker


def test_progress_and_cancel(working_store: Store) -> None:
    job = working_store.enqueue("test_steps", n=10000, pause=0.02)
    seen = set()

    def moved() -> bool:
        job.refresh_from_db()
        seen.add(job.done)
        return len(seen) > 3

    wait_until(moved, why="progress")
    assert (job.stage, job.total) == ("Stepping", 10000)
    lifecycle.cancel(job)
    working_store.wait(job, S.CANCELLED)
    assert job.done < 10000
    assert job.finished_at
    # The worker is free again.
    working_store.wait(working_store.enqueue("test_steps", n=1, pause=0), S.SUCCEEDED)


def test_cancelled_before_it_began(working_store: Store) -> None:
    running = working_store.enqueue("test_steps", n=10000, pause=0.02)
    working_store.wait(running, S.RUNNING)
    job = working_store.enqueue("test_steps", n=1, pause=0)
    lifecycle.cancel(job)
    assert job.state == S.CANCELLED
    lifecycle.cancel(running)
    working_store.wait(working_store.enqueue("test_steps", n=1, pause=0), S.SUCCEEDED)
    assert fresh(job).state == S.CANCELLED
    assert working_store.lines(job) == []


def test_the_same_key_returns_the_active_job(working_store: Store) -> None:
    first = working_store.enqueue("test_steps", n=10000, pause=0.02, name="same")
    assert working_store.enqueue("test_steps", n=5, pause=0, name="same") == first
    working_store.wait(first, S.RUNNING)
    assert working_store.enqueue("test_steps", n=5, pause=0, name="same") == first
    lifecycle.cancel(first)
    working_store.wait(first, S.CANCELLED)
    second = working_store.enqueue("test_steps", n=1, pause=0, name="same")
    assert second != first
    working_store.wait(second, S.SUCCEEDED)


@pytest.mark.parametrize(
    ("how", "error", "hint"),
    [
        ("words", "The folder is gone.", "Plug the disk in."),
        ("bug", "ZeroDivisionError: one by  zero", ""),
        ("result", "ValueError: Out of range float values are not JSON compliant", ""),
    ],
)
def test_errors_and_retry(working_store: Store, how: str, error: str, hint: str) -> None:
    job = working_store.wait(working_store.enqueue("test_error", how=how), S.FAILED)
    assert job.error.startswith(error)
    assert job.hint == hint
    again = lifecycle.retry(job)
    assert again != job
    assert again.params == job.params
    working_store.wait(again, S.FAILED)
    succeeded = working_store.wait(working_store.enqueue("test_steps", n=1, pause=0), S.SUCCEEDED)
    assert lifecycle.retry(succeeded) == succeeded


def test_heavy_work_makes_no_retrain_wait(working_store: Store) -> None:
    heavy = working_store.enqueue("test_chunks", n=10000, pause=0.05)
    working_store.wait(heavy, S.RUNNING)
    working_store.wait(working_store.enqueue("test_steps", n=1, pause=0), S.SUCCEEDED)
    assert fresh(heavy).state == S.RUNNING
    lifecycle.cancel(heavy)
    working_store.wait(heavy, S.CANCELLED)


def test_a_killed_worker_loses_what_cannot_go_on(any_store: Store) -> None:
    worker = any_store.worker("interactive")
    job = any_store.enqueue("test_steps", n=10000, pause=0.02)
    wait_until(lambda: any_store.lines(job), why="its begin")
    any_store.kill(worker)
    any_store.worker("interactive")
    any_store.wait(job, S.LOST)
    # Beside Redis nobody can look up the process: its silence tells.
    assert job.error == (lifecycle.SILENT if any_store.broker_url else lifecycle.LOST)
    assert job.hint == "Start it again."
    assert len(any_store.lines(job)) == 1


def test_a_killed_workers_restartable_job_goes_on_elsewhere(any_store: Store) -> None:
    worker = any_store.worker("interactive")
    job = any_store.enqueue("test_again", n=100, pause=0.05)
    wait_until(lambda: any_store.lines(job), why="its begin")
    any_store.kill(worker)
    other = any_store.worker("interactive")
    any_store.wait(job, S.SUCCEEDED)
    assert job.attempts == 2
    assert [line.split(":")[1] for line in any_store.lines(job)] == [str(worker.pid), str(other.pid)]


def test_a_job_that_kills_its_workers_is_given_up(files_store: Store) -> None:
    job = files_store.enqueue("test_again", n=10000, pause=0.05)
    for attempt in (1, 2, 3):
        worker = files_store.worker("interactive", wait=False)
        wait_until(lambda n=attempt: len(files_store.lines(job)) == n, why="another try")
        files_store.kill(worker)
    files_store.worker("interactive")
    files_store.wait(job, S.LOST)
    assert "tried 3 times" in job.error


def test_a_message_that_was_lost_is_sent_again(files_store: Store) -> None:
    job = files_store.enqueue("test_steps", n=1, pause=0)
    messages = list((files_store.folder / "broker").glob("*.msg"))
    assert len(messages) == 1
    messages[0].unlink()
    files_store.worker("interactive")
    files_store.wait(job, S.SUCCEEDED)


def test_sigterm_gives_a_job_back(files_store: Store) -> None:
    worker = files_store.worker("interactive")
    job = files_store.enqueue("test_again", n=100, pause=0.02)
    files_store.wait(job, S.RUNNING)
    worker.terminate()
    worker.wait(timeout=60)
    job.refresh_from_db()
    assert (job.state, job.attempts, job.worker) == (S.QUEUED, 0, "")
    assert not presence.worker_alive("interactive")
    files_store.worker("interactive")
    files_store.wait(job, S.SUCCEEDED)


def test_a_long_call_is_no_death_and_sigterm_does_not_wait_for_it(files_store: Store) -> None:
    worker = files_store.worker("interactive")
    job = files_store.enqueue("test_deaf", pause=300)
    files_store.wait(job, S.RUNNING)
    until = time.monotonic() + 5  # more than twice as long as silence is taken for death
    while time.monotonic() < until:
        assert lifecycle.reap() == 0
        time.sleep(0.1)
    job.refresh_from_db()
    assert (job.state, job.attempts) == (S.RUNNING, 1)
    worker.terminate()
    worker.wait(timeout=60)
    assert fresh(job).state == S.QUEUED


def test_several_workers_share_the_chunks(any_store: Store) -> None:
    workers = [any_store.worker("heavy", wait=False) for _ in range(2)]
    wait_until(lambda: all(any_store.is_alive(worker) for worker in workers), why="the workers")
    job = any_store.enqueue("test_chunks", n=40, pause=0.1)
    any_store.wait(job, S.SUCCEEDED)
    done = [line.split(":") for line in any_store.lines(job)]
    assert sorted(span for span, _ in done) == sorted(f"{10 * i}-{10 * i + 10}" for i in range(40))
    assert {pid for _, pid in done} == {str(worker.pid) for worker in workers}
    assert (job.done, job.total, job.result) == (400, 400, {"items": 400})
    assert Chunk.objects.filter(job=job, done=True).count() == 40


def test_a_helper_makes_way_and_comes_back_and_its_error_fails_the_job(files_store: Store) -> None:
    workers = [files_store.worker("heavy", wait=False) for _ in range(2)]
    wait_until(lambda: all(files_store.is_alive(worker) for worker in workers), why="the workers")

    def helpers(job: Job, after: int = 0) -> set[str]:
        return {line.split(":")[1] for line in files_store.lines(job)[after:]}

    long = files_store.enqueue("test_chunks", n=10000, pause=0.05)
    wait_until(lambda: len(helpers(long)) == 2, why="the helper")
    short = files_store.wait(files_store.enqueue("test_chunks", n=2, pause=0), S.SUCCEEDED)
    assert fresh(long).state == S.RUNNING
    before = len(files_store.lines(long))
    helper = short.worker.split(":")[1]
    wait_until(lambda: helper in helpers(long, before), why="it to help again")
    lifecycle.cancel(long)
    files_store.wait(long, S.CANCELLED)

    broken = files_store.enqueue("test_chunks", n=20, pause=0.05, fails_at=77)
    files_store.wait(broken, S.FAILED)
    assert (broken.error, broken.hint) == ("Item 77 is broken.", "Remove it.")
    files_store.wait(files_store.enqueue("test_chunks", n=1, pause=0), S.SUCCEEDED)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_cancels_a_commands_job(files_store: Store, number: signal.Signals) -> None:
    params = {"name": "a", "notes": str(files_store.folder / "notes"), "n": 10000, "pause": 0.02}
    # A test run that was started in the background has its children ignore Ctrl-C.
    code = f"""if True:
        import signal; signal.signal(signal.SIGINT, signal.default_int_handler)
        import django; django.setup()
        from django.core.management.base import BaseCommand
        from hoshina.core.errors import Refusal
        from hoshina.jobs.console import run_command_job
        try:
            run_command_job(BaseCommand(), "test_steps", None, {params})
        except Refusal as error:
            print(error)
    """
    process = files_store.manage("shell", "-v", "0", "-c", code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: Job.objects.filter(state=S.RUNNING, done__gt=0).exists(), why="the job")
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert output.decode().strip() == "Steps was stopped."
    assert Job.objects.get().state == S.CANCELLED


def test_a_worker_that_is_silent_in_a_native_call_keeps_its_job(any_store: Store) -> None:
    """The call holds the interpreter's lock for longer than a silent worker is waited for (2 s here)."""
    any_store.worker("interactive", wait=False)
    any_store.worker("interactive")  # looks after the jobs of the other one, or is looked after
    job = any_store.enqueue("test_native", pause=8)
    any_store.wait(job, S.RUNNING)
    seen = set()

    def ended() -> bool:
        lifecycle.reap()
        job.refresh_from_db()
        seen.add(job.state)
        assert presence.worker_alive("interactive")
        return not job.is_active

    wait_until(ended, why="the native call")
    assert (job.state, job.attempts, seen - {S.RUNNING, S.SUCCEEDED}) == (S.SUCCEEDED, 1, set())
    assert job.result["seconds"] >= 8


@pytest.mark.redis
def test_heartbeats_end_with_the_worker(any_store: Store) -> None:
    worker = any_store.worker("interactive")
    beats = [
        process for process in psutil.Process(worker.pid).children() if "beat_process" in " ".join(process.cmdline())
    ]
    assert len(beats) == (1 if any_store.broker_url else 0)
    any_store.kill(worker)
    _, alive = psutil.wait_procs(beats, timeout=10)
    assert alive == []
