"""Test cosine search against one row at a time."""

from pathlib import Path

import numpy as np
import pytest

from sampling.algorithms.similar import inverse_lengths, similar


def vectors(n: int = 300, d: int = 10, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(float), b.astype(float)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def slow_similar(X: np.ndarray, examples: list[int], pool: list[int]) -> list[tuple[float, int]]:
    left = [row for row in pool if row not in examples]
    return sorted((-max(cosine(X[row], X[e]) for e in examples), row) for row in left)


@pytest.mark.parametrize("examples", [[17], [250, 3, 44]])
@pytest.mark.parametrize("share", [None, 0.1, 0.6])
@pytest.mark.parametrize("has_inverse", [True, False])
def test_similar_is_the_slow_loop(examples: list[int], share: float | None, has_inverse: bool) -> None:
    X = vectors()
    order = np.random.default_rng(1).permutation(300)
    among = None if share is None else order[: int(300 * share)]
    got = similar(X, examples, 12, inverse=inverse_lengths(X) if has_inverse else None, among=among)
    expected = slow_similar(X, examples, list(range(300)) if among is None else among.tolist())[:12]
    assert got.rows.tolist() == [row for _, row in expected]
    np.testing.assert_allclose(got.similarities, [-cost for cost, _ in expected], atol=1e-5)


def test_similar_reads_a_file_on_disk_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X = vectors()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    monkeypatch.setattr(
        "sampling.algorithms.similar.blocks", lambda n, size=7: (slice(b, min(b + 7, n)) for b in range(0, n, 7))
    )
    for examples in ([5], [5, 9]):
        assert similar(mapped, examples, 300).rows.tolist() == [r for _, r in slow_similar(X, examples, range(300))]


def test_similar_leaves_out_what_has_no_direction() -> None:
    X = vectors(6)
    X[1], X[2] = 0, np.nan
    assert sorted(similar(X, [0], 10).rows.tolist()) == [3, 4, 5]
    assert sorted(similar(X, [0, 1, 2], 10, among=[1, 2, 3]).rows.tolist()) == [3]
    assert len(similar(X, [1, 2], 10).rows) == 0
    assert len(similar(X, [], 10).rows) == 0
    assert len(similar(X, [0], 0).rows) == 0
    assert len(similar(X, [0], 3, among=[]).rows) == 0


def test_similar_keeps_only_those_alike_enough_and_calls_copies_1() -> None:
    X = np.array([[1, 0], [3, 0], [1, 1], [0, 2], [-1, 0], [2, 0]], np.float32)
    got = similar(X, [0], 9, at_least=0.5)
    assert got.rows.tolist() == [1, 5, 2]
    np.testing.assert_allclose(got.similarities, [1, 1, 2**-0.5], rtol=1e-6)


def test_outside_examples_and_counterexamples_are_the_slow_loop() -> None:
    X, outside = vectors(), vectors(2, seed=5)
    against = [4, 77, 190]
    pool = [row for row in range(0, 300, 2) if row != 10]
    for among in (pool, None):
        got = similar(X, [10], 30, among=among, outside=outside, against=against)
        rows = pool if among else [row for row in range(300) if row != 10]

        def score(row: int) -> float:
            near = max(cosine(X[row], example) for example in [X[10], *outside])
            return near - max(cosine(X[row], X[other]) for other in against)

        expected = sorted(rows, key=lambda row: (-score(row), row))[:30]
        assert got.rows.tolist() == expected
        np.testing.assert_allclose(got.similarities, [score(row) for row in expected], atol=1e-5)


def test_at_least_is_about_the_examples_not_the_counterexamples() -> None:
    X = vectors()
    rows = {row for row in range(300) if row != 10 and cosine(X[row], X[10]) >= 0.3}
    assert set(similar(X, [10], 300, at_least=0.3, against=[4]).rows.tolist()) == rows


def test_examples_without_a_direction_are_left_out() -> None:
    X = vectors()
    outside = np.stack([np.zeros(10), np.full(10, np.nan), X[3]]).astype(np.float32)
    assert similar(X, [], 1, outside=outside).rows.tolist() == [3]
    assert similar(X, [], 5, outside=outside[:2]).rows.tolist() == []
