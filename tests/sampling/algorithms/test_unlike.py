"""Test groups unlike all classes against slow distances, and on clouds of which some have no label."""

import numpy as np
import pytest

from modeling.algorithms.neighbors import knn_graph
from sampling.algorithms import unlike as module
from sampling.algorithms.unlike import Unlike, unlike

CLOUDS, EACH = 6, 80


def clouds(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of six clouds in shuffled order, and the cloud of each."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(CLOUDS * EACH) % CLOUDS)
    centers = 9 * np.eye(CLOUDS, 8)
    return (centers[y] + rng.normal(size=(len(y), 8))).astype(np.float32), y


def labels_of(y: np.ndarray, clouds: list[int], n: int) -> np.ndarray:
    return np.sort(np.concatenate([np.flatnonzero(y == cloud)[:n] for cloud in clouds]))


def found(X: np.ndarray, y: np.ndarray, labeled: np.ndarray, seed: int = 0) -> Unlike:
    candidates = np.setdiff1d(np.arange(len(X)), labeled)
    graph = knn_graph(X, 30)
    return unlike(X, graph.distances, candidates, labeled, y[labeled], np.random.default_rng(seed))


def test_clouds_without_a_label_are_groups() -> None:
    X, y = clouds()
    result = found(X, y, labels_of(y, [0, 1, 2, 3], 15))
    assert sum(result.sizes) == len(result.rows) == len(result.scores)
    for group in range(len(result.sizes)):
        members = result.rows[result.groups == group]
        counts = np.bincount(y[members], minlength=CLOUDS)
        if group < 2:
            assert counts.argmax() in (4, 5)
            assert counts.max() >= 0.9 * len(members), "a group has one kind"
    firsts = [np.bincount(y[result.rows[result.groups == group]]).argmax() for group in (0, 1)]
    assert set(firsts) == {4, 5}


def test_scores_are_the_slow_ratios_and_the_most_typical_come_first() -> None:
    X, y = clouds(1)
    labeled = labels_of(y, [0, 1, 2, 3], 15)
    result = found(X, y, labeled)
    distances = np.linalg.norm(X[:, None].astype(float) - X[None].astype(float), axis=2)
    scale = np.sort(distances, axis=1)[:, module.NEIGHBOR]  # the first one is the row itself
    ratios = distances[:, labeled].min(axis=1) / scale
    np.testing.assert_allclose(result.scores, ratios[result.rows], rtol=1e-4)
    others = np.where(np.eye(len(labeled), dtype=bool), np.inf, distances[np.ix_(labeled, labeled)]).min(axis=1)
    limit = max(np.quantile(others / scale[labeled], module.QUANTILE), module.MIN_RATIO)
    assert set(result.rows) <= set(np.setdiff1d(np.flatnonzero(ratios > limit), labeled))
    means = [ratios[result.rows[result.groups == group]].mean() for group in range(len(result.sizes))]
    assert means == sorted(means, reverse=True)
    first = result.rows[result.groups == 0]
    to_center = np.linalg.norm(X[first] - X[first].mean(axis=0), axis=1)
    np.testing.assert_allclose(to_center, np.sort(to_center), atol=1e-4)


def test_an_outlier_is_no_group() -> None:
    X, y = clouds()
    X[7] = 500
    labeled = labels_of(y, list(range(CLOUDS)), 20)
    assert 7 not in found(X, y, np.setdiff1d(labeled, [7])).rows


def test_it_repeats_and_is_empty_without_labels_or_candidates() -> None:
    X, y = clouds()
    labeled = labels_of(y, [0, 1], 12)
    first, again = found(X, y, labeled), found(X, y, labeled)
    assert first.rows.tolist() == again.rows.tolist()
    graph = knn_graph(X, 30)
    nobody = np.empty(0, np.int64)
    for candidates, labels in ((np.arange(480), nobody), (nobody, labeled)):
        result = unlike(X, graph.distances, candidates, labels, y[labels], np.random.default_rng(0))
        assert (result.rows.tolist(), result.sizes) == ([], [])


def test_few_labels_of_one_class_suffice() -> None:
    X, y = clouds()
    result = found(X, y, labels_of(y, [2], 1))
    assert len(result.rows) >= module.MIN_GROUP
    assert 2 not in y[result.rows[result.groups == 0]]


def test_rows_without_vectors_or_with_copies_only_are_left_out() -> None:
    X, y = clouds()
    X[:40] = X[0]  # no distance to their neighbors
    X[41] = np.nan
    labeled = np.append(labels_of(y, [0, 1, 2], 20), 41)
    assert not set(found(X, y, np.unique(labeled)).rows) & {*range(30), 41}


@pytest.mark.parametrize("n_labels", [2500])
def test_of_many_labels_equally_many_of_each_class_are_compared(n_labels: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(n_labels) < 0.02, 1, 0)
    chosen = module._balanced(labels, rng)
    assert len(chosen) == module.MAX_LABELS
    assert (labels[chosen] == 1).sum() == (labels == 1).sum(), "none of the small class is left out"
