"""Few labels, odd vectors, and people who go on working: every retrain ends well or says in words why not.

All of them go through the real job.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command

from hoshina.core.errors import Refusal
from hoshina.jobs.lifecycle import run_now
from labeling.decisions import classes
from labeling.models import LabelClass
from modeling.algorithms.calibration import softmax
from modeling.algorithms.train import Trained
from modeling.algorithms.train import train as real_train
from modeling.assistive import pipeline as assistive_pipeline
from modeling.models import EmbeddingSet, ModelVersion, RetrainPolicy
from modeling.predictions import active_predictions, held_out_of
from modeling.versions import model_files
from tests.factories import MakeDataset, not_none
from tests.modeling.factories import (
    add_three_kinds,
    add_vectors,
    clouds_dataset,
    decide_rows,
    import_labels,
    three_kinds_dataset,
    two_clouds,
)
from tests.sampling.factories import decide_shown

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any], times: int = 1) -> list[Trained]:
    """Let someone act after the labels were read and before the fit is done, this many times."""
    fits: list[Trained] = []

    def train(*args: Any, **kwargs: Any) -> Trained:
        if len(fits) < times:
            act()
        fits.append(real_train(*args, **kwargs))
        return fits[-1]

    monkeypatch.setattr(assistive_pipeline, "train", train)
    return fits


def damage_vectors(store: Path, rows: list[int]) -> None:
    """Write NaN where the store says that there is an embedding, as after a disk fault."""
    (file,) = store.rglob("vectors-*.npy")
    X = np.load(file)
    X[rows, 2] = np.nan
    np.save(file, X)


# -- Few labels, odd vectors ------------------------------------------------------------------------
def test_two_labels_make_a_model_that_says_what_it_is_worth(make_dataset: MakeDataset) -> None:
    dataset, y = clouds_dataset(make_dataset, 30)
    import_labels(dataset, [int(np.flatnonzero(y == kind)[0]) for kind in (0, 1)], y)
    told = run_now("retrain", dataset_id=dataset.pk).result
    assert (told["accuracy"], told["calibrated"]) == (None, False)
    assert "too few labels (2 of the 20 needed)" in told["note"]
    version = ModelVersion.objects.get()
    assert version.metrics["n_per_class"] == [1, 1]
    assert version.calibration_method == "none"
    predictions = not_none(active_predictions(dataset))
    assert (predictions.probabilities.argmax(axis=1) == y).mean() > 0.6


def test_a_single_class_teaches_nothing(make_dataset: MakeDataset) -> None:
    dataset, y = clouds_dataset(make_dataset, 30)
    import_labels(dataset, np.flatnonzero(y == 1).tolist(), y)
    with pytest.raises(Refusal, match=r"Only one class has labels: dog \(15\)") as refused:
        run_now("retrain", dataset_id=dataset.pk)
    assert "needs two classes" in refused.value.hint
    assert not ModelVersion.objects.exists()


def test_the_only_label_of_a_class_is_learnt_from_and_said_to_be_unmeasured(make_dataset: MakeDataset) -> None:
    dataset, y = three_kinds_dataset(make_dataset, 60)
    import_labels(dataset, [row for row in range(60) if y[row] < 2] + [59], y)
    told = run_now("retrain", dataset_id=dataset.pk).result
    assert "1 left out as the only label of their class" in told["note"]
    version = ModelVersion.objects.get()
    assert version.metrics["n_per_class"] == [20, 20, 1]
    assert version.metrics["recall"][2] == 0
    held = not_none(held_out_of(version))
    assert held.is_alone.sum() == 1
    predictions = not_none(active_predictions(dataset))
    assert predictions.probabilities[59, 2] > 3 * np.median(predictions.probabilities[y < 2, 2])


@pytest.mark.parametrize("n_labels", [8, 40])
def test_vectors_that_are_all_the_same_tell_nothing_apart(make_dataset: MakeDataset, n_labels: int) -> None:
    dataset = make_dataset(40)
    y = np.arange(40) % 4 // 3
    add_vectors(dataset, np.full((40, 8), 1.5, np.float32))
    import_labels(dataset, list(range(n_labels)), y)
    told = run_now("retrain", dataset_id=dataset.pk).result
    assert "all labeled images have the same embedding" in told["note"]
    predictions = not_none(active_predictions(dataset))
    np.testing.assert_allclose(predictions.probabilities, np.tile([0.75, 0.25], (40, 1)), atol=0.03)


def test_vectors_that_are_no_numbers_are_left_out_and_counted(make_dataset: MakeDataset, store: Path) -> None:
    dataset, _ = clouds_dataset(make_dataset, 60, 40)
    damage_vectors(store, [3, 17, 50])
    told = run_now("retrain", dataset_id=dataset.pk).result
    assert told["labels"] == 38
    assert "2 labeled images have no embedding and were left out" in told["note"]
    predictions = not_none(active_predictions(dataset))
    assert np.flatnonzero(np.isnan(predictions.probabilities).any(axis=1)).tolist() == [3, 17, 50]
    assert predictions.suggestions([50]) == [None]


def test_a_class_whose_vectors_are_no_numbers_is_no_class_of_the_model(make_dataset: MakeDataset, store: Path) -> None:
    dataset, y = three_kinds_dataset(make_dataset, 60, 40)
    damage_vectors(store, np.flatnonzero(y == 1).tolist())
    assert run_now("retrain", dataset_id=dataset.pk).result["classes"] == ["cat", "wolf"]
    damage_vectors(store, np.flatnonzero(y == 0).tolist())
    with pytest.raises(Refusal, match="27 labeled images have no embedding"):
        run_now("retrain", dataset_id=dataset.pk)


# -- People go on working -----------------------------------------------------------------------------
def test_a_class_deleted_during_the_fit_is_not_in_the_model(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _ = three_kinds_dataset(make_dataset, 60, 45)
    wolf = LabelClass.objects.get(name="wolf")
    fits = meanwhile(monkeypatch, lambda: classes.delete(wolf, user=None))
    told = run_now("retrain", dataset_id=dataset.pk).result
    assert len(fits) == 2
    assert (told["classes"], told["labels"], told["newer"]) == (["cat", "dog"], 30, 0)
    assert ModelVersion.objects.get().is_active


def test_a_class_merged_during_the_fit_is_learnt_as_its_successor(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _ = three_kinds_dataset(make_dataset, 60, 45)
    _cat, dog, wolf = dataset.classes.all()
    meanwhile(monkeypatch, lambda: classes.merge(wolf, dog, user=None))
    assert run_now("retrain", dataset_id=dataset.pk).result["classes"] == ["cat", "dog"]
    assert ModelVersion.objects.get().metrics["n_per_class"] == [15, 30]


def test_a_class_deleted_during_the_fit_may_leave_too_little(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _ = clouds_dataset(make_dataset, 30, 24)
    dog = LabelClass.objects.get(name="dog")
    meanwhile(monkeypatch, lambda: classes.delete(dog, user=None))
    with pytest.raises(Refusal, match="Only one class has labels: cat"):
        run_now("retrain", dataset_id=dataset.pk)
    assert not ModelVersion.objects.exists()


def test_classes_that_keep_vanishing_end_with_the_last_fit(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(60, classes=tuple("abcdef"))
    X, _ = two_clouds(60)
    add_vectors(dataset, X)
    import_labels(dataset, list(range(60)), np.arange(60) % 6)
    doomed = iter(dataset.classes.all())
    fits = meanwhile(monkeypatch, lambda: classes.delete(next(doomed), user=None), times=9)
    told = run_now("retrain", dataset_id=dataset.pk).result
    assert len(fits) == assistive_pipeline.ATTEMPTS
    assert told["classes"] == ["c", "d", "e", "f"]
    predictions = not_none(active_predictions(dataset))
    assert [bar.label.name for bar in predictions.by_class(predictions.probabilities[0])] == ["d", "e", "f"]


def test_labels_changed_during_the_fit_count_as_newer(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    dataset, y = clouds_dataset(make_dataset, 60)
    RetrainPolicy.objects.create(dataset=dataset, is_automatic=False)
    import_labels(dataset, list(range(30)), y)
    meanwhile(monkeypatch, lambda: (decide_rows(dataset, [40, 41], y), import_labels(dataset, [0, 1, 2], 1 - y)))
    told = run_now("retrain", dataset_id=dataset.pk).result
    assert (told["labels"], told["newer"]) == (30, 5)
    held = not_none(held_out_of(ModelVersion.objects.get()))
    # The model says what it learnt, not what was decided since.
    ids = list(dataset.classes.values_list("pk", flat=True))
    assert held.given[:3].tolist() == [ids[k] for k in y[:3]]
    assert "5 new labels" in client.get(f"/d/{dataset.slug}/model/badge/").content.decode()


# -- Warm starts --------------------------------------------------------------------------------------
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the initial values of the fits of the following retrains."""
    seen: list[Any] = []

    def train(*args: Any, start: Any, **kwargs: Any) -> Trained:
        seen.append(start)
        return real_train(*args, start=start, **kwargs)

    monkeypatch.setattr(assistive_pipeline, "train", train)
    return seen


