"""Folds are even, overall and in every class."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling.algorithms.folds import stratified_folds


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
