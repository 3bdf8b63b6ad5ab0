"""Test components of the k-NN graph and their agreement against slow and simple implementations."""

import numpy as np
import pytest
from scipy.stats import beta

from modeling.algorithms.neighbors import Graph, knn_graph
from sampling.algorithms.components import components_within, largest_component, reliable_components
from tests.factories import not_none


def bursts(n_bursts: int, seed: int = 0, length: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of bursts far from each other, each a chain of small steps, and the number of each row's burst."""
    rng = np.random.default_rng(seed)
    of_row = np.repeat(np.arange(n_bursts), length)
    step = np.tile(np.arange(length), n_bursts)
    X = 1000 * of_row[:, None] + 0.5 * step[:, None] + 0.01 * rng.normal(size=(len(of_row), 4))
    return X.astype(np.float32), of_row


def slow_components(graph: Graph, radius: float) -> list[set[int]]:
    """Return the components by merging sets."""
    parts = [{row} for row in range(len(graph.indices))]
    for row, (near, far) in enumerate(zip(graph.indices.tolist(), graph.distances.tolist(), strict=True)):
        for other, distance in zip(near, far, strict=True):
            if other >= 0 and distance <= radius:
                one, two = (next(part for part in parts if member in part) for member in (row, other))
                if one is not two:
                    parts.remove(two)
                    one |= two
    return parts


@pytest.mark.parametrize("radius", [0.0, 0.2, 1.5, 40.0])
def test_components_are_joined_by_short_edges(radius: float) -> None:
    X = np.random.default_rng(3).normal(size=(60, 3)).astype(np.float32)
    X[7], X[8] = X[9], np.nan
    graph = knn_graph(X, 4)
    of_row = components_within(graph, radius)
    parts = {frozenset(np.flatnonzero(of_row == number).tolist()) for number in np.unique(of_row)}
    assert parts == set(map(frozenset, slow_components(graph, radius)))


def test_a_burst_is_a_group_though_its_ends_are_far_apart() -> None:
    X, of_row = bursts(60)
    rng = np.random.default_rng(1)
    labeled = np.sort(rng.permutation(len(X))[:200])
    components = not_none(reliable_components(knn_graph(X, 8), labeled, of_row[labeled] % 3, rng=rng))
    assert 1.0 <= components.agreement.radius < 10
    assert components.agreement.share == 1
    # Comparisons: all labels of a burst but one.
    assert components.agreement.n_pairs == 200 - len(np.unique(of_row[labeled]))
    assert components.agreement.low == pytest.approx(0.025 ** (1 / components.agreement.n_pairs), abs=1e-6)
    group = largest_component(X, components, np.setdiff1d(np.arange(len(X)), labeled), 240)
    assert len(set(of_row[group.rows])) == 1
    assert len(group.rows) == max(np.bincount(np.delete(of_row, labeled)))
    assert (np.diff(group.distances) >= 0).all()
    assert largest_component(X, components, np.arange(len(X)), 3).rows.tolist() == [
        *largest_component(X, components, np.arange(len(X)), 6).rows[:3].tolist()
    ]


def test_the_radius_ends_where_labels_differ() -> None:
    """Pairs of bursts of two classes lie close to each other: joined they would agree in half of the comparisons."""
    X, of_row = bursts(100)
    X[of_row % 2 == 1] = X[of_row % 2 == 0] + 5  # 2.5 from the end of the other, in each of four dimensions
    labeled = np.arange(0, len(X), 2)
    components = not_none(
        reliable_components(knn_graph(X, 8), labeled, of_row[labeled] % 2, rng=np.random.default_rng(0))
    )
    assert components.agreement.radius < 5
    assert len(np.unique(components.of_row)) == 100


def test_disagreement_lowers_the_interval_and_mixed_groups_are_left_out() -> None:
    X, of_row = bursts(100)
    labels = of_row % 2
    labels[0] = 1  # of the first burst, whose other labels are 0
    components = not_none(reliable_components(knn_graph(X, 8), np.arange(600), labels, rng=np.random.default_rng(0)))
    agreement = components.agreement
    assert (agreement.n_pairs, agreement.share) == (500, 499 / 500)
    assert (agreement.low, agreement.high) == pytest.approx(
        (beta.ppf(0.025, 499, 2), beta.ppf(0.975, 500, 1)), abs=1e-6
    )
    assert np.flatnonzero(components.is_mixed).tolist() == [components.of_row[0]]
    group = largest_component(X, components, np.arange(12), 240)
    assert set(of_row[group.rows]) == {1}, "the first burst has labels of two classes"
    assert not len(largest_component(X, components, np.arange(6), 240).rows)


@pytest.mark.parametrize(("n_labeled", "is_enough"), [(72, False), (73, True)])
def test_73_labels_of_one_component_are_enough(n_labeled: int, is_enough: bool) -> None:
    X = np.zeros((100, 2), np.float32)
    found = reliable_components(knn_graph(X, 99), range(n_labeled), np.zeros(n_labeled), rng=np.random.default_rng(0))
    assert (found is not None) is is_enough


def test_what_one_key_labeled_counts_once() -> None:
    graph, rng = knn_graph(np.zeros((200, 2), np.float32), 199), np.random.default_rng(0)
    assert reliable_components(graph, range(150), np.zeros(150), rng=rng, pressed=lambda rows: rows * 0) is None
    found = not_none(reliable_components(graph, range(150), np.zeros(150), rng=rng, pressed=lambda rows: rows // 2))
    assert found.agreement.n_pairs == 74


@pytest.mark.parametrize("n", [0, 1])
def test_without_labels_nothing_is_known(n: int) -> None:
    graph, rng = knn_graph(np.zeros((5, 2), np.float32), 3), np.random.default_rng(0)
    assert reliable_components(graph, range(n), np.zeros(n), rng=rng) is None
    assert reliable_components(knn_graph(np.zeros((1, 2), np.float32), 3), [0], [0], rng=rng) is None


def test_agreement_is_measured_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampling.algorithms.components.LABELED_SAMPLE", 90)
    asked: list[int] = []

    def pressed(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return -rows

    graph = knn_graph(np.zeros((200, 2), np.float32), 199)
    found = not_none(
        reliable_components(graph, range(150), np.zeros(150), rng=np.random.default_rng(0), pressed=pressed)
    )
    assert asked == [90]
    assert found.agreement.n_pairs == 89