def test_a_retrain_begins_from_the_newest_classifier_and_ends_where_a_cold_one_does(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(150, classes=("wolf", "cat", "dog"))
    X, y = add_three_kinds(dataset, 150)
    y = (y + 1) % 3
    import_labels(dataset, [row for row in range(60) if y[row]], y)
    RetrainPolicy.objects.update_or_create(dataset=dataset, defaults={"is_smoothed": False})
    seen = starts(monkeypatch)
    run_now("retrain", dataset_id=dataset.pk)
    import_labels(dataset, list(range(100)), y)
    run_now("retrain", dataset_id=dataset.pk)
    first, second = ModelVersion.objects.order_by("number")
    wolf, cat, dog = dataset.classes.values_list("pk", flat=True)
    assert (first.class_ids, second.class_ids) == ([cat, dog], [wolf, cat, dog])
    made = not_none(model_files.open_head(first))
    assert seen[0] is None
    np.testing.assert_array_equal(seen[1].weights, np.column_stack([np.zeros(8), made.weights]))
    np.testing.assert_array_equal(seen[1].bias, [-1e9, *made.bias])
    warm = not_none(model_files.open_probabilities(second))
    cold = real_train(X[:100], y[:100], n_classes=3)
    assert np.abs(softmax(cold.calibration.logits(cold.head.logits(X))) - warm).max() < 0.02


def test_classifiers_of_other_vectors_or_with_damage_are_not_begun_from(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = make_dataset(60)
    X, y = two_clouds(60)
    vectors = add_vectors(dataset, X)
    import_labels(dataset, list(range(30)), y)
    seen = starts(monkeypatch)
    run_now("retrain", dataset_id=dataset.pk)
    for file in store.rglob("head.npz"):
        file.write_bytes(b"nothing")
    run_now("retrain", dataset_id=dataset.pk)
    assert "starts from scratch" in caplog.text
    EmbeddingSet.objects.filter(pk=vectors.pk).update(is_active=False)
    other = EmbeddingSet.objects.create(dataset=dataset, fingerprint="def", encoder="b", dim=8, is_active=True)
    assistive_pipeline.store.save_part(other, 0, 60, np.arange(60), np.full(60, 7, np.uint64), X)
    assistive_pipeline.store.merge_parts(other, 60)
    run_now("retrain", dataset_id=dataset.pk)
    assert seen == [None, None, None]
    run_now("retrain", dataset_id=dataset.pk)
    assert seen[3] is not None


# -- What can be chosen -------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["temperature", "platt", "vector", "none"])
def test_the_chosen_calibration_is_kept_and_predicts_the_same_again(make_dataset: MakeDataset, method: str) -> None:
    dataset = make_dataset(400, classes=("cat", "dog", "wolf"))
    rng = np.random.default_rng(5)
    # Fitted as if all classes had as many images, the probabilities are far off in more than one way.
    y = np.where(np.arange(400) % 8, 0, np.arange(400) // 8 % 2 + 1)
    X = (rng.normal(size=(400, 12)) + 2.0 * np.eye(12)[y]).astype(np.float32)
    add_vectors(dataset, X)
    RetrainPolicy.objects.create(
        dataset=dataset, calibration=method, class_weights="balanced", is_automatic=False, is_smoothed=False
    )
    import_labels(dataset, list(range(300)), y)
    told = run_now("retrain", dataset_id=dataset.pk).result
    version = ModelVersion.objects.get()
    assert version.calibration_method == version.metrics["calibration_method"] == told["calibration"] == method
    assert version.is_calibrated == (method != "none")
    assert set(version.calibration_params) == ({"scale", "shift"} if method in ("platt", "vector") else set())
    kept = np.array(not_none(model_files.open_probabilities(version)))
    head = not_none(model_files.open_head(version))
    by_hand = softmax(assistive_pipeline.calibration_of(version).logits(head.logits(X)))
    np.testing.assert_allclose(kept, by_hand, atol=1e-5)
    if method != "none":
        assert np.abs(kept - softmax(head.logits(X))).max() > 0.01
        assert version.metrics["log_loss_after"] < version.metrics["log_loss_before"]
    model_files.delete_probabilities(version)
    run_now("predict", dataset_id=dataset.pk, params={"version": version.number, "is_refresh": False})
    np.testing.assert_array_equal(model_files.open_probabilities(version), kept)
    assert assistive_pipeline.calibration_of(version).method in (method, "temperature")


def test_balanced_weights_are_honoured_in_the_fit_and_the_folds(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(200)
    rng = np.random.default_rng(6)
    y = (np.arange(200) % 10 == 0).astype(int)
    add_vectors(dataset, (rng.normal(size=(200, 8)) + 0.8 * y[:, None]).astype(np.float32))
    policy = RetrainPolicy.objects.create(dataset=dataset, is_automatic=False)
    import_labels(dataset, list(range(150)), y)
    recalls, held = [], []
    for weights in ("equal", "balanced"):
        policy.class_weights = weights
        policy.save()
        run_now("retrain", dataset_id=dataset.pk)
        version = ModelVersion.objects.get(is_active=True)
        assert version.metrics["class_weights"] == weights
        recalls.append(version.metrics["recall"][1])
        probabilities = not_none(model_files.open_probabilities(version))
        held.append(float(probabilities[150:, 1].mean()))
    assert recalls[1] > recalls[0] + 0.1
    assert held[1] > held[0] + 0.1


def test_labels_drawn_by_chance_lead_the_temperature_and_are_counted(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(260)
    X, y = two_clouds(260)
    add_vectors(dataset, 0.4 * X)
    import_labels(dataset, list(range(160)), y)
    told = run_now("retrain", dataset_id=dataset.pk).result
    assert "chance" not in told["note"]
    for kind, name in enumerate(("cat", "dog")):
        decide_shown(dataset, [row for row in range(160, 220) if y[row] == kind], name, queue="auto/audit")
    # The easy ones were drawn, so to say: what they tell is another temperature.
    told = run_now("retrain", dataset_id=dataset.pk).result
    assert "calibrated on 220 held-out labels" in told["note"]
    ways = ("its temperature fitted to the 60 randomly sampled labels among them", "needed no correction")
    assert any(words in told["note"] for words in ways)


def test_the_command_says_what_the_job_says(
    make_dataset: MakeDataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, y = clouds_dataset(make_dataset, 200)
    RetrainPolicy.objects.create(dataset=dataset, is_automatic=False, calibration="platt")
    import_labels(dataset, list(range(8)), y)
    call_command("retrain", dataset=dataset.slug)
    told = capsys.readouterr().out
    assert "Uncalibrated, too few labels (8 of the 20 needed)." in told
    import_labels(dataset, list(range(100)), y)
    call_command("retrain", dataset=dataset.slug, json=True)
    result = json.loads(capsys.readouterr().out)
    assert {"model_version", "labels", "temperature", "calibration", "note", "newer", "seconds"} <= set(result)
    meanwhile(monkeypatch, lambda: import_labels(dataset, [150, 151], y))
    call_command("retrain", dataset=dataset.slug)
    told = capsys.readouterr().out
    assert "before" in told
    assert ("Platt scaling, each class by itself." in told) == (result["calibration"] == "platt")
    assert "Calibrated on 100 held-out labels in 20 folds" in told
    assert "Not yet in this model: 2 newer decisions." in told
