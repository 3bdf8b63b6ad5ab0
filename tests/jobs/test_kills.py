"""kill -9 at random moments: no job runs for ever, restartable ones end well, finished chunks stay finished."""

import random
import time

import pytest

from hoshina.jobs.models import Chunk, Job
from tests.jobs.conftest import Store
from tests.parts import wait_until

S = Job.State
KILLS = 10  # a seed; there are two


@pytest.mark.parametrize("seed", [1, 2])
def test_workers_killed_at_random_moments(files_store: Store, seed: int) -> None:
    """Two workers share long chunked jobs and take short ones; one of the two is killed, again and again."""
    rng = random.Random(seed)
    queues = ("interactive", "heavy")
    workers = [files_store.worker(*queues, wait=False) for _ in range(2)]
    wait_until(lambda: all(files_store.is_alive(worker) for worker in workers), why="the workers")
    jobs: list[Job] = []
    for _ in range(KILLS):
        jobs += [
            files_store.enqueue("test_chunks", n=25, pause=0.02),
            files_store.enqueue("test_steps", n=5, pause=0.02),
        ]
        time.sleep(rng.uniform(0, 0.6))
        victim = rng.randrange(2)
        files_store.kill(workers[victim])
        workers[victim] = files_store.worker(*queues, wait=False)
        if rng.random() < 0.5:
            wait_until(lambda n=victim: files_store.is_alive(workers[n]), why="the next one")
    wait_until(lambda: not Job.objects.filter(state__in=Job.ACTIVE).exists(), seconds=240, why="every job to end")
    for job in jobs:
        job.refresh_from_db()
        if job.kind == "test_steps":
            assert job.state in {S.SUCCEEDED, S.LOST}
        elif job.state == S.LOST:  # its workers were killed three times
            assert job.attempts == 3
        else:
            assert job.state == S.SUCCEEDED, (job.state, job.error)
            assert (job.done, job.total) == (250, 250)
            assert Chunk.objects.filter(job=job, done=True).count() == 25
            spans = [line.split(":")[0] for line in files_store.lines(job)]
            assert set(spans) == {f"{10 * i}-{10 * i + 10}" for i in range(25)}
            # Only a share that was in a worker's hands when it was killed may have been done again.
            assert len(spans) - 25 <= 2 * KILLS
    assert any(job.attempts > 1 for job in jobs)
    assert Job.objects.filter(kind="test_chunks", state=S.SUCCEEDED).exists()
