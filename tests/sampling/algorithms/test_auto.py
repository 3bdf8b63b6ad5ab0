"""Test what Auto selects at each stage."""

import numpy as np
from sklearn.datasets import load_digits

from modeling.algorithms.calibration import softmax
from modeling.algorithms.head import fit_head
from sampling.algorithms.auto import DIVERSE, ODD, RARE, REASONS, TYPICAL, UNSURE, choose
from sampling.algorithms.mixing import AUDIT, Mix
from sampling.algorithms.uncertainty import margin


def situation(n: int = 300, c: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, 6)).astype(np.float32), rng.dirichlet(np.full(c, 0.3), size=n).astype(np.float32))


def rows_of(got: Mix, source: str) -> list[int]:
    return [row for row, name in zip(got.rows.tolist(), got.sources, strict=True) if name == source]


def test_at_the_start_typical_and_diverse() -> None:
    X, P = situation()
    rng = np.random.default_rng(0)
    pool = rng.permutation(300)[7:]
    labeled = np.setdiff1d(np.arange(300), pool)
    for model in (None, P, P[:, :1] * 0 + 1):
        got = choose(
            X, pool, labeled, np.arange(7) % model.shape[1] if model is not None else [0] * 7, model, 60, rng=rng
        )
        assert set(got.sources) == {TYPICAL, DIVERSE, AUDIT}
        assert set(got.rows.tolist()) <= set(pool.tolist())
        assert got.sources.count(TYPICAL) > 5 * got.sources.count(DIVERSE)


def test_later_the_uncertain() -> None:
    X, P = situation(2000)
    got = choose(X, np.arange(40, 2000), np.arange(40), np.arange(40) % 4, P, 40, rng=np.random.default_rng(1))
    assert set(got.sources) == {UNSURE, AUDIT}
    least_sure = 40 + np.argsort(-margin(P[40:]))[:400]
    assert set(rows_of(got, UNSURE)) <= set(least_sure.tolist())


def test_a_class_with_few_labels_gets_a_share() -> None:
    X, P = situation()
    labels = np.array([0] * 13 + [1] * 13 + [2] * 13 + [3])
    got = choose(X, np.arange(40, 300), np.arange(40), labels, P, 100, rng=np.random.default_rng(1))
    rare = rows_of(got, RARE)
    assert 10 <= len(rare) <= 22
    assert P[rare, 3].mean() > 3 * P[40:, 3].mean()


def test_odd_items_if_outlier_scores_exist() -> None:
    X, P = situation()
    odd = np.zeros(300, np.float32)
    odd[[111, 222]] = 9
    got = choose(
        X, np.arange(40, 300), np.arange(40), np.arange(40) % 4, P, 100, rng=np.random.default_rng(1), oddness=odd
    )
    assert rows_of(got, ODD)[:2] == [111, 222]


def test_same_seed_same_ranking_and_a_reason_for_each() -> None:
    X, P = situation()
    runs = [
        choose(X, np.arange(40, 300), np.arange(40), np.arange(40) % 4, P, 50, rng=np.random.default_rng(s))
        for s in (1, 1, 2)
    ]
    assert runs[0].rows.tolist() == runs[1].rows.tolist() != runs[2].rows.tolist()
    assert runs[0].sources == runs[1].sources
    assert set(runs[0].sources) <= set(REASONS)


def test_what_has_no_vector_or_probabilities_comes_by_chance() -> None:
    X, P = situation(20)
    X[:5] = P[:5] = np.nan
    got = choose(X, np.arange(20), [], [], None, 99, rng=np.random.default_rng(0))
    assert sorted(got.rows.tolist()) == list(range(20))
    assert all(row >= 5 or name == AUDIT for row, name in zip(got.rows, got.sources, strict=True))
    late = choose(X, np.arange(12), np.arange(12, 20), np.arange(8) % 4, P, 99, rng=np.random.default_rng(0))
    assert sorted(late.rows.tolist()) == list(range(12))
    assert all(row >= 5 or name == AUDIT for row, name in zip(late.rows, late.sources, strict=True))
    assert choose(X, [], [3], [0], P, 9, rng=np.random.default_rng(0)).rows.shape == (0,)


def test_auto_beats_chance_on_digits() -> None:
    X, y = load_digits(return_X_y=True)
    X, y = X.astype(np.float32) / 16, y.astype(np.int64)
    accuracy = []
    for audit_share in (0.1, 1.0):  # 1.0: everything is random
        labeled, P, head = np.empty(0, np.int64), None, None
        rng = np.random.default_rng(0)
        while len(labeled) < 160:
            left = np.setdiff1d(np.arange(len(X)), labeled)
            got = choose(X, left, labeled, y[labeled], P, 20, rng=rng, batch=20, audit_share=audit_share)
            labeled = np.concatenate([labeled, got.rows])
            head = fit_head(X[labeled], y[labeled], n_classes=10, start=head)
            P = softmax(head.logits(X))
        assert P is not None
        accuracy.append(float((P.argmax(axis=1) == y).mean()))
    assert accuracy[0] > accuracy[1] + 0.015
