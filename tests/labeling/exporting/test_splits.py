"""Test splits: exact quotas, identical files in the same split, and independence of the order of rows."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from labeling.exporting.small_classes import split_warnings
from labeling.exporting.splits import assign_splits, joined, quotas, split_key
from tests.processes import run_python

# Do not fail on a busy machine.
unhurried = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
proportions = st.tuples(*[st.integers(0, 100)] * 3).filter(lambda shares: sum(shares) > 0)
# (file, class) of each item, with few files, so that many are identical and often labeled differently.
items = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), max_size=120)


def keys_of(files: Sequence[int], seed: int = 0) -> NDArray[np.uint64]:
    return np.array([split_key(f"{file:064x}", seed) for file in files], dtype=np.uint64)


@unhurried
@given(sizes=st.lists(st.integers(0, 50), max_size=40), shares=proportions)
def test_quotas_round_each_exact_share_up_or_down(sizes: list[int], shares: tuple[int, ...]) -> None:
    table = quotas(sizes, shares)
    exact = np.outer(sizes, shares) / sum(shares)
    assert table.sum(axis=1).tolist() == sizes
    assert (np.abs(table - exact) < 1 - 1e-9).all()


@unhurried
@given(sizes=st.lists(st.integers(0, 50), max_size=40), shares=proportions)
def test_quotas_over_all_classes_stay_near_the_exact_share(sizes: list[int], shares: tuple[int, ...]) -> None:
    exact = np.outer(sizes, shares).sum(axis=0) / sum(shares)
    assert (np.abs(quotas(sizes, shares).sum(axis=0) - exact) < 2).all()


def test_many_small_classes_fill_validation_and_test_alike() -> None:
    train, val, test = quotas([5] * 100, (80, 10, 10)).sum(axis=0)
    assert (train, val, test) == (400, 50, 50)


@pytest.mark.parametrize("shares", [(0, 0, 0), (50, -10, 60)])
def test_quotas_refuse_impossible_proportions(shares: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        quotas([3], shares)


@unhurried
@given(items=items, shares=proportions, seed=st.integers(0, 2**63 - 1))
def test_identical_files_share_a_split(items: list[tuple[int, int]], shares: tuple[int, ...], seed: int) -> None:
    files = [file for file, _ in items]
    classes = np.array([label for _, label in items], dtype=np.int64)
    splits = assign_splits(keys_of(files, seed), classes, proportions=shares)
    assert len(splits) == len(items)
    by_file: dict[int, set[int]] = {}
    for file, split in zip(files, splits.tolist(), strict=True):
        by_file.setdefault(file, set()).add(split)
    assert all(len(splits_of_file) == 1 for splits_of_file in by_file.values())


@unhurried
@given(items=items, shares=proportions, data=st.data())
def test_the_order_of_rows_does_not_matter(
    items: list[tuple[int, int]], shares: tuple[int, ...], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(items))))

    def split(rows: Sequence[tuple[int, int]]) -> list[int]:
        classes = np.array([label for _, label in rows], dtype=np.int64)
        return assign_splits(keys_of([file for file, _ in rows]), classes, proportions=shares).tolist()

    assert split([items[place] for place in order]) == [split(items)[place] for place in order]


@unhurried
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5), shares=proportions)
def test_different_files_meet_the_quotas_exactly(sizes: list[int], shares: tuple[int, ...]) -> None:
    classes = np.repeat(np.arange(len(sizes)), sizes)
    splits = assign_splits(keys_of(range(len(classes))), classes, proportions=shares)
    expected = quotas(sizes, shares)
    for label in range(len(sizes)):
        assert np.bincount(splits[classes == label], minlength=3).tolist() == expected[label].tolist()


@unhurried
@given(groups=st.lists(st.integers(1, 6), min_size=1, max_size=30), shares=proportions)
def test_groups_come_as_near_to_the_quotas_as_the_largest_allows(groups: list[int], shares: tuple[int, ...]) -> None:
    files = np.repeat(np.arange(len(groups)), groups)
    splits = assign_splits(keys_of(files.tolist()), np.zeros(len(files), dtype=np.int64), proportions=shares)
    expected = quotas([len(files)], shares)[0]
    assert (np.abs(np.bincount(splits, minlength=3) - expected) <= max(groups)).all()


def test_a_group_counts_for_the_class_that_most_of_it_carry() -> None:
    # File 0 four times: three of class 1, one of class 0; class 0 has ten other files.
    files = [0] * 4 + list(range(1, 11))
    classes = np.array([1, 1, 0, 1] + [0] * 10, dtype=np.int64)
    splits = assign_splits(keys_of(files), classes, proportions=(80, 10, 10))
    assert Counter(splits[4:].tolist()) == {0: 8, 1: 1, 2: 1}
    assert set(splits[:4].tolist()) == {0}


def test_another_seed_gives_other_splits() -> None:
    classes = np.zeros(200, dtype=np.int64)
    first, second = (assign_splits(keys_of(range(200), seed), classes, proportions=(50, 25, 25)) for seed in (1, 2))
    assert (first != second).any()


def test_more_labels_move_few_test_items() -> None:
    before, after = (
        assign_splits(keys_of(range(n)), np.zeros(n, dtype=np.int64), proportions=(80, 10, 10)) for n in (1000, 1010)
    )
    assert (before != after[:1000]).sum() <= 40  # about 200 if they were drawn again


def test_nothing_to_divide() -> None:
    nothing = assign_splits(np.zeros(0, np.uint64), np.zeros(0, np.int64), proportions=(80, 10, 10))
    assert nothing.shape == (0,)


@pytest.mark.slow
def test_the_key_is_the_same_whatever_the_hash_seed() -> None:
    code = (
        "import django; django.setup(); from labeling.exporting.splits import split_key; print(split_key('ab' * 32, 7))"
    )
    outputs = {run_python("-c", code, PYTHONHASHSEED=seed).stdout.strip() for seed in ("1", "2")}
    keyed = hashlib.blake2b(b"ab" * 32, digest_size=8, key=b"7", person=b"hoshina-split")
    assert outputs == {str(int.from_bytes(keyed.digest(), "big"))}
    assert split_key("ab" * 32, 7) != split_key("ab" * 32, 8)


# -- What belongs together ----------------------------------------------------------------------------
def oracle_of_joined(columns: list[list[int]]) -> list[int]:
    """Return the smallest key reachable from each item, by walking from key to key."""
    reached = []
    for item in range(len(columns[0])):
        keys = {column[item] for column in columns}
        while True:
            more = {
                column[other]
                for other in range(len(columns[0]))
                if keys & {column[other] for column in columns}
                for column in columns
            }
            if more <= keys:
                break
            keys |= more
        reached.append(min(keys))
    return reached


@unhurried
@given(
    columns=st.integers(0, 12).flatmap(
        lambda n: st.lists(st.lists(st.integers(0, 25), min_size=n, max_size=n), min_size=1, max_size=3)
    )
)
def test_items_are_joined_through_any_key(columns: list[list[int]]) -> None:
    keys = joined([np.array(column, dtype=np.uint64) for column in columns])
    assert keys.tolist() == (columns[0] if len(columns) == 1 else oracle_of_joined(columns))
    assert keys.tolist() == joined([np.array(column, dtype=np.uint64) for column in columns[::-1]]).tolist() or (
        len(columns) == 1
    )


def test_keys_of_all_64_bits_are_joined_exactly() -> None:
    first = np.array([2**64 - 1, 2**64 - 2, 5], dtype=np.uint64)
    assert joined([first, np.array([7, 5, 2**64 - 2], dtype=np.uint64)]).tolist() == [7, 5, 5]


def test_groups_of_several_classes_keep_every_class_near_its_quota() -> None:
    """Test thirty nights of 20 images with different mixtures of three classes."""
    rng = np.random.default_rng(3)
    nights = np.repeat(np.arange(30), 20)
    classes = np.concatenate([rng.choice(3, size=20, p=rng.dirichlet([2, 2, 2])) for _ in range(30)])
    splits = assign_splits(keys_of(nights.tolist()), classes, proportions=(60, 20, 20))
    assert all(len(set(splits[nights == night].tolist())) == 1 for night in range(30))
    expected = quotas(np.bincount(classes).tolist(), (60, 20, 20))
    counts = np.array([np.bincount(splits[classes == label], minlength=3) for label in range(3)])
    assert np.abs(counts - expected).max() <= 12
    assert np.abs(counts.sum(axis=0) - expected.sum(axis=0)).max() <= 20


def test_classes_with_too_few_images_are_named() -> None:
    counts = {"cat": (70, 10, 20), "dog": (3, 0, 1), "eel": (2, 0, 0), "fox": (0, 0, 0)}
    assert split_warnings(counts, (70, 10, 20)) == [
        "No image is labeled fox.",
        "No image of dog or eel is in the split val: label more of them.",
        "No image of eel is in the split test: label more of them.",
        "Accuracy by class will be imprecise: fewer than 10 test images of dog (1).",
    ]


def test_a_split_of_no_images_is_no_warning() -> None:
    assert split_warnings({"cat": (80, 0, 20), "dog": (80, 0, 20)}, (80, 0, 20)) == []


def test_many_classes_without_labels_are_not_all_named() -> None:
    (warning,) = split_warnings(dict.fromkeys("abcdefgh", (0, 0, 0)), (70, 10, 20))
    assert warning == "No image is labeled a, b, c, d, e, f or 2 others."
