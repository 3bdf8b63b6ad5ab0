"""Test joined encoders in the embedding job: fitted once, kept for new images, fitted again when they differ."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from PIL import Image

from hoshina.core.errors import Refusal
from hoshina.jobs.errors import Cancelled
from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from hoshina.jobs.runner import Run
from labeling.images.composite import Composition
from labeling.models import Dataset, Frame
from modeling import store as disk
from modeling.backends import JoinedEncoder, choose_encoder, weights
from modeling.encoders import choice as encoder_choice
from modeling.encoders import pipeline as encoder_pipeline
from modeling.encoders import reductions
from modeling.models import EmbeddingSet
from tests.modeling.factories import add_item_with_file

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(encoder_pipeline, "CHUNK_ROWS", 8)
    monkeypatch.setattr(encoder_pipeline, "_encoders", {})
    monkeypatch.setattr(reductions, "SAMPLE", 16)
    monkeypatch.setattr(reductions, "RUN_LENGTH", 2)
    settings.EMBEDDING_BACKEND = "hog+patches"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset.objects.create(name="pictures", slug="pictures", root=str(tmp_path / "pictures"))
    add_items(made, 0, 40)
    return made


def add_items(dataset: Dataset, first: int, stop: int) -> None:
    for row in range(first, stop):
        add_item_with_file(dataset, row)
    Dataset.objects.filter(pk=dataset.pk).update(n_items=stop)
    dataset.refresh_from_db()


def embed(dataset: Dataset, **params: object) -> EmbeddingSet:
    run_now("embed", dataset_id=dataset.pk, params=params)
    return EmbeddingSet.objects.get(dataset=dataset, is_active=True)


def vectors_of(embedding_set: EmbeddingSet) -> np.ndarray:
    found = disk.open_vectors(embedding_set)
    assert found is not None
    assert found.has.all()
    return np.array(found.X)


def expected(dataset: Dataset, embedding_set: EmbeddingSet) -> np.ndarray:
    """Return the vectors encoded one by one and reduced, with nothing in between."""
    encoder = choose_encoder("hog+patches")
    reduction = disk.open_reduction(embedding_set)
    assert isinstance(encoder, JoinedEncoder)
    assert reduction is not None
    images = [Image.open(dataset.data_dir / f"image{row:04d}.png").convert("RGB") for row in range(dataset.n_items)]
    return reduction.apply(encoder.encode(images))[0]


def test_vectors_are_those_of_both_encoders_reduced(dataset: Dataset) -> None:
    made = embed(dataset)
    assert (made.backend, made.encoder) == ("hog+patches", "HOG + color + Scattering")
    assert (made.n_vectors, made.n_fitted) == (40, 16)
    assert made.dim == 14  # components of 15 images: one more of the sample measures what is left out
    assert 0 < made.left_out < 1
    np.testing.assert_allclose(vectors_of(made), expected(dataset, made), atol=1e-4)
    assert made.n_later == 40 - 16


def test_the_sample_is_encoded_once(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = JoinedEncoder.encode_prepared

    def counted(self: JoinedEncoder, pixels: np.ndarray) -> np.ndarray:
        seen.append(len(pixels))
        return real(self, pixels)

    monkeypatch.setattr(JoinedEncoder, "encode_prepared", counted)
    assert run_now("embed", dataset_id=dataset.pk).result["computed"] == 40
    assert sum(seen) == 40
    assert run_now("embed", dataset_id=dataset.pk).result["computed"] == 0


def test_new_images_use_the_same_components(dataset: Dataset) -> None:
    before = embed(dataset)
    components = disk.open_reduction(before)
    old = vectors_of(before)
    add_items(dataset, 40, 60)
    after = embed(dataset)
    assert (after.pk, after.n_vectors) == (before.pk, 60)
    np.testing.assert_array_equal(vectors_of(after)[:40], old)
    assert components is not None
    np.testing.assert_array_equal(disk.open_reduction(after).axes, components.axes)  # type: ignore[union-attr]


def test_a_small_sample_is_outgrown(tmp_path: Path) -> None:
    made = Dataset.objects.create(name="few", slug="few", root=str(tmp_path / "few"))
    add_items(made, 0, 5)
    few = embed(made)
    assert (few.n_fitted, few.dim) == (5, 4)
    add_items(made, 5, 9)
    assert embed(made).pk == few.pk
    add_items(made, 9, 30)
    more = embed(made)
    assert (more.n_fitted, more.n_vectors) == (16, 30)
    assert more.pk != few.pk


@pytest.mark.parametrize("n", [1, 2])
def test_very_few_images(tmp_path: Path, n: int) -> None:
    made = Dataset.objects.create(name="few", slug="few", root=str(tmp_path / "few"))
    add_items(made, 0, n)
    assert embed(made).n_vectors == n


def test_an_unreadable_image_of_the_sample_is_left_out(dataset: Dataset) -> None:
    (dataset.data_dir / "image0001.png").write_bytes(b"no image")
    made = embed(dataset)
    assert (made.n_vectors, made.n_failed) == (39, 1)


def test_images_that_cannot_be_read_do_not_outgrow_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Dataset.objects.create(name="few", slug="few", root=str(tmp_path / "few"))
    add_items(made, 0, 12)
    for row in range(8):
        (made.data_dir / f"image{row:04d}.png").write_bytes(b"no image")
    few = embed(made)
    assert (few.n_fitted, few.n_failed) == (4, 8)
    monkeypatch.setattr(reductions, "_fit", lambda *_: pytest.fail("fitted again"))
    assert embed(made).pk == few.pk


def test_damaged_components_are_fitted_again(dataset: Dataset, store: Path) -> None:
    before = embed(dataset)
    (file,) = (store / "vectors").rglob("reduction.npz")
    file.write_bytes(b"damaged")
    after = embed(dataset)
    assert after.n_vectors == 40
    np.testing.assert_allclose(vectors_of(after), expected(dataset, after), atol=1e-4)
    assert after.fingerprint == before.fingerprint  # the same sample has the same components


def test_a_canceled_job_goes_on_with_its_components(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    real = encoder_pipeline.embed_chunk

    def canceled(run: Run, start: int, stop: int) -> None:
        if start >= 16:
            raise Cancelled
        real(run, start, stop)

    with monkeypatch.context() as patch:
        patch.setattr(encoder_pipeline, "embed_chunk", canceled)
        with pytest.raises(Refusal):
            run_now("embed", dataset_id=dataset.pk)
    begun = EmbeddingSet.objects.get(dataset=dataset)
    assert begun.n_vectors < 40
    assert embed(dataset).pk == begun.pk


def test_a_new_fit_on_request(dataset: Dataset) -> None:
    before = embed(dataset)
    add_items(dataset, 40, 80)
    after = embed(dataset, is_refit=True)
    assert after.pk != before.pk
    assert after.n_vectors == 80
    assert embed(dataset).pk == after.pk


@pytest.mark.parametrize(("n", "ratio", "has_drifted"), [(60, 1.5, True), (60, 1.1, False), (40, 1.5, False)])
def test_the_page_offers_a_new_fit_when_later_images_differ(
    dataset: Dataset, client: Client, n: int, ratio: float, has_drifted: bool
) -> None:
    made = embed(dataset)
    EmbeddingSet.objects.update(n_later=n, left_out_later=n * ratio * made.left_out)
    made.refresh_from_db()
    assert made.has_drifted == has_drifted
    page = f"/d/{dataset.slug}/encoders/"
    assert ("Fit again" in client.get(page).content.decode()) == has_drifted
    assert client.post(f"{page}refit/").status_code == 200
    assert Job.objects.filter(kind="embed").latest("created_at").params == {"is_refit": True}


def test_what_is_left_out_of_later_images_is_added_up(dataset: Dataset) -> None:
    before = embed(dataset)
    add_items(dataset, 40, 50)
    after = embed(dataset)
    encoder = encoder_pipeline.encoder_of("hog+patches")
    assert isinstance(encoder, JoinedEncoder)
    images = [Image.open(dataset.data_dir / f"image{row:04d}.png").convert("RGB") for row in range(40, 50)]
    reduction = disk.open_reduction(after)
    assert reduction is not None
    _, left_out = reduction.apply(encoder.encode(images))
    assert after.n_later == before.n_later + 10
    assert after.left_out_later == pytest.approx(before.left_out_later + left_out.sum(), abs=1e-4)


def test_each_frame_of_an_item_is_reduced(dataset: Dataset) -> None:
    dataset.roles = ["image", "second"]
    dataset.composition = Composition(vectors="concatenate").as_params()
    dataset.save()
    for frame in Frame.objects.filter(dataset=dataset, item__row__lt=30):
        path = f"second{frame.path}"
        shutil.copy(dataset.data_dir / frame.path, dataset.data_dir / path)
        frame.pk, frame.role, frame.path, frame._state.adding = None, "second", path, True
        frame.save()
    made = embed(dataset)
    assert made.n_fitted > 16
    X = vectors_of(made).reshape(40, 2, -1)
    np.testing.assert_allclose(X[:30, 0], X[:30, 1], atol=1e-5)
    np.testing.assert_allclose(X[30:, 1], np.broadcast_to(X[:30, 1].mean(axis=0), X[30:, 1].shape), atol=1e-4)


# -- Choosing ------------------------------------------------------------------------------------------
def test_encoders_are_joined_on_the_page(dataset: Dataset, client: Client) -> None:
    page = f"/d/{dataset.slug}/encoders/"
    answer = client.post(f"{page}use/", {"join": "1", "backend": ["patches", "hog"]})
    assert answer.status_code == 200
    assert encoder_choice.backend_of(dataset.pk) == "patches+hog"
    run_now("embed", dataset_id=dataset.pk)
    made = EmbeddingSet.objects.get(dataset=dataset, is_active=True)
    assert (made.backend, made.encoder) == ("patches+hog", "Scattering + HOG + color")
    assert "Scattering + HOG + color" in client.get(page).content.decode()


@pytest.mark.parametrize("backends", [[], ["hog"]])
def test_joining_takes_two(dataset: Dataset, client: Client, backends: list[str]) -> None:
    answer = client.post(f"/d/{dataset.slug}/encoders/use/", {"join": "1", "backend": backends})
    assert answer.status_code == 422
    assert "at least two" in answer.content.decode()
    assert encoder_choice.backend_of(dataset.pk) == "hog+patches"


@pytest.mark.parametrize("backends", [["hog", "magic"], ["hog", "hog"], ["hog", "../x"]])
def test_what_cannot_be_joined_is_refused(dataset: Dataset, client: Client, backends: list[str]) -> None:
    answer = client.post(f"/d/{dataset.slug}/encoders/use/", {"join": "1", "backend": backends})
    assert answer.status_code == 422
    assert "There is no encoder" in answer.content.decode()


def test_names_that_are_too_long_together_are_refused(dataset: Dataset, client: Client) -> None:
    files = [f"file:{letter * 60}.onnx" for letter in "abcd"]
    answer = client.post(f"/d/{dataset.slug}/encoders/use/", {"join": "1", "backend": files})
    assert answer.status_code == 422
    assert "Join fewer" in answer.content.decode()


def test_embeddings_of_earlier_versions_stay(dataset: Dataset, settings: Any) -> None:
    settings.EMBEDDING_BACKEND = "auto"
    for backend, wanted in (
        ("mobilenet_v2", "mobilenet_v2"),
        ("hog+scattering", "auto/hog+scattering"),
        ("patches", "auto/patches"),
        ("hog", "auto"),
    ):
        EmbeddingSet.objects.update_or_create(
            dataset=dataset, fingerprint="old", defaults={"dim": 3, "is_active": True, "backend": backend}
        )
        assert encoder_choice.backend_of(dataset.pk) == wanted


def test_embeddings_of_one_network_stay_when_there_are_two(dataset: Dataset, settings: Any, tmp_path: Path) -> None:
    settings.EMBEDDING_BACKEND, settings.WEIGHTS_DIR = "auto", tmp_path
    for weight_file in (weights.MOBILENET_V2, weights.EFFICIENTNET_LITE2):
        (tmp_path / weight_file.file).write_bytes(b"there")
    for backend, wanted in (
        ("mobilenet_v2+hog", "mobilenet_v2+hog"),
        ("efficientnet_lite2+hog", "efficientnet_lite2+hog"),
        ("efficientnet_lite2+mobilenet_v2+hog", "auto"),
        ("hog+patches", "auto"),
    ):
        EmbeddingSet.objects.update_or_create(
            dataset=dataset, fingerprint="old", defaults={"dim": 3, "is_active": True, "backend": backend}
        )
        assert encoder_choice.backend_of(dataset.pk) == wanted


def test_embeddings_of_a_network_that_is_gone_do_not_stay(
    dataset: Dataset, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMBEDDING_BACKEND, settings.WEIGHTS_DIR = "auto", None
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    facts = {"fingerprint": "old", "dim": 3, "is_active": True, "backend": "mobilenet_v2+hog"}
    EmbeddingSet.objects.create(dataset=dataset, **facts)
    assert encoder_choice.backend_of(dataset.pk) == "auto"
