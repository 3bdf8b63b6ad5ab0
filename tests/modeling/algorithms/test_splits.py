"""Splits keep classes in proportion, groups whole, and their answer for ever."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling.algorithms.splits import SPLITS, grouped_stratified_split, stratified_folds


def names(n: int, prefix: str = "g") -> list[str]:
    return [f"{prefix}{number}" for number in range(n)]


def test_every_class_gets_its_share_to_one_row_and_the_whole_too() -> None:
    labels = np.repeat(np.arange(40), np.arange(3, 83, 2))
    order = np.random.default_rng(0).permutation(labels.size)
    split = grouped_stratified_split(labels[order], names(labels.size), seed=3)
    shares = np.array([0.8, 0.1, 0.1])
    for position in range(40):
        inside = split[labels[order] == position]
        counts = np.bincount(inside, minlength=3)
        assert (np.abs(counts - shares * inside.size) < 1 + 1e-9).all()
        assert counts[0] >= 1
    whole = np.bincount(split, minlength=3)
    # Rounding every class alone would leave the small splits short by up to one row a class.
    assert (np.abs(whole - shares * labels.size) <= 3).all()


def test_a_large_class_is_divided_exactly() -> None:
    split = grouped_stratified_split(["a"] * 1000, names(1000), fractions=(0.7, 0.2, 0.1))
    assert np.bincount(split).tolist() == [700, 200, 100]
    assert split.dtype == np.int8
    assert len(SPLITS) == 3


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_groups_stay_whole_and_the_order_of_rows_does_not_matter(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    groups = data.draw(st.lists(st.integers(0, 25).map(str), min_size=n, max_size=n))
    seed = data.draw(st.integers(0, 5))
    fractions = data.draw(st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.5), (1.0,), (0.6, 0.0, 0.4)]))
    split = grouped_stratified_split(labels, groups, fractions=fractions, seed=seed)
    placed: dict[str, int] = {}
    for group, where in zip(groups, split.tolist(), strict=True):
        assert placed.setdefault(group, where) == where
        assert fractions[where] > 0
    order = np.array(data.draw(st.permutations(range(n))))
    again = grouped_stratified_split(labels[order], [groups[i] for i in order], fractions=fractions, seed=seed)
    assert (again == split[order]).all()


def test_large_groups_are_balanced_by_the_rows_that_stand_alone() -> None:
    # 30 duplicates of one image and 70 images that stand alone: still 50 and 50.
    groups = ["same"] * 30 + names(70)
    split = grouped_stratified_split([0] * 100, groups, fractions=(0.5, 0.5), seed=1)
    assert np.bincount(split).tolist() == [50, 50]
    assert len(set(split[:30].tolist())) == 1


def test_a_group_larger_than_any_share_goes_where_there_is_most_room() -> None:
    split = grouped_stratified_split([0] * 12, ["same"] * 10 + ["a", "b"], fractions=(0.6, 0.2, 0.2))
    assert set(split[:10].tolist()) == {0}
    assert sorted(split[10:].tolist()) == [1, 2]


def test_identical_files_with_different_labels_stay_together() -> None:
    labels = ["cat", "dog"] * 20 + ["cat"] * 40
    groups = [f"pair{i // 2}" for i in range(40)] + names(40)
    split = grouped_stratified_split(labels, groups, fractions=(0.5, 0.5))
    assert (split[0:40:2] == split[1:40:2]).all()
    assert abs(int(np.bincount(split)[0]) - 40) <= 1


def test_a_class_of_one_goes_to_training() -> None:
    split = grouped_stratified_split(np.arange(50), names(50))
    assert not split.any()


def test_the_division_is_the_same_on_every_machine() -> None:
    labels = [0, 1, 2] * 10
    split = grouped_stratified_split(labels, names(30), fractions=(0.5, 0.3, 0.2), seed=7)
    assert "".join(map(str, split.tolist())) == "120100211021000002002010100211"
    assert "".join(map(str, stratified_folds(labels, 4, seed=7).tolist())) == "323131002010231332020203121110"


def test_another_seed_divides_differently() -> None:
    labels = [0] * 200
    first, second = (grouped_stratified_split(labels, names(200), seed=seed) for seed in (0, 1))
    assert (first != second).any()
    assert (stratified_folds(labels, 5, 0) != stratified_folds(labels, 5, 1)).any()


def test_most_rows_keep_their_split_when_rows_are_added() -> None:
    labels = np.zeros(1100, int)
    before = grouped_stratified_split(labels[:1000], names(1000))
    after = grouped_stratified_split(labels, names(1100))
    assert (before == after[:1000]).mean() > 0.95


@pytest.mark.parametrize("fractions", [(0.5, 0.4), (1.2, -0.2), ()])
def test_fractions_must_make_a_whole(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="fractions"):
        grouped_stratified_split([0], ["a"], fractions=fractions)


def test_rows_without_a_group_are_refused_and_no_rows_are_fine() -> None:
    with pytest.raises(ValueError, match="one label and one group"):
        grouped_stratified_split([0, 1], ["a"])
    assert grouped_stratified_split([], []).size == 0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=80), st.integers(2, 10), st.integers(0, 3))
def test_folds_are_even_overall_and_in_every_class(labels: list[int], n_folds: int, seed: int) -> None:
    if n_folds > len(labels):
        with pytest.raises(ValueError, match="cannot be dealt"):
            stratified_folds(labels, n_folds, seed)
        return
    folds = stratified_folds(labels, n_folds, seed)
    for chosen in [range(len(labels))] + [[i for i, y in enumerate(labels) if y == k] for k in set(labels)]:
        sizes = Counter(folds[list(chosen)].tolist())
        counts = [sizes.get(fold, 0) for fold in range(n_folds)]
        assert max(counts) - min(counts) <= 1


def test_one_fold_is_no_folds() -> None:
    with pytest.raises(ValueError, match="cannot be dealt"):
        stratified_folds([0, 1, 0], 1)
