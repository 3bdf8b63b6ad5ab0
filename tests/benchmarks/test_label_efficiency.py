"""Test the label efficiency benchmark: replays, ratios with intervals, early ends, and the page it writes."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.label_efficiency import __main__ as command
from benchmarks.label_efficiency.data import COLLECTIONS, Split
from benchmarks.label_efficiency.replay import OURS, Curve, f1, replay, shared_of
from benchmarks.label_efficiency.report import Replay, labels_needed, read, rows, table

GRID = list(range(10, 110, 10))


def straight(strategy: str, seed: int, slope: float, *, ends: int = 100, seconds: float = 0.5) -> Replay:
    sizes = [n for n in GRID if n <= ends]
    curve = Curve(sizes, [round(slope * n + seed / 1000, 6) for n in sizes], query_seconds=[seconds] * len(sizes))
    return Replay("digits", strategy, seed, curve)


def test_labels_needed_lies_between_the_points() -> None:
    assert labels_needed([10, 20, 30], np.array([0.1, 0.5, 0.9]), 0.6) == pytest.approx(22.5)
    assert labels_needed([10, 20, 30], np.array([0.1, 0.5, 0.9]), 0.05) == 10
    assert labels_needed([10, 20, 30], np.array([0.1, 0.5, 0.9]), 0.95) == float("inf")


def test_a_strategy_twice_as_good_needs_half() -> None:
    replays = [straight(name, seed, slope) for seed in range(5) for name, slope in (("random", 0.004), ("auto", 0.008))]
    random_row, auto = rows(replays, "pool")
    assert (random_row.strategy, random_row.ratio) == ("random", pytest.approx(1))
    assert auto.ratio == pytest.approx(0.5)
    assert (auto.low, auto.high) == (pytest.approx(0.5), pytest.approx(0.5))
    assert (auto.seeds, auto.query_seconds, auto.ends) == (5, 0.5, None)
    assert auto.worst > 1.9
    assert random_row.lead == pytest.approx(0.004 * np.mean(GRID))
    assert auto.lead == 0


def test_what_ran_out_of_patience_is_judged_up_to_there_and_says_so() -> None:
    replays = [straight("random", seed, 0.004) for seed in range(5)]
    slow = [straight("sk slow", seed, 0.002, ends=40) for seed in range(3)]
    _, row = rows([*replays, *slow], "pool")
    assert (row.ends, row.seeds, row.ratio) == (40, 3, float("inf"))
    assert row.worst_at <= 40
    assert row.worst == pytest.approx(0.5, abs=0.03)
    assert "| sk slow | – [–, –] | to 40 labels |" in table([row])


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    replays = [straight("random", 3, 0.004), straight("auto", 3, 0.008)]
    file = tmp_path / "results.jsonl"
    file.write_text("".join(replay_.line() + "\n" for replay_ in replays))
    assert read(file) == replays
    assert read(tmp_path / "none.jsonl") == []


def test_f1_of_each_class() -> None:
    truth, predicted = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 0])
    np.testing.assert_allclose(f1(truth, predicted, 4), [2 * 2 / (3 + 3), 2 * 1 / (1 + 2), 0, 0])


@pytest.mark.parametrize("name", list(OURS))
def test_a_replay_labels_every_row_once_and_measures_after_each_batch(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=150)
    X = (rng.normal(size=(3, 8))[y] * 3 + rng.normal(size=(150, 8))).astype(np.float32)
    split = Split(X[:100], y[:100], X[100:], y[100:], rare=2)
    shared = shared_of(split.X, tmp_path / "shared.npz")
    curve, again = (replay(OURS[name], split, shared, batch=30, budget=100, seed=1) for _ in range(2))
    assert (curve.sizes, curve.pool) == ([30, 60, 90, 100], again.pool)
    assert curve.held_out[-1] > 0.9
    assert len(curve.rare_f1) == len(curve.macro_f1) == 4


def test_patience_ends_a_replay(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 4)).astype(np.float32), rng.integers(2, size=120)
    split = Split(X[:90], y[:90], X[90:], y[90:])
    shared = shared_of(split.X, tmp_path / "shared.npz")
    assert replay(OURS["margin"], split, shared, batch=10, budget=90, seed=0, patience=-1).sizes == []


def test_the_tables_go_between_the_marks_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plotted: list[Path] = []
    monkeypatch.setattr("benchmarks.label_efficiency.plot.draw", lambda replays, file: plotted.append(file))
    results = tmp_path / "results.jsonl"
    results.write_text("".join(straight(name, 0, 0.004).line() + "\n" for name in ("random", "auto")))
    page = tmp_path / "label-efficiency.md"
    page.write_text(f"before\n{command.BEGIN}\nold\n{command.END}\nafter\n")
    command.write(["digits"], results, tmp_path)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| auto | 1.00 | 22.00 | +0.00 |" in text, "one seed has no interval"
    assert plotted == [tmp_path / "label-efficiency.svg"]


def test_a_split_can_be_limited(tmp_path: Path) -> None:
    split = COLLECTIONS["digits"].draw(tmp_path, 0, 100)
    assert (len(split.X), len(split.held_out_X)) == (75, 25)
