"""The arrays on disk: whole or not there, old ones readable while new ones come, plain words when damaged."""

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from hoshina.core import storage
from modeling import store as disk
from modeling.models import EmbeddingSet
from tests.factories import MakeDataset, not_none

DIM = 5

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


@pytest.fixture
def vectors_of(make_dataset: MakeDataset) -> EmbeddingSet:
    return EmbeddingSet.objects.create(dataset=make_dataset(3), fingerprint="abc", encoder="test", dim=DIM)


def save(embedding_set: EmbeddingSet, rows: list[int], *, stamp: int = 7, value: float = 0.0) -> np.ndarray:
    """Return a part whose vectors are recognisable: row + value in every column."""
    vectors = np.repeat(np.array(rows, np.float32)[:, None] + value, DIM, axis=1).astype(np.float32)
    stamps = np.full(len(rows), stamp, np.uint64)
    disk.save_part(embedding_set, min(rows), max(rows) + 1, np.array(rows), stamps, vectors)
    return vectors


class TestVectors:
    def test_none_at_first(self, vectors_of: EmbeddingSet) -> None:
        assert disk.open_vectors(vectors_of) is None
        assert len(disk.open_stamps(vectors_of)) == 0
        assert not disk.has_parts(vectors_of)

    def test_parts_become_visible_together(self, vectors_of: EmbeddingSet) -> None:
        save(vectors_of, [5, 1, 2])
        save(vectors_of, [7, 6])
        assert disk.has_parts(vectors_of)
        assert disk.open_vectors(vectors_of) is None
        assert disk.merge_parts(vectors_of, 9) == 5
        found = not_none(disk.open_vectors(EmbeddingSet.objects.get()))
        assert isinstance(found.X, np.memmap)
        assert not found.X.flags.writeable
        assert found.X.shape == (9, DIM)
        assert found.dim == DIM
        assert found.has.nonzero()[0].tolist() == [1, 2, 5, 6, 7]
        assert found.X[:, 0].tolist() == [0, 1, 2, 0, 0, 5, 6, 7, 0]
        assert not disk.has_parts(vectors_of)
        assert EmbeddingSet.objects.get().n_vectors == 5

    def test_new_generation_keeps_what_is_not_new(self, vectors_of: EmbeddingSet) -> None:
        save(vectors_of, [0, 1, 2])
        disk.merge_parts(vectors_of, 3)
        before = disk.open_vectors(vectors_of)
        save(vectors_of, [1, 4], stamp=8, value=0.5)
        assert disk.merge_parts(vectors_of, 5) == 4
        after = disk.open_vectors(vectors_of)
        assert before is not None
        assert after is not None
        assert before.X[:, 0].tolist() == [0, 1, 2]  # whoever reads the old one is not disturbed
        assert after.X[:, 0].tolist() == [0, 1.5, 2, 0, 4.5]
        assert disk.open_stamps(vectors_of).tolist() == [7, 8, 7, 0, 8]
        assert after.generation > before.generation

    @pytest.mark.parametrize("block_bytes", [1, 3 * DIM * 4, 2**20])
    def test_merging_against_a_plain_dictionary(
        self, vectors_of: EmbeddingSet, block_bytes: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage, "_BLOCK_BYTES", block_bytes)
        rng = np.random.default_rng(block_bytes)
        truth: dict[int, tuple[int, list[float]]] = {}
        n_rows = 0
        for _ in range(4):
            shuffled = rng.permutation(60)[: rng.integers(1, 60)]
            for start in (0, 20, 40):  # the parts of one run never share a row
                rows = shuffled[(shuffled >= start) & (shuffled < start + 20)]
                stamps = rng.integers(0, 5, len(rows)).astype(np.uint64)
                values = rng.normal(size=(len(rows), DIM)).astype(np.float32)
                values[rng.random(len(rows)) < 0.2, 2] = np.nan
                disk.save_part(vectors_of, start, start + 20, rows, stamps, values)
                for row, stamp, value in zip(rows, stamps, values, strict=True):
                    usable = bool(stamp) and bool(np.isfinite(value).all())
                    truth[int(row)] = (int(stamp), value.tolist()) if usable else (0, [0.0] * DIM)
            n_rows = max(n_rows + 5, *truth, 0)
            disk.merge_parts(vectors_of, n_rows)
        found = not_none(disk.open_vectors(vectors_of))
        assert len(found) >= n_rows
        nothing = (0, [0.0] * DIM)
        stamps = disk.open_stamps(vectors_of)
        for row in range(len(found)):
            assert (int(stamps[row]), found.X[row].tolist()) == truth.get(row, nothing)
        assert found.has.tolist() == [bool(truth.get(row, nothing)[0]) for row in range(len(found))]

    @pytest.mark.parametrize("block_bytes", [1, 5 * 6 * 4, 2**20])
    def test_empty_slots_hold_the_mean_of_the_others_whatever_came_when(
        self, vectors_of: EmbeddingSet, block_bytes: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Three slots of two numbers; the rows of each part, and some of them again, in generations of any order."""
        monkeypatch.setattr(storage, "_BLOCK_BYTES", block_bytes)
        EmbeddingSet.objects.update(dim=6)
        vectors_of.refresh_from_db()
        rng = np.random.default_rng(block_bytes)
        truth: dict[int, np.ndarray] = {}
        for round_ in range(6):
            for start in rng.permutation([0, 20, 40]):
                rows = start + np.flatnonzero(rng.random(20) < 0.5)
                frames = rng.normal(size=(len(rows), 3, 2)).astype(np.float32)
                missing = rng.random((len(rows), 3)) < (0.0 if round_ == 0 else 0.3)
                disk.save_part(
                    vectors_of, start, start + 20, rows, np.full(len(rows), 7, np.uint64),
                    np.where(missing[..., None], 0, frames).reshape(-1, 6), missing,
                )  # fmt: skip
                for row, one, lacks in zip(rows.tolist(), frames, missing, strict=True):
                    truth[row] = np.where(lacks[:, None], np.nan, one)
            disk.merge_parts(vectors_of, 60)
            found = not_none(disk.open_vectors(vectors_of))
            known = {row: one for row, one in truth.items() if not np.isnan(one).all()}
            assert found.has.nonzero()[0].tolist() == sorted(known)
            means = np.nanmean(list(known.values()), axis=0)
            for row, one in known.items():
                np.testing.assert_allclose(found.X[row].reshape(3, 2), np.where(np.isnan(one), means, one), atol=1e-5)
            assert (found.X[~found.has] == 0).all()

    def test_a_damaged_list_of_empty_slots_has_all_computed_again(self, vectors_of: EmbeddingSet, store: Path) -> None:
        EmbeddingSet.objects.update(dim=6)
        vectors_of.refresh_from_db()
        missing = np.array([[False, True], [False, False]])
        disk.save_part(
            vectors_of, 0, 2, np.array([0, 1]), np.array([7, 7], np.uint64), np.ones((2, 6), np.float32), missing
        )
        disk.merge_parts(vectors_of, 2)
        assert disk.open_stamps(vectors_of).tolist() == [7, 7]
        (file,) = store.rglob("missing-*.npy")
        file.write_bytes(file.read_bytes()[:-1])
        assert not len(disk.open_stamps(vectors_of))

    def test_vector_that_is_not_finite_is_no_vector(self, vectors_of: EmbeddingSet) -> None:
        vectors = np.ones((2, DIM), np.float32)
        vectors[1, 3] = np.inf
        disk.save_part(vectors_of, 0, 2, np.array([0, 1]), np.array([3, 3], np.uint64), vectors)
        assert disk.merge_parts(vectors_of, 2) == 1
        found = not_none(disk.open_vectors(vectors_of))
        assert found.has.tolist() == [True, False]
        assert np.isfinite(found.X).all()

    def test_two_generations_are_kept(self, vectors_of: EmbeddingSet, store: Path) -> None:
        for round_ in range(4):
            save(vectors_of, [round_])
            disk.merge_parts(vectors_of, 4)
        folder = store / "vectors" / str(vectors_of.dataset_id) / "abc"
        assert sorted(file.name for file in folder.glob("vectors-*")) == ["vectors-3.npy", "vectors-4.npy"]
        assert sorted(file.name for file in folder.glob("stamps-*")) == ["stamps-3.npy", "stamps-4.npy"]
        assert not list(folder.rglob("*.tmp"))

    def test_reader_with_an_old_row_gets_the_new_generation(self, vectors_of: EmbeddingSet) -> None:
        save(vectors_of, [0])
        disk.merge_parts(vectors_of, 1)
        old = EmbeddingSet.objects.get()
        for row in (1, 2, 3):
            save(vectors_of, [row])
            disk.merge_parts(vectors_of, row + 1)
        found = not_none(disk.open_vectors(old))
        assert len(found) == 4
        assert found.generation == vectors_of.generation == old.generation

    def test_second_writer_is_refused(self, vectors_of: EmbeddingSet) -> None:
        believed_dead = EmbeddingSet.objects.get()
        save(vectors_of, [0])
        disk.merge_parts(vectors_of, 2)
        save(vectors_of, [1])
        with pytest.raises(disk.StoreError, match="at the same time"):
            disk.merge_parts(believed_dead, 2)
        assert disk.has_parts(vectors_of)
        assert disk.merge_parts(vectors_of, 2) == 2

    def test_full_disk_is_said_before_writing(self, vectors_of: EmbeddingSet, monkeypatch: pytest.MonkeyPatch) -> None:
        save(vectors_of, [0])
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(100, 99, 1))
        with pytest.raises(disk.StoreError, match=r"left; 0\.03 GB are needed") as raised:
            disk.merge_parts(vectors_of, 1_000_000)
        assert "Free some space" in raised.value.hint

    def test_damaged_part_is_left_out(
        self, vectors_of: EmbeddingSet, store: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        save(vectors_of, [0, 1])
        save(vectors_of, [2, 3])
        (part, _) = sorted((store / "vectors").rglob("parts/*.npy"))
        part.write_bytes(part.read_bytes()[:-3])
        assert disk.merge_parts(vectors_of, 4) == 2
        assert "damaged" in caplog.text
        assert not part.exists()

    def test_part_of_another_length_is_left_out(self, vectors_of: EmbeddingSet) -> None:
        vectors_of.dim = 3
        disk.save_part(vectors_of, 0, 1, np.array([0]), np.array([1], np.uint64), np.ones((1, 3), np.float32))
        vectors_of.dim = DIM
        assert disk.merge_parts(vectors_of, 1) == 0

    def test_delete(self, vectors_of: EmbeddingSet, store: Path) -> None:
        save(vectors_of, [0])
        disk.merge_parts(vectors_of, 1)
        disk.open_vectors(vectors_of)
        disk.delete_vectors(vectors_of)
        assert not list((store / "vectors").rglob("*.npy"))

    def test_stamp_is_the_start_of_the_hash_and_never_zero(self) -> None:
        assert disk.stamp_of("00000000000000ff" + "a" * 48) == 255
        assert disk.stamp_of("f" * 64) == 2**64 - 1
        assert disk.stamp_of("0" * 64) != 0


class TestDamage:
    @pytest.fixture
    def file(self, vectors_of: EmbeddingSet, store: Path) -> Path:
        save(vectors_of, list(range(20)))
        disk.merge_parts(vectors_of, 20)
        return store / "vectors" / str(vectors_of.dataset_id) / "abc" / "vectors-1.npy"

    def _damage(self, file: Path, kind: str) -> None:
        if kind == "cut short":
            file.write_bytes(file.read_bytes()[:-1])
        elif kind == "empty":
            file.write_bytes(b"")
        elif kind == "no array":
            file.write_bytes(b"x" * 1000)
        elif kind == "pickle":
            np.save(file, np.array([{"an": "object"}], dtype=object), allow_pickle=True)
        elif kind == "columns":
            np.save(file, np.zeros((20, DIM + 1), np.float32))
        elif kind == "type":
            np.save(file, np.zeros((20, DIM), np.float64))
        elif kind == "rows":
            np.save(file, np.zeros((19, DIM), np.float32))
        else:
            file.unlink()

    @pytest.mark.parametrize("kind", ["cut short", "empty", "no array", "pickle", "columns", "type", "rows", "missing"])
    def test_says_to_embed_again(self, kind: str, file: Path, vectors_of: EmbeddingSet) -> None:
        self._damage(file, kind)
        with pytest.raises(disk.StoreError, match=r"hoshina embed"):
            disk.open_vectors(vectors_of)
        assert len(disk.open_stamps(vectors_of)) == 0
        save(vectors_of, [3])
        assert disk.merge_parts(vectors_of, 20) == 1  # the way out works

    def test_damaged_stamps(self, file: Path, vectors_of: EmbeddingSet) -> None:
        np.save(file.with_name("stamps-1.npy"), np.zeros(20, np.int64))
        with pytest.raises(disk.StoreError, match="do not belong together"):
            disk.open_vectors(vectors_of)


def test_old_maps_are_let_go(tmp_path: Path) -> None:
    for number in range(40):
        np.save(tmp_path / f"{number}.npy", np.zeros((100, 100)))
        storage.map_array(tmp_path / f"{number}.npy", "")
    assert len(storage._maps) == 16


def test_abandoned_drafts_are_removed_in_time(
    vectors_of: EmbeddingSet, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(vectors_of, [0])
    parts = store / "vectors" / str(vectors_of.dataset_id) / "abc" / "parts"
    (parts / "draft.tmp").touch()
    disk.merge_parts(vectors_of, 1)
    assert (parts / "draft.tmp").exists()  # somebody may be writing it
    monkeypatch.setattr(storage, "_ABANDONED_SECONDS", -1)
    save(vectors_of, [1])
    disk.merge_parts(vectors_of, 2)
    assert not (parts / "draft.tmp").exists()


def test_more_parts_than_files_may_be_open(vectors_of: EmbeddingSet) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))
    try:
        for row in range(150):
            save(vectors_of, [row])
        assert disk.merge_parts(vectors_of, 150) == 150
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
