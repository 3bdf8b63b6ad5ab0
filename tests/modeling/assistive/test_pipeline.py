"""Retraining from the database and the arrays to a model version, and when it happens by itself."""

import io
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from django.test import Client

from hoshina.core.errors import Refusal
from hoshina.core.storage import StoreError
from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.fields import split_groups
from labeling.fields.columns import empty
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.models import Dataset, Field, Frame, LabelClass
from modeling import signals
from modeling.assistive import policy
from modeling.models import EmbeddingSet, ModelVersion, RetrainPolicy
from modeling.predictions import held_out_of
from modeling.versions import model_files
from tests.factories import MakeDataset, assert_contains, not_none, text
from tests.modeling.factories import add_vectors, clouds_dataset, decide_rows, import_labels, two_clouds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


def test_a_model_is_trained_calibrated_and_predicts_every_item(make_dataset: MakeDataset) -> None:
    dataset, y = clouds_dataset(make_dataset, 120)
    import_labels(dataset, list(range(0, 120, 2)), y)
    job = run_now("retrain", dataset_id=dataset.pk)
    version = ModelVersion.objects.get()
    assert version.is_active
    assert (version.n_labels, version.n_rows, version.number) == (60, 120, 1)
    probabilities = not_none(model_files.open_probabilities(version))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    unseen = np.arange(1, 120, 2)
    assert (probabilities[unseen].argmax(axis=1) == y[unseen]).mean() > 0.9
    told = job.result
    assert {
        "model_version", "labels", "classes", "accuracy", "accuracy_interval", "ece_before", "ece_after",
        "log_loss_before", "log_loss_after", "temperature", "seconds",
    } <= set(told)  # fmt: skip
    assert told["classes"] == ["cat", "dog"]
    assert told["accuracy_interval"][0] <= told["accuracy"] <= told["accuracy_interval"][1]


def test_one_label_in_each_of_two_classes_is_enough_and_says_uncalibrated(make_dataset: MakeDataset) -> None:
    dataset, y = clouds_dataset(make_dataset, 6)
    import_labels(dataset, [int(np.flatnonzero(y == 0)[0]), int(np.flatnonzero(y == 1)[0])], y)
    run_now("retrain", dataset_id=dataset.pk)
    version = ModelVersion.objects.get()
    assert not version.is_calibrated
    assert "too few labels" in version.calibration_note
    probabilities = not_none(model_files.open_probabilities(version))
    assert np.isfinite(probabilities).all()


