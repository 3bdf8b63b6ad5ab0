"""Test the parts of the search for near-duplicates against slow and obvious implementations."""

from collections import deque
from itertools import combinations

import numpy as np
import pytest
from scipy.fft import dctn

from modeling.algorithms.near_duplicates import grouped, nearest_of_each
from modeling.algorithms.perceptual_hash import BANDS, SIDE, hashes_of, signature_of
from modeling.algorithms.registration import differences
from modeling.algorithms.similar_hashes import MAX_BITS, PER_IMAGE, similar_hashes
from tests.modeling.leakage.pictures import copies, picture


def silently(stage: str, done: int, total: int) -> None:
    assert stage


def test_the_hash_is_what_its_definition_says() -> None:
    """Compare the 128 lowest frequencies, in turns over the bands, each with the median of its band."""
    rng = np.random.default_rng(1)
    signatures = rng.integers(0, 256, (20, SIDE, SIDE), dtype=np.uint8)
    lowest = sorted((y * y + x * x, y, x) for y in range(SIDE) for x in range(SIDE))[1 : BANDS * 16 + 1]
    for signature, words in zip(signatures, hashes_of(signatures), strict=True):
        spectrum = dctn(signature.astype(float), norm="ortho")
        values = [spectrum[y, x] for _, y, x in lowest]
        for band in range(BANDS):
            of_band = values[band::BANDS]
            bits = [value > np.median(of_band) for value in of_band]
            assert int(words[band]) == sum(1 << place for place, bit in enumerate(bits) if bit)


def flipped(rng: np.random.Generator, hashed: np.ndarray, n_bits: int) -> np.ndarray:
    bits = np.unpackbits(hashed.view(np.uint8))
    bits[rng.choice(128, n_bits, replace=False)] ^= 1
    flips: np.ndarray = np.packbits(bits).view(np.uint16)
    return flips


def test_similar_hashes_are_all_pairs_that_agree_in_a_band_and_differ_in_few_bits() -> None:
    rng = np.random.default_rng(2)
    families = []
    for hashed in rng.integers(0, 2**16, (80, BANDS), dtype=np.uint16):
        families += [hashed, *(flipped(rng, hashed, n) for n in rng.integers(0, 60, 5))]
        # Equal in one band only, so too many bits differ.
        families.append(np.where(np.arange(BANDS) == 3, hashed, rng.integers(0, 2**16, BANDS)).astype(np.uint16))
    hashes = np.array(families)[rng.permutation(len(families))]
    rows = np.flatnonzero(rng.random(len(hashes)) < 0.9)
    wanted, n_far = [], 0
    for first, second in combinations(rows.tolist(), 2):
        if (hashes[first] == hashes[second]).any():
            is_near = sum((int(a) ^ int(b)).bit_count() for a, b in zip(hashes[first], hashes[second], strict=True))
            wanted += [[first, second]] if is_near <= MAX_BITS else []
            n_far += is_near > MAX_BITS
    assert len(wanted) > 100
    assert n_far > 50
    assert similar_hashes(hashes, rows, silently).tolist() == wanted


def test_equal_hashes_give_few_pairs_per_image_and_leave_others_theirs() -> None:
    rng = np.random.default_rng(3)
    other = rng.integers(0, 2**16, (50, BANDS), dtype=np.uint16)
    hashes = np.concatenate([np.zeros((1000, BANDS), np.uint16), other, other])
    pairs = similar_hashes(hashes, np.arange(len(hashes)), silently)
    of_equal = pairs[pairs[:, 0] < 1000]
    assert len(of_equal) <= 1000 * PER_IMAGE
    assert len(np.unique(of_equal)) == 1000
    assert set(map(tuple, pairs[pairs[:, 0] >= 1000].tolist())) >= {(1000 + i, 1050 + i) for i in range(50)}
    assert similar_hashes(hashes[:1], np.arange(1), silently).shape == (0, 2)
    assert similar_hashes(hashes, np.arange(0), silently).shape == (0, 2)


def test_the_nearest_of_each_row_are_chosen() -> None:
    rng = np.random.default_rng(4)
    drawn = np.sort(rng.integers(0, 30, (150, 2)), axis=1)
    pairs = np.unique(drawn[drawn[:, 0] < drawn[:, 1]], axis=0)
    apart = rng.permutation(len(pairs)).astype(np.float32)
    chosen = nearest_of_each(pairs, apart, 3)
    for place, pair in enumerate(pairs.tolist()):
        is_wanted = any(
            sum(apart[place] > apart[other] for other in np.flatnonzero((pairs == row).any(axis=1))) < 3 for row in pair
        )
        assert chosen[place] == is_wanted
    assert 0 < chosen.sum() < len(pairs)
    assert nearest_of_each(pairs[:0], apart[:0], 3).shape == (0,)


def test_groups_are_the_connected_components() -> None:
    rng = np.random.default_rng(5)
    n = 200
    pairs = rng.integers(0, n, (120, 2))
    neighbors: dict[int, set[int]] = {row: {row} for row in range(n)}
    for first, second in pairs.tolist():
        neighbors[first].add(second)
        neighbors[second].add(first)
    wanted = np.full(n, -1)
    for start in range(n):
        waiting = deque([start] if wanted[start] < 0 else [])
        while waiting:
            row = waiting.popleft()
            if wanted[row] < 0:
                wanted[row] = start
                waiting.extend(neighbors[row])
    assert grouped(pairs, n).tolist() == wanted.tolist()


@pytest.mark.parametrize("limit", [0.02, 0.1])
def test_alignments_that_are_given_up_are_those_above_the_limit(limit: float) -> None:
    pictures = [picture(seed) for seed in range(12)]
    signatures = np.stack([signature_of(each) for image in pictures for each in (image, *copies(image))])
    pairs = np.array(list(combinations(range(len(signatures)), 2)))
    full, limited = differences(signatures, pairs), differences(signatures, pairs, limit)
    below = full <= limit
    assert 12 * 6 <= below.sum() < len(pairs) / 2
    assert np.array_equal(limited <= limit, below)
    np.testing.assert_allclose(limited[below], full[below], atol=1e-6)
