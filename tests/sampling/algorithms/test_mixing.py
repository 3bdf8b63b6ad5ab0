"""Test Auto's mixing: shares, random audit items, and the recorded probabilities."""

from collections import Counter

import numpy as np
import pytest

from sampling.algorithms.mixing import AUDIT, Part, mix, rarity


def part(name: str, rows: list[int], share: float) -> Part:
    return Part(name, np.array(rows, np.int64), share)


def test_shares_are_kept_in_every_prefix() -> None:
    parts = [part("a", list(range(100)), 3), part("b", list(range(100, 200)), 1)]
    got = mix(parts, np.arange(200), 80, rng=np.random.default_rng(0), audit_share=0)
    assert AUDIT not in got.sources
    assert (got.probabilities == 1).all()
    for n in range(1, 81):
        assert abs(got.sources[:n].count("b") - n / 4) <= 1
    for name, rows in (("a", range(60)), ("b", range(100, 120))):
        assert [r for r, s in zip(got.rows, got.sources, strict=True) if s == name] == list(rows)


def test_a_row_is_selected_once_and_only_from_the_pool() -> None:
    parts = [part("a", [5, 3, 99, 1], 1), part("b", [3, 5, 7], 1)]
    got = mix(parts, [7, 1, 3, 5, 8], 5, rng=np.random.default_rng(0), audit_share=0)
    assert got.rows.tolist() == [5, 3, 1, 7, 8]
    assert got.sources == ["a", "b", "a", "b", AUDIT]


def test_probabilities_are_those_of_the_draws() -> None:
    """Count the first and second rows over many seeds."""
    parts = [part("a", [2, 0], 1)]
    first: Counter[int] = Counter()
    second: Counter[int] = Counter()
    n = 3000
    for seed in range(n):
        got = mix(parts, np.arange(4), 2, rng=np.random.default_rng(seed), audit_share=0.2)
        first[int(got.rows[0])] += 1
        if got.rows[0] == 2:
            second[int(got.rows[1])] += 1
        expected = [0.85 if got.rows[0] == 2 else 0.05]
        next_ranked = 0 if got.rows[0] == 2 else 2
        expected.append(0.8 + 0.2 / 3 if got.rows[1] == next_ranked else 0.2 / 3)
        assert got.probabilities.tolist() == pytest.approx(expected, rel=1e-6)
    for row, share in {2: 0.85, 0: 0.05, 1: 0.05, 3: 0.05}.items():
        assert first[row] / n == pytest.approx(share, abs=0.02)
    for row, share in {0: 0.8 + 0.2 / 3, 1: 0.2 / 3, 3: 0.2 / 3}.items():
        assert second[row] / first[2] == pytest.approx(share, abs=0.02)


def test_audit_rows_are_uniform_and_at_random_places() -> None:
    parts = [part("a", list(range(30)), 1)]
    ranks: Counter[int] = Counter()
    rows: Counter[int] = Counter()
    for seed in range(3000):
        got = mix(parts, np.arange(60), 20, rng=np.random.default_rng(seed), audit_share=0.1)
        audit_ranks = [i for i, source in enumerate(got.sources) if source == AUDIT]
        ranks.update(audit_ranks)
        if audit_ranks and audit_ranks[0] == 0:
            rows[int(got.rows[0])] += 1
    assert sum(ranks.values()) / 3000 == pytest.approx(2, abs=0.1)
    assert min(ranks[i] for i in range(20)) > 240
    assert max(rows.values()) < 25
    assert len(rows) == 60


def test_when_all_parts_have_run_out_the_rest_is_random() -> None:
    got = mix([part("a", [1], 1)], np.arange(50), 99, rng=np.random.default_rng(0), audit_share=0)
    assert sorted(got.rows.tolist()) == list(range(50))
    assert got.rows[0] == 1
    assert got.sources[1:] == [AUDIT] * 49
    np.testing.assert_allclose(got.probabilities[1:], 1 / np.arange(49, 0, -1), rtol=1e-6)


def test_same_seed_same_mix_and_nothing_from_nothing() -> None:
    parts = [part("a", list(range(50)), 1), part("idle", list(range(50)), 0)]
    runs = [mix(parts, np.arange(90), 40, rng=np.random.default_rng(s)).rows.tolist() for s in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert "idle" not in mix(parts, np.arange(90), 90, rng=np.random.default_rng(0)).sources
    empty = mix(parts, [], 5, rng=np.random.default_rng(0))
    assert empty.rows.shape == empty.probabilities.shape == (0,)
    assert mix([], [4], 5, rng=np.random.default_rng(0)).rows.tolist() == [4]
    assert mix(parts, [4], -1, rng=np.random.default_rng(0)).rows.shape == (0,)


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="audit"):
        mix([], [1], 1, rng=np.random.default_rng(0), audit_share=1.1)
    with pytest.raises(ValueError, match="share"):
        mix([part("a", [1], float("nan"))], [1], 1, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="name"):
        mix([part("a", [1], 1), part("a", [2], 1)], [1, 2], 1, rng=np.random.default_rng(0))


def test_rarity_prefers_likely_members_of_classes_with_few_labels() -> None:
    P = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [np.nan] * 3], np.float32)
    got = rarity(P, np.array([10, 5, 0]))
    np.testing.assert_allclose(got, [0, 0.5, 1, 0.25, np.nan])
    assert rarity(P[:2], np.array([3, 3, 3])).tolist() == [0, 0]
    assert rarity(np.ones((2, 1), np.float32), np.array([4])).tolist() == [0, 0]
    assert rarity(P[:2], np.zeros(3, np.int64)).tolist() == [0, 0]