def test_rows_without_a_vector_get_no_prediction(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(40)
    X, y = two_clouds(40)
    has = np.arange(40) % 3 != 0
    add_vectors(dataset, X, has)
    import_labels(dataset, list(range(20)), y)
    run_now("retrain", dataset_id=dataset.pk)
    version = ModelVersion.objects.get()
    assert version.n_labels == int(has[:20].sum())
    probabilities = not_none(model_files.open_probabilities(version))
    assert (np.isnan(probabilities).any(axis=1) == ~has).all()


@pytest.mark.parametrize(
    ("n_labels", "words"), [(0, "There are no labels"), (2, r"Only one class has labels: cat \(2\)")]
)
@pytest.mark.parametrize("has_vectors", [False, True])
def test_what_is_missing_is_said(make_dataset: MakeDataset, has_vectors: bool, n_labels: int, words: str) -> None:
    dataset = make_dataset(20)
    if has_vectors:
        add_vectors(dataset, two_clouds(20)[0])
    import_labels(dataset, list(range(n_labels)), np.zeros(20))
    with pytest.raises(Refusal, match=words) as refused:
        run_now("retrain", dataset_id=dataset.pk)
    assert refused.value.hint
    assert ModelVersion.objects.count() == 0
    assert Job.objects.get().state == Job.State.FAILED


def test_the_newest_model_is_the_active_one_and_old_arrays_go(make_dataset: MakeDataset) -> None:
    dataset, _ = clouds_dataset(make_dataset, 30, 12)
    for _ in range(8):
        run_now("retrain", dataset_id=dataset.pk)
    versions = list(ModelVersion.objects.order_by("number"))
    assert [version.is_active for version in versions] == [False] * 7 + [True]
    kept = [model_files.open_probabilities(version) is not None for version in versions]
    assert kept == [False] * 2 + [True] * 6


def test_what_is_said_of_labels_unseen_is_kept_and_told_of_todays_classes(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(80, classes=("cat", "dog", "wolf"))
    X, y = two_clouds(80)
    y[::10] = 2
    X[::10] += [0, 0, 0, 0, 9, 0, 0, 0]
    add_vectors(dataset, X)
    import_labels(dataset, list(range(1, 61)), y)
    run_now("retrain", dataset_id=dataset.pk)
    version = ModelVersion.objects.get()
    held = not_none(held_out_of(version))
    cat, dog, wolf = dataset.classes.all()
    assert held.rows.tolist() == list(range(1, 61))
    assert held.given.tolist() == [(cat, dog, wolf)[k].pk for k in y[1:61]]
    assert (held.predicted() == held.given).mean() == pytest.approx(version.metrics["accuracy"])
    assert held.suggestions([70, 3])[0] is None
    told = not_none(held.suggestions([3])[0])
    assert (told.label.pk, told.probability) == (held.predicted()[2], held.probabilities[2].max())

    LabelClass.objects.filter(pk=wolf.pk).update(is_retired=True, merged_into=dog)
    LabelClass.objects.filter(pk=cat.pk).update(is_retired=True)
    merged = not_none(held_out_of(version))
    assert [one.pk for one in merged.labels] == [dog.pk]
    np.testing.assert_allclose(merged.probabilities[:, 0], held.probabilities[:, 1:].sum(axis=1), rtol=1e-6)
    assert set(merged.given.tolist()) == {0, dog.pk}


def test_too_few_labels_to_hold_any_out_and_damage(make_dataset: MakeDataset, store: Path) -> None:
    dataset, y = clouds_dataset(make_dataset, 40, 10)
    run_now("retrain", dataset_id=dataset.pk)
    assert held_out_of(ModelVersion.objects.get()) is None
    import_labels(dataset, list(range(30)), y)
    run_now("retrain", dataset_id=dataset.pk)
    version = ModelVersion.objects.get(is_active=True)
    assert held_out_of(version) is not None
    (file,) = store.rglob("held_out.npy")
    file.write_bytes(b"nothing")
    assert held_out_of(version) is None, "a page goes on without"


def test_whoever_listens_is_told_of_the_new_version_once_it_is_active(make_dataset: MakeDataset) -> None:
    dataset, _ = clouds_dataset(make_dataset, 30, 24)
    heard = []

    def listen(sender: object, *, version: ModelVersion, **kwargs: Any) -> None:
        heard.append((version.number, ModelVersion.objects.get(pk=version.pk).is_active, held_out_of(version)))

    signals.trained.connect(listen)
    try:
        run_now("retrain", dataset_id=dataset.pk)
    finally:
        signals.trained.disconnect(listen)
    ((number, is_active, held),) = heard
    assert (number, is_active) == (1, True)
    assert held is not None


def test_a_retrain_that_fails_half_way_leaves_no_files(
    make_dataset: MakeDataset, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _ = clouds_dataset(make_dataset, 30, 24)
    monkeypatch.setattr(model_files, "save_held_out", Mock(side_effect=StoreError("The disk is full.")))
    with pytest.raises(Refusal, match="The disk is full"):
        run_now("retrain", dataset_id=dataset.pk)
    assert ModelVersion.objects.count() == 0
    assert not list((store / "models").rglob("*.npy"))


def test_a_class_merged_since_counts_for_its_successor(make_dataset: MakeDataset, client: Client) -> None:
    dataset, _ = clouds_dataset(make_dataset, 30, 16, classes=("cat", "dog", "wolf"))
    run_now("retrain", dataset_id=dataset.pk)
    _cat, dog, wolf = dataset.classes.all()
    LabelClass.objects.filter(pk=dog.pk).update(is_retired=True, merged_into=wolf)
    assert_contains(client.get(f"/d/{dataset.slug}/items/20/probabilities/"), "wolf", lacks=["dog"])


def test_it_retrains_by_itself_once_enough_is_new(make_dataset: MakeDataset) -> None:
    dataset, y = clouds_dataset(make_dataset, 100)
    decide_rows(dataset, list(range(policy.FIRST_MODEL_AT - 1)), y)
    assert Job.objects.count() == 0
    decide_rows(dataset, [50], y)
    assert Job.objects.get().kind == "retrain"
    decide_rows(dataset, list(range(51, 60)), y)
    assert Job.objects.count() == 1, "the same job is not asked for twice"


def test_it_can_be_switched_off(make_dataset: MakeDataset) -> None:
    dataset, y = clouds_dataset(make_dataset, 60)
    RetrainPolicy.objects.create(dataset=dataset, is_automatic=False)
    decide_rows(dataset, list(range(40)), y)
    assert Job.objects.count() == 0


def test_badge_and_page_tell_the_models_state(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(80)
    badge, page = f"/d/{dataset.slug}/model/badge/", f"/d/{dataset.slug}/model/"
    assert "label two classes" in client.get(badge).content.decode()
    assert "No model yet" in client.get(page).content.decode()
    RetrainPolicy.objects.update(is_automatic=False)
    X, y = two_clouds(80)
    import_labels(dataset, list(range(40)), y)
    assert "waiting for embeddings" in client.get(badge).content.decode()
    add_vectors(dataset, X)
    assert "press R" in client.get(badge).content.decode()
    run_now("retrain", dataset_id=dataset.pk)
    import_labels(dataset, [70, 71], y)
    assert_contains(client.get(badge), "model 1", "2 new labels")
    vectors = EmbeddingSet.objects.get()
    vectors.encoder, vectors.reason = "HOG + color", "TensorFlow is not installed; using HOG + color."
    vectors.save()
    told = client.get(badge).content.decode()
    assert '· HOG + color<span class="visually-hidden">: TensorFlow is not installed' in told
    assert 'title="HOG + color: TensorFlow is not installed; using HOG + color."' in told
    assert_contains(client.get(page), "Confusion", "95 % interval")


def test_the_policy_is_changed_on_the_page(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(3)
    url = f"/d/{dataset.slug}/model/policy/"
    assert_contains(client.get(url), "Retrain automatically", 'value="20"', 'value="10"', 'id="policy"')
    assert 'id="policy"' not in client.get(f"/d/{dataset.slug}/model/").content.decode()
    how = {"calibration": "platt", "class_weights": "balanced"}
    assert client.post(url, {"min_new": 50, "share_new": 20, **how}).status_code == 200
    kept = RetrainPolicy.objects.get()
    assert (kept.is_automatic, kept.min_new, kept.share_new) == (False, 50, 0.2)
    assert (kept.calibration, kept.class_weights) == ("platt", "balanced")
    assert client.post(url, {"min_new": 50, "share_new": 0.2, **how, "calibration": "wishes"}).status_code == 422
    assert "whole number" in text(client.post(url, {"min_new": "many", "share_new": 0.2}), 422)
    for share in ("-0.1", "101", "nan"):
        assert client.post(url, {"min_new": 50, "share_new": share}).status_code == 422, share
    assert "a share from 0 to 100 percent" in text(client.post(url, {"min_new": 50, "share_new": "101"}), 422)


def test_retrain_button_asks_for_one_job(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(3)
    for _ in range(2):
        response = client.post(f"/d/{dataset.slug}/model/retrain/")
        assert (response.status_code, response.headers["HX-Trigger"]) == (204, '{"hoshina:job": {}}')
    assert Job.objects.filter(kind="retrain").count() == 1
    assert client.get(f"/d/{dataset.slug}/model/retrain/").status_code == 405


# -- What belongs together --------------------------------------------------------------------------
def kept_together(dataset: Dataset, name: str, values: list[str]) -> Field:
    """Return a field with a value for each row, and images of equal value kept together."""
    lines = [f"path,{name}", *(f"image{row:04d}.png,{value}" for row, value in enumerate(values))]
    import_fields(dataset, io.BytesIO("\n".join(lines).encode()), Wish())
    return not_none(split_groups.choose(dataset, name))


def test_images_of_one_group_are_held_out_together(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(120)
    # What tells the class is the night's own: six images of each are all but the same.
    rng = np.random.default_rng(0)
    add_vectors(dataset, rng.normal(size=(20, 40)).repeat(6, axis=0) + 0.05 * rng.normal(size=(120, 40)))
    import_labels(dataset, list(range(120)), rng.permutation(np.arange(20) % 2).repeat(6))
    plain = run_now("retrain", dataset_id=dataset.pk).result
    assert plain["accuracy"] > 0.95
    assert plain["together"] is None

    field = kept_together(dataset, "night", [f"n{row // 6}" for row in range(119)])
    page = client.get("/d/pictures/model/").content.decode()
    assert "images of one night are held out together. This applies from" in page
    told = run_now("retrain", dataset_id=dataset.pk).result
    assert told["accuracy"] < 0.8
    assert told["together"] == {"field_id": field.pk, "field": "night", "groups": 21, "largest": 6, "unknown": 1}
    assert set(plain) == set(told)
    held = not_none(held_out_of(ModelVersion.objects.get(is_active=True)))
    assert held.groups is not None
    assert [len(set(held.groups[at : at + 5].tolist())) for at in range(0, 120, 6)] == [1] * 20
    badge = client.get("/d/pictures/model/badge/").content.decode()
    assert "and without other images of its night" in badge
    page = client.get("/d/pictures/model/").content.decode()
    facts = "Images of one night were held out together: 21 groups, the largest with 6 labels; 1 label without a night"
    assert facts in page
    assert "from the next training on" not in page

    Field.objects.all().delete()
    page = client.get("/d/pictures/model/").content.decode()
    assert "only identical files are held out together. This applies from the next training on" in page


def test_identical_files_are_held_out_together_without_any_choice(make_dataset: MakeDataset) -> None:
    dataset, _ = clouds_dataset(make_dataset, 80, 80)
    run_now("retrain", dataset_id=dataset.pk)
    held = not_none(held_out_of(ModelVersion.objects.get(is_active=True)))
    assert held.groups is None
    Frame.objects.filter(item__row__in=[3, 17, 40]).update(sha256="f" * 64)
    run_now("retrain", dataset_id=dataset.pk)
    held = not_none(held_out_of(ModelVersion.objects.get(is_active=True)))
    assert held.groups is not None
    assert len(set(held.groups[[3, 17, 40]].tolist())) == 1
    assert len(set(held.groups.tolist())) == 78


def test_groups_that_hold_nothing_out_are_told(make_dataset: MakeDataset, client: Client) -> None:
    dataset, y = clouds_dataset(make_dataset, 60, 60)
    kept_together(dataset, "kind", [f"k{one}" for one in y])
    told = run_now("retrain", dataset_id=dataset.pk).result
    assert told["accuracy"] is None
    assert "in classes found in at least two groups" in told["note"]
    assert "no labels could be held out, see Calibration" in client.get("/d/pictures/model/").content.decode()


def test_a_group_that_has_most_and_a_field_that_has_none_are_remarked(make_dataset: MakeDataset) -> None:
    dataset, _ = clouds_dataset(make_dataset, 60, 60)
    field = kept_together(dataset, "camera", ["a" if row < 45 else f"b{row}" for row in range(60)])
    assert "one camera has 75% of the labels" in run_now("retrain", dataset_id=dataset.pk).result["note"]
    empty(field)
    assert "no labeled image has a camera" in run_now("retrain", dataset_id=dataset.pk).result["note"]


def test_values_that_cannot_be_read_stop_the_training_in_words(make_dataset: MakeDataset, store: Path) -> None:
    dataset, _ = clouds_dataset(make_dataset, 60, 60)
    field = kept_together(dataset, "night", [f"n{row // 6}" for row in range(60)])
    for file in (store / "fields" / str(field.pk)).iterdir():
        file.unlink()
    with pytest.raises(Refusal, match=r"is missing\. Delete the field night"):
        run_now("retrain", dataset_id=dataset.pk)
    assert not ModelVersion.objects.exists()
