"""Test that folds are even, overall and in every class, and as even as groups allow."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from modeling.algorithms.folds import grouped_folds, groups_per_class, stratified_folds


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=80), st.integers(2, 10), st.integers(0, 3))
def test_folds_are_even_overall_and_in_every_class(labels: list[int], n_folds: int, seed: int) -> None:
    if n_folds > len(labels):
        with pytest.raises(ValueError, match="cannot be split"):
            stratified_folds(labels, n_folds, seed)
        return
    folds = stratified_folds(labels, n_folds, seed)
    for chosen in [range(len(labels))] + [[i for i, y in enumerate(labels) if y == k] for k in set(labels)]:
        sizes = Counter(folds[list(chosen)].tolist())
        counts = [sizes.get(fold, 0) for fold in range(n_folds)]
        assert max(counts) - min(counts) <= 1


def test_one_fold_is_no_folds() -> None:
    with pytest.raises(ValueError, match="cannot be split"):
        stratified_folds([0, 1, 0], 1)


# -- Groups -----------------------------------------------------------------------------------------
def some_groups(n_groups: int, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return classes and groups of 1 to 30 rows, each group mostly of one class, in random order."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(rng.permutation(10 * n_groups)[:n_groups], rng.integers(1, 31, n_groups))
    own = rng.integers(0, n_classes, 10 * n_groups)
    y = np.where(rng.random(groups.size) < 0.7, own[groups], rng.integers(0, n_classes, groups.size))
    order = rng.permutation(groups.size)
    return y[order], groups[order]


def unevenness(y: np.ndarray, folds: np.ndarray) -> float:
    """Return the root mean square deviation of the folds' shares of the classes, and of all rows, from equality."""
    n_folds = folds.max() + 1
    kinds = [np.ones(y.size, bool), *(y == label for label in np.unique(y))]
    shares = [np.bincount(folds[kind], minlength=n_folds) / kind.sum() - 1 / n_folds for kind in kinds]
    return float(np.sqrt(np.mean(np.square(shares))))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 12)), min_size=2, max_size=60),
    st.integers(2, 8),
    st.integers(0, 3),
)
def test_groups_are_never_divided_and_no_fold_is_empty(rows: list[tuple[int, int]], n_folds: int, seed: int) -> None:
    y, groups = np.array(rows).T
    if n_folds > len(set(groups.tolist())):
        with pytest.raises(ValueError, match="groups cannot be split"):
            grouped_folds(y, groups, n_folds, seed)
        return
    folds = grouped_folds(y, groups, n_folds, seed)
    assert set(folds.tolist()) == set(range(n_folds))
    for group in set(groups.tolist()):
        assert len(set(folds[groups == group].tolist())) == 1
    # The order of the rows does not matter.
    order = np.random.default_rng(seed).permutation(y.size)
    assert (grouped_folds(y[order], groups[order], n_folds, seed) == folds[order]).all()
    counts = [len({g for label, g in rows if label == own}) for own in range(int(y.max()) + 1)]
    assert groups_per_class(y, groups).tolist() == counts


@pytest.mark.parametrize(("n_groups", "n_classes"), [(25, 3), (60, 5), (200, 10)])
def test_folds_of_groups_are_as_even_as_those_of_scikit_learn(n_groups: int, n_classes: int) -> None:
    ours, theirs = [], []
    for seed in range(5):
        y, groups = some_groups(n_groups, n_classes, seed)
        ours.append(unevenness(y, grouped_folds(y, groups, 10, seed)))
        folds = np.empty(y.size, np.int64)
        for fold, (_, held) in enumerate(StratifiedGroupKFold(10).split(y, y, groups)):
            folds[held] = fold
        theirs.append(unevenness(y, folds))
    assert np.mean(ours) < 1.1 * np.mean(theirs)


def test_groups_of_one_row_are_split_evenly() -> None:
    y = np.random.default_rng(0).integers(0, 4, 400)
    folds = grouped_folds(y, np.arange(400), 10)
    for label in range(4):
        counts = np.bincount(folds[y == label], minlength=10)
        assert counts.max() - counts.min() <= 2
