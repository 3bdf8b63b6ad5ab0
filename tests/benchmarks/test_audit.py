"""Test the benchmark of the audited accuracy: replays with a smoothed head, results, and their summary."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.audit import Collection, main, replay
from benchmarks.audit_report import PLAIN, Snapshot, Task, append, read, summary
from sampling.algorithms.estimates import Estimate


def task(seed: int, *, name: str = "digits", audit_share: float = 0.1) -> Task:
    return Task(name, seed, 600, 300, audit_share, 0.0, False)


def snapshot(n_labels: int, half_width: float, *, plain: float, truth: float) -> Snapshot:
    """Return a version whose estimates are 0.8, the plain one with its own half width."""
    halves = [half_width] * 7
    halves[PLAIN] = plain
    estimates = [Estimate(0.8, 0.8 - half, 0.8 + half, 20) for half in halves]
    return Snapshot(n_labels, 20, estimates, [truth, truth, truth])


def blobs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n)
    centers = np.random.default_rng(0).normal(0, 2, (3, 12))
    return (centers[y] + rng.normal(0, 1.5, (n, 12))).astype(np.float32), y


@pytest.mark.parametrize("is_smoothed", [False, True])
def test_a_replay_measures_each_version(is_smoothed: bool) -> None:
    X, y = blobs(240, 1)
    other_X, other_y = blobs(80, 2)
    data = Collection(X, y, other_X, other_y, y, is_smoothed=is_smoothed)
    run = replay(data, budget=200, seed=3, audit_share=0.5)
    assert run[-1].n_labels == (120 if is_smoothed else 200)
    assert all(item.n_audit > 20 for item in run[2:])
    assert all(item.estimates[0].low <= item.estimates[0].value <= item.estimates[0].high for item in run)
    assert min(run[-1].truths) > 0.6


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    run = [snapshot(100, 0.1, plain=0.2, truth=0.85)]
    append(tmp_path / "results.jsonl", task(3), run)
    assert read(tmp_path / "results.jsonl") == {task(3): run}
    assert read(tmp_path / "none.jsonl") == {}


def test_the_summary_weights_collections_equally() -> None:
    held, missed = (snapshot(250, 0.09, plain=0.1, truth=truth) for truth in (0.85, 0.895))
    few = snapshot(60, 0.2, plain=0.2, truth=0.5)
    text = summary({task(0): [few, held], task(1): [held, held], task(0, name="stamps"): [missed]}).splitlines()
    assert text[2] == "| digits | 0.1 | below 200 | 1 | 1 | 0.0 % | 0.0 % | 0.0 % | 0.0 % | +0.0 % |"
    assert text[4] == "| digits | 0.1 | from 200 on | 2 | 3 | 100.0 % | 100.0 % | 100.0 % | 100.0 % | -10.0 % |"
    assert text[5] == "| stamps | 0.1 | from 200 on | 1 | 1 | 100.0 % | 0.0 % | 0.0 % | 0.0 % | -10.0 % |"
    assert text[6] == "| all | | from 200 on | 3 | 4 | 100.0 % | 50.0 % | 50.0 % | 50.0 % | -10.0 % |"


def test_joined_encoders_cannot_be_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["audit", "--data", "digits-joined", "--grouped"])
    with pytest.raises(SystemExit, match="leave out the joined encoders"):
        main()
