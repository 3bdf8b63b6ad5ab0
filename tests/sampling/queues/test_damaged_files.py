"""Derived files that are damaged are computed again, and the log says so once."""

import logging
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.images.rendering import DEFAULT
from labeling.images.thumbnails import TILE, Cache, encoded
from labeling.models import Dataset
from modeling import predictions
from modeling.backends import litert
from modeling.encoders import neighbor_cache
from modeling.models import EmbeddingSet
from modeling.predictions import active_predictions
from modeling.store import Vectors, open_vectors
from sampling.queues.outlier_cache import has_oddness, inverse_lengths_of, oddness_of
from tests.factories import MakeDataset, not_none
from tests.modeling.factories import add_vectors, import_labels, two_clouds

N = 200
KINDS = ("empty", "half", "header", "other content")


def damage(file: Path, kind: str) -> None:
    content = file.read_bytes()
    damaged = {"empty": b"", "half": content[: len(content) // 2], "header": content[:40], "other content": b"x" * 500}
    # Another file of the same name, as after a crash: what is mapped elsewhere stays as it was.
    draft = file.with_suffix(".damaged")
    draft.write_bytes(damaged[kind])
    draft.replace(file)


@pytest.fixture
def dataset(make_dataset: MakeDataset, store: Path) -> Dataset:
    """Provide 200 items with vectors of two clouds."""
    dataset = make_dataset(N)
    add_vectors(dataset, two_clouds(N)[0])
    return dataset


@pytest.fixture
def vectors(dataset: Dataset) -> tuple[EmbeddingSet, Vectors]:
    embedding_set = EmbeddingSet.objects.get(dataset=dataset)
    found = not_none(open_vectors(embedding_set))
    return embedding_set, found


Derive = Callable[[EmbeddingSet, Vectors], "np.ndarray"]
DERIVED: dict[str, Derive] = {
    "projection": lambda embedding_set, vectors: neighbor_cache.principal_components_of(embedding_set, vectors),
    "unit": lambda embedding_set, vectors: neighbor_cache.principal_components_of(embedding_set, vectors, is_unit=True),
    "graph": lambda embedding_set, vectors: neighbor_cache.graph_of(embedding_set, vectors).distances,
    "unitgraph": lambda embedding_set, vectors: neighbor_cache.graph_of(embedding_set, vectors, is_unit=True).distances,
    "factor": lambda embedding_set, vectors: oddness_of(embedding_set, vectors, "local outlier factor"),
    "isolation": lambda embedding_set, vectors: oddness_of(embedding_set, vectors, "isolation forest"),
    "inverse": inverse_lengths_of,
}


@pytest.mark.django_db
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DERIVED)
def test_what_queues_and_maps_share_is_computed_again(
    vectors: tuple[EmbeddingSet, Vectors], store: Path, name: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = np.array(DERIVED[name](*vectors))
    (file,) = store.rglob(f"{name}-*.np[yz]")
    damage(file, kind)
    np.testing.assert_array_equal(DERIVED[name](*vectors), before)
    np.testing.assert_array_equal(DERIVED[name](*vectors), before)
    assert [record.levelname for record in caplog.records if "is damaged" in record.message] == ["WARNING"]


@pytest.mark.django_db
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_does_not_count_as_there(vectors: tuple[EmbeddingSet, Vectors], store: Path, kind: str) -> None:
    """Or a page would compute in the web process what takes minutes for very many images."""
    oddness_of(*vectors, "local outlier factor")
    assert has_oddness(vectors[0], "local outlier factor")
    assert neighbor_cache.recall_of(vectors[0]) == 1
    for name in ("factor", "graph"):
        (file,) = store.rglob(f"{name}-*.np[yz]")
        damage(file, kind)
    assert not has_oddness(vectors[0], "local outlier factor")
    assert neighbor_cache.recall_of(vectors[0]) is None


@pytest.mark.django_db
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_probabilities_bring_a_retrain_once(
    dataset: Dataset, store: Path, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "_damaged", set())
    import_labels(dataset, list(range(60)), two_clouds(N)[1])
    run_now("retrain", dataset_id=dataset.pk)
    (file,) = store.rglob("probabilities.npy")
    damage(file, kind)
    caplog.set_level(logging.ERROR)
    for _ in range(3):
        assert active_predictions(dataset) is None, "pages go on without suggestions"
    job = Job.objects.get(kind="retrain", state=Job.State.QUEUED)
    assert caplog.text.count("cannot be read") == 1
    run_now("retrain", dataset_id=dataset.pk, params=job.params)
    assert len(not_none(active_predictions(dataset)).probabilities) == N


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("side", "suffix"), [(40, ".png"), (300, ".jpg")])
def test_a_damaged_picture_is_made_again(tmp_path: Path, kind: str, side: int, suffix: str) -> None:
    cache = Cache(tmp_path, 100)
    content = encoded(Image.new("RGB", (side, side), "green"), TILE)
    assert content[1] == suffix
    place = cache.keep(*content, "ab" * 32, TILE, DEFAULT)
    assert cache.find("ab" * 32, TILE, DEFAULT) == place
    damage(place, kind)
    assert cache.find("ab" * 32, TILE, DEFAULT) is None
    assert not place.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_frozen_network_is_frozen_again(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    freeze = Mock(return_value=b"a network" * 100)
    for _ in range(2):
        assert litert.cached(tmp_path, "net[1]", freeze) == b"a network" * 100
    assert freeze.call_count == 1
    (file,) = tmp_path.iterdir()
    damage(file, kind)
    for _ in range(2):
        assert litert.cached(tmp_path, "net[1]", freeze) == b"a network" * 100
    assert freeze.call_count == 2
    assert caplog.text.count("is damaged") == 1
