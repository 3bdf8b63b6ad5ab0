"""What a model version keeps on disk: whole or not there, and plain words when damaged."""

from pathlib import Path

import numpy as np
import pytest

from hoshina.core.storage import StoreError
from modeling.algorithms.head import Head
from modeling.models import ModelVersion
from modeling.versions import model_files as kept
from tests.factories import MakeDataset, not_none
from tests.modeling.factories import make_version

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


@pytest.fixture
def version(make_dataset: MakeDataset) -> ModelVersion:
    dataset = make_dataset(3, name="modelled")
    return make_version(dataset, class_ids=[4, 5, 6], n_rows=10)


class TestProbabilities:
    def test_none_at_first(self, version: ModelVersion) -> None:
        assert kept.open_probabilities(version) is None

    def test_what_is_not_written_is_nan(self, version: ModelVersion) -> None:
        with kept.save_probabilities(version, 10, 3) as out:
            out[[2, 7]] = [[0.1, 0.2, 0.7], [1, 0, 0]]
            assert kept.open_probabilities(version) is None
        found = not_none(kept.open_probabilities(version))
        assert (found.dtype, found.shape) == (np.float32, (10, 3))
        assert np.isnan(found[:, 0]).nonzero()[0].tolist() == [0, 1, 3, 4, 5, 6, 8, 9]
        np.testing.assert_allclose(found[2], [0.1, 0.2, 0.7], rtol=1e-6)
        with pytest.raises(ValueError):
            found[0] = 0

    def test_is_mapped_once(self, version: ModelVersion) -> None:
        with kept.save_probabilities(version, 10, 3) as out:
            out[:] = 1
        assert kept.open_probabilities(version) is kept.open_probabilities(version)

    def test_a_failure_leaves_nothing(self, version: ModelVersion, store: Path) -> None:
        def fail() -> None:
            with kept.save_probabilities(version, 10, 3) as out:
                out[:5] = 0
                raise RuntimeError("cancelled")

        with pytest.raises(RuntimeError, match="cancelled"):
            fail()
        assert kept.open_probabilities(version) is None
        assert not [file for file in (store / "models").rglob("*") if file.is_file()]

    def test_writing_again_disturbs_no_reader(self, version: ModelVersion) -> None:
        for value in (0.25, 0.75):
            with kept.save_probabilities(version, 4, 3) as out:
                out[:] = value
            if value == 0.25:
                old = kept.open_probabilities(version)
        new = kept.open_probabilities(version)
        assert old is not None
        assert new is not None
        assert (old[0, 0], new[0, 0]) == (0.25, 0.75)

    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_damage_says_to_retrain(self, version: ModelVersion, store: Path, n_classes: int) -> None:
        with kept.save_probabilities(version, 100, n_classes) as out:
            out[:] = 0
        if n_classes == 3:
            (file,) = (store / "models").rglob("*.npy")
            file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(StoreError, match="Retrain"):
            kept.open_probabilities(version)

    def test_no_rows(self, version: ModelVersion) -> None:
        with kept.save_probabilities(version, 0, 3) as out:
            assert len(out) == 0
        assert not_none(kept.open_probabilities(version)).shape == (0, 3)

    def test_delete(self, version: ModelVersion) -> None:
        with kept.save_probabilities(version, 4, 3) as out:
            out[:] = 0
        kept.open_probabilities(version)
        kept.delete_files(version)
        assert kept.open_probabilities(version) is None
        kept.delete_files(version)  # again: nothing to do


class TestHeldOut:
    ROWS = np.array([2, 5, 9])
    COLUMNS = np.array([0, 2, 2])
    P = np.array([[0.5, 0.25, 0.25], [0.125, 0.375, 0.5], [1, 0, 0]], np.float32)

    def save(self, version: ModelVersion) -> None:
        kept.save_held_out(version, kept.HeldOut(self.ROWS, self.COLUMNS, self.P))

    def test_none_at_first(self, version: ModelVersion) -> None:
        assert kept.open_held_out(version) is None

    def test_comes_back_as_it_was(self, version: ModelVersion) -> None:
        self.save(version)
        found = not_none(kept.open_held_out(version))
        assert (found.rows.tolist(), found.columns.tolist()) == ([2, 5, 9], [0, 2, 2])
        assert found.probabilities.dtype == np.float32
        np.testing.assert_array_equal(found.probabilities, self.P)

    def test_goes_with_the_probabilities(self, version: ModelVersion, store: Path) -> None:
        with kept.save_probabilities(version, 4, 3) as out:
            out[:] = 0
        self.save(version)
        kept.delete_files(version)
        assert kept.open_held_out(version) is None
        assert not [file for file in (store / "models").rglob("*") if file.is_file()]

    @pytest.mark.parametrize("kind", ["cut short", "classes", "plain"])
    def test_damage_says_to_retrain(self, version: ModelVersion, store: Path, kind: str) -> None:
        self.save(version)
        (file,) = (store / "models").rglob("held_out.npy")
        if kind == "cut short":
            file.write_bytes(file.read_bytes()[:-5])
        elif kind == "plain":
            np.save(file, self.P)
        else:
            version.class_ids = [4, 5]
        with pytest.raises(StoreError, match="Retrain"):
            kept.open_held_out(version)


class TestHead:
    def test_comes_back_as_it_was(self, version: ModelVersion) -> None:
        assert kept.open_head(version) is None
        weights, bias = np.arange(15, dtype=np.float32).reshape(5, 3), np.array([0, 1, -1e9], np.float32)
        kept.save_head(version, Head(weights, bias, 7, True))
        found = not_none(kept.open_head(version))
        np.testing.assert_array_equal(found.weights, weights)
        np.testing.assert_array_equal(found.bias, bias)

    @pytest.mark.parametrize("kind", ["cut short", "empty", "other"])
    def test_damage_says_to_retrain(self, version: ModelVersion, store: Path, kind: str) -> None:
        kept.save_head(version, Head(np.zeros((5, 3), np.float32), np.zeros(3, np.float32), 7, True))
        (file,) = (store / "models").rglob("head.npz")
        if kind == "other":
            np.savez(file, mean=np.zeros(3))
        else:
            file.write_bytes(file.read_bytes()[:-100] if kind == "cut short" else b"")
        with pytest.raises(StoreError, match="Retrain"):
            kept.open_head(version)
