"""predictions.csv of labeled items: out-of-fold, so that other programs may judge the labels by it."""

from pathlib import Path

import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from django.conf import settings
from numpy.typing import NDArray

from hoshina.jobs.lifecycle import run_now
from labeling.decisions.save import Decision, record_import
from labeling.models import Dataset, Item, State
from modeling.models import ModelVersion, RetrainPolicy
from modeling.predictions import active_predictions
from modeling.versions import model_files
from tests.factories import MakeDataset, archive_bytes, decide, not_none, opened, table
from tests.modeling.factories import add_vectors, clouds_dataset, import_labels, make_version, three_kinds_dataset

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
NAMES = ("cat", "dog", "wolf")
N, N_LABELED, N_PLANTED, DIM = 500, 400, 40, 1280
SPREAD = 0.16


def exported(dataset: Dataset) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Return the rows of predictions.csv, and the labels of labels.csv by item id."""
    archive = opened(archive_bytes(dataset, extras=frozenset({"predictions"})))
    labels = {row["item_id"]: row["label"] for row in table(archive, "labels.csv") if row["label"]}
    return table(archive, "predictions.csv"), labels


def by_row(dataset: Dataset, rows: list[dict[str, str]]) -> dict[int, dict[str, str]]:
    place = {str(pk): row for row, pk in dataset.items.values_list("row", "pk")}
    return {place[row["item_id"]]: row for row in rows}


@pytest.fixture
def planted(make_dataset: MakeDataset) -> tuple[Dataset, set[int]]:
    """Provide 400 labels of three classes, of which 40 are wrong, and as many numbers an image as networks give."""
    dataset = make_dataset(N, classes=NAMES)
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, N)
    centers = rng.normal(size=(3, DIM)) * SPREAD
    add_vectors(dataset, (rng.normal(size=(N, DIM)) + centers[y]).astype(np.float32))
    wrong = rng.choice(N_LABELED, N_PLANTED, replace=False)
    given = y.copy()
    given[wrong] = (y[wrong] + rng.integers(1, 3, N_PLANTED)) % 3
    import_labels(dataset, list(range(N_LABELED)), given)
    # Unsmoothed, the model agrees with the wrong labels that it was trained on much more often than held-out ones do.
    RetrainPolicy.objects.update_or_create(dataset=dataset, defaults={"is_smoothed": False})
    run_now("retrain", dataset_id=dataset.pk)
    return dataset, set(wrong.tolist())


def issues(given: NDArray[np.int64], P: NDArray[np.float64]) -> set[int]:
    P = P / P.sum(axis=1, keepdims=True)
    return set(np.flatnonzero(find_label_issues(given, P, n_jobs=1)).tolist())


@pytest.mark.slow
def test_cleanlab_finds_planted_errors_in_the_export(planted: tuple[Dataset, set[int]]) -> None:
    dataset, wrong = planted
    rows, labels = exported(dataset)
    labeled = [row for row in rows if row["is_labeled"] == "1"]
    given = np.array([NAMES.index(labels[row["item_id"]]) for row in labeled])
    P = np.array([[float(row[f"p:{name}"]) for name in NAMES] for row in labeled])
    assert len(labeled) == N_LABELED
    found = issues(given, P)
    hits = len(found & wrong)

    predictions = not_none(active_predictions(dataset))
    in_sample = np.asarray(predictions.probabilities[:N_LABELED], dtype=np.float64)
    hits_in_sample = len(issues(given, in_sample) & wrong)
    print(f"Of {N_PLANTED} planted errors: {hits} with the export, {hits_in_sample} with in-sample probabilities")
    assert hits >= 0.75 * N_PLANTED
    assert hits >= 0.5 * len(found)
    assert hits_in_sample <= 0.15 * N_PLANTED


def test_the_example_in_the_docs_finds_them(
    planted: tuple[Dataset, set[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dataset, wrong = planted
    archive_file = opened(archive_bytes(dataset, extras=frozenset({"predictions"})))
    archive_file.extractall(tmp_path, ["labels.csv", "predictions.csv"])
    monkeypatch.chdir(tmp_path)
    docs = (settings.BASE_DIR / "docs" / "reference" / "exports.md").read_text()
    exec(docs.split("```python\n")[1].split("```")[0], {})
    printed = capsys.readouterr().out
    found = {row for row in range(N_LABELED) if f"image{row:04d}.png" in printed}
    assert len(found & wrong) >= 0.75 * N_PLANTED


def test_the_export_agrees_with_labels_as_often_as_the_held_out_accuracy_says(
    planted: tuple[Dataset, set[int]],
) -> None:
    dataset, _ = planted
    rows, labels = exported(dataset)
    version = ModelVersion.objects.get()
    labeled = [row for row in rows if row["is_labeled"] == "1"]
    assert {row["held_out"] for row in labeled} == {"1"}
    agreement = float(np.mean([row["predicted"] == labels[row["item_id"]] for row in labeled]))
    assert agreement == pytest.approx(version.metrics["accuracy"], abs=0.005)
    predictions = not_none(active_predictions(dataset))
    given = np.array([NAMES.index(labels[row["item_id"]]) for row in labeled])
    assert (predictions.probabilities[:N_LABELED].argmax(axis=1) == given).mean() > agreement + 0.01


@pytest.mark.slow
def test_each_row_is_consistent_and_unlabeled_ones_come_from_the_model(planted: tuple[Dataset, set[int]]) -> None:
    dataset, _ = planted
    rows, _ = exported(dataset)
    predictions = active_predictions(dataset)
    held = model_files.open_held_out(ModelVersion.objects.get())
    assert predictions is not None
    assert held is not None
    out_of_fold = dict(zip(held.rows.tolist(), held.probabilities, strict=True))
    for row, line in by_row(dataset, rows).items():
        values = {name: float(line[f"p:{name}"]) for name in NAMES}
        assert float(line["probability"]) == max(values.values())
        assert line["predicted"] == max(values, key=lambda name: values[name])
        is_labeled = row < N_LABELED
        assert (line["is_labeled"], line["held_out"]) == (("1", "1") if is_labeled else ("0", "0"))
        wanted = out_of_fold[row] if is_labeled else predictions.probabilities[row]
        assert list(values.values()) == pytest.approx(wanted.tolist(), rel=1e-5, abs=1e-6)


def test_labels_without_out_of_fold_probabilities_say_so(make_dataset: MakeDataset) -> None:
    dataset, y = three_kinds_dataset(make_dataset, 60)
    # Row 59 is the only wolf.
    import_labels(dataset, [row for row in range(50) if y[row] < 2] + [59], y)
    run_now("retrain", dataset_id=dataset.pk)
    ids = dict(dataset.items.values_list("row", "pk"))
    cat = dataset.classes.get(name="cat")
    record_import(dataset, [Decision(ids[52], State.LABELLED, cat.pk)], None)  # after the training
    decide(dataset, "clear", [0])
    decide(dataset, "assign", [1], "wolf")  # was a dog when the model was trained
    lines = by_row(dataset, exported(dataset)[0])
    flags = {row: (line["is_labeled"], line["held_out"]) for row, line in lines.items()}
    assert (flags[59], flags[52], flags[0]) == (("1", "0"), ("1", "0"), ("0", "0"))
    assert flags[1] == ("1", "1")  # nothing of it was in its fit, whatever it is called now
    assert (flags[2], flags[3]) == (("0", "0"), ("1", "1"))
    predictions = not_none(active_predictions(dataset))
    for row in (59, 52, 0, 2):
        values = [float(lines[row][f"p:{name}"]) for name in NAMES]
        assert values == pytest.approx(predictions.probabilities[row].tolist(), rel=1e-5, abs=1e-6)


def test_the_columns_of_merged_classes_are_summed_out_of_fold_too(make_dataset: MakeDataset) -> None:
    from labeling.decisions import classes

    dataset, _ = three_kinds_dataset(make_dataset, 60, 60)
    run_now("retrain", dataset_id=dataset.pk)
    held = not_none(model_files.open_held_out(ModelVersion.objects.get()))
    by_name = {one.name: one for one in dataset.classes.all()}
    classes.merge(by_name["cat"], by_name["wolf"], user=None)
    lines = by_row(dataset, exported(dataset)[0])
    assert {line["held_out"] for line in lines.values()} == {"1"}
    for row, values in zip(held.rows.tolist(), held.probabilities.tolist(), strict=True):
        line = lines[row]
        assert [float(line["p:dog"]), float(line["p:wolf"])] == pytest.approx(
            [values[1], values[0] + values[2]], rel=1e-5, abs=1e-6
        )


def test_without_held_out_predictions_no_row_claims_them(make_dataset: MakeDataset) -> None:
    dataset, y = clouds_dataset(make_dataset, 30)
    import_labels(dataset, [int(np.flatnonzero(y == kind)[0]) for kind in (0, 1)], y)
    run_now("retrain", dataset_id=dataset.pk)
    rows, labels = exported(dataset)
    assert {row["held_out"] for row in rows} == {"0"}
    assert {row["item_id"] for row in rows if row["is_labeled"] == "1"} == labels.keys()
    assert Item.objects.filter(state=State.LABELLED).count() == 2


def test_a_quick_trainings_test_part_is_held_out_and_the_rest_is_not(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(6)
    decide(dataset, "assign", [0, 1, 2], "cat")
    decide(dataset, "assign", [3, 4], "dog")
    class_ids = list(dataset.classes.values_list("pk", flat=True))
    version = make_version(dataset, kind=ModelVersion.Kind.QUICK, n_labels=5, class_ids=class_ids, is_active=True)
    with model_files.save_probabilities(version, 6, 2) as out:
        out[:] = [0.9, 0.1]
    # One test image of each class: there are others of it in the training part.
    held = np.array([[0.6, 0.4], [0.7, 0.3]], np.float32)
    model_files.save_held_out(version, model_files.HeldOut(np.array([1, 4]), np.array([0, 1]), held))
    lines = by_row(dataset, exported(dataset)[0])
    assert [lines[row]["held_out"] for row in range(6)] == ["0", "1", "0", "0", "1", "0"]
    assert [lines[row]["is_labeled"] for row in range(6)] == ["1", "1", "1", "1", "1", "0"]
    assert [lines[row]["p:cat"] for row in range(6)] == ["0.9", "0.6", "0.9", "0.9", "0.7", "0.9"]
    assert lines[4]["predicted"] == "cat"
