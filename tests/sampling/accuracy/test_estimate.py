"""Honest accuracy from the database to an estimate: which labels count, who judges them, what is kept."""

import io

import numpy as np
import pytest
from django.test import Client

from hoshina.jobs.lifecycle import run_now
from labeling.fields import split_groups
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.models import Action, Annotation, Dataset, Item, LabelClass, State
from modeling.predictions import held_out_of, predictions_of
from modeling.versions import model_files
from sampling.accuracy import estimate as accuracy_estimate
from sampling.algorithms.estimates import collection_accuracy, wilson_continuous
from sampling.algorithms.prediction_powered import powered_accuracy
from sampling.models import AccuracyEstimate
from tests.factories import MakeDataset, count_queries, not_none
from tests.modeling.factories import add_vectors, clouds_dataset, two_clouds
from tests.sampling.factories import add_model, decide_shown, estimates_at, undo
from tests.sampling.served import label_tiles

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


X, Y = two_clouds(120)


def name_of(row: int, y: np.ndarray = Y) -> str:
    return ("cat", "dog")[int(y[row])]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    """Provide 120 images of two overlapping kinds; 30 labelled by choice, then 25 of the audit, one by one."""
    dataset = make_dataset(120)
    add_vectors(dataset, 0.5 * X)
    for row in range(30):
        decide_shown(dataset, [row], name_of(row), queue="uncertain")
    for row in range(30, 55):
        decide_shown(dataset, [row], name_of(row), queue="audit" if row % 2 else "auto/audit")
    return dataset


def retrained(dataset: Dataset) -> AccuracyEstimate:
    run_now("retrain", dataset_id=dataset.pk)
    return AccuracyEstimate.objects.get(model_version__is_active=True, dataset=dataset)


def test_every_version_gets_an_estimate_from_fits_that_had_not_seen_the_labels(dataset: Dataset) -> None:
    kept = retrained(dataset)
    held = not_none(held_out_of(kept.model_version))
    right = held.predicted() == held.given
    assert (kept.n_audit, kept.n_right) == (25, int(right[30:55].sum()))
    assert (kept.n_labels, kept.n_items, kept.n_undecided) == (55, 120, 0)
    predictions = predictions_of(kept.model_version)
    assert predictions is not None
    unlabeled = predictions.probabilities[55:].max(axis=1)
    expected = powered_accuracy(right, held.probabilities.max(axis=1), np.arange(55) >= 30, unlabeled)
    assert (kept.value, kept.low, kept.high) == pytest.approx((expected.value, expected.low, expected.high))
    truth = dict(zip(("cat", "dog"), ((Y[30:55] == k).sum() for k in (0, 1)), strict=True))
    names = dict(dataset.classes.values_list("pk", "name"))
    assert {names[one["class_id"]]: one["n"] for one in kept.per_class} == truth
    for one in kept.per_class:
        same = wilson_continuous(one["n_right"], one["n"])
        assert (one["value"], one["low"], one["high"]) == pytest.approx((same.value, same.low, same.high))


def test_where_images_belong_together_the_interval_heeds_it(dataset: Dataset, client: Client) -> None:
    lines = ["path,night", *(f"image{row:04d}.png,{row // 5}" for row in range(120))]
    import_fields(dataset, io.BytesIO("\n".join(lines).encode()), Wish())
    split_groups.choose(dataset, "night")
    kept = retrained(dataset)
    held = not_none(held_out_of(kept.model_version))
    right, groups = held.predicted() == held.given, np.arange(55) // 5
    is_audit = np.arange(55) >= 30
    expected = collection_accuracy(right, is_audit, 120, groups)
    assert (kept.value, kept.low, kept.high) == pytest.approx((expected.value, expected.low, expected.high))
    plain = collection_accuracy(right, is_audit, 120)
    assert kept.value == plain.value
    assert kept.high - kept.low > plain.high - plain.low
    assert 1 <= kept.n_effective < plain.n
    page = client.get("/d/pictures/accuracy/").content.decode()
    assert "each was predicted by a model trained without its night" in page


def test_history_outlives_the_arrays(dataset: Dataset) -> None:
    first = retrained(dataset)
    model_files.delete_files(first.model_version)
    second = retrained(dataset)
    assert [one.pk for one in accuracy_estimate.history(dataset)] == [first.pk, second.pk]
    assert accuracy_estimate.latest(dataset) == second


def test_without_audit_labels_nothing_is_claimed(make_dataset: MakeDataset) -> None:
    dataset, y = clouds_dataset(make_dataset, 60)
    for row in range(30):
        decide_shown(dataset, [row], name_of(row, y), queue="random")
    run_now("retrain", dataset_id=dataset.pk)
    assert accuracy_estimate.latest(dataset) is None


def test_with_too_few_labels_the_suggestion_of_the_time_speaks(make_dataset: MakeDataset) -> None:
    dataset, y = clouds_dataset(make_dataset, 60)
    cat = LabelClass.objects.get(name="cat")
    decide_shown(dataset, [int(np.flatnonzero(y == 0)[0])], "cat", queue="random")
    decide_shown(dataset, [int(np.flatnonzero(y == 1)[0])], "dog", queue="random")
    shown = [int(np.flatnonzero(y == k)[1]) for k in (0, 1)]
    decide_shown(dataset, [shown[0]], "cat", queue="audit", suggested_label_id=cat.pk)
    decide_shown(dataset, [shown[1]], "dog", queue="audit", suggested_label_id=cat.pk)
    decide_shown(dataset, [int(np.flatnonzero(y == 1)[2])], "dog", queue="audit")
    kept = retrained(dataset)
    assert held_out_of(kept.model_version) is None
    assert (kept.n_audit, kept.n_right) == (2, 1), "the one that nothing was said of does not count"


def test_a_label_corrected_later_still_counts_with_what_it_is_now(dataset: Dataset) -> None:
    before = retrained(dataset)
    wrong = {"cat": "dog", "dog": "cat"}[name_of(31)]
    decide_shown(dataset, [31], wrong, queue="suspects")
    judged = accuracy_estimate.judge(before.model_version)
    assert judged.is_audit.sum() == 25
    assert abs(int(judged.right[judged.is_audit].sum()) - before.n_right) == 1
    undo(dataset)
    assert int(accuracy_estimate.judge(before.model_version).right[judged.is_audit].sum()) == before.n_right


def test_an_undone_draw_that_is_labelled_by_choice_later_does_not_count(dataset: Dataset) -> None:
    decide_shown(dataset, [60], name_of(60), queue="audit")
    undo(dataset)
    decide_shown(dataset, [60], name_of(60), queue="uncertain")
    assert retrained(dataset).n_audit == 25


def test_draws_left_without_a_class_are_counted_apart_until_they_get_one(dataset: Dataset) -> None:
    decide_shown(dataset, [70, 71], None, kind=Action.Kind.UNSURE, queue="audit")
    kept = retrained(dataset)
    assert (kept.n_audit, kept.n_undecided) == (25, 2)
    decide_shown(dataset, [70], name_of(70), queue="all")
    kept = retrained(dataset)
    assert (kept.n_audit, kept.n_undecided) == (26, 1)


def test_a_draw_from_a_part_of_the_collection_does_not_stand_for_the_whole(dataset: Dataset, client: Client) -> None:
    run_now("retrain", dataset_id=dataset.pk)
    cat = LabelClass.objects.get(name="cat")
    for query, n in ((f"queue=audit&predicted={cat.pk}", 2), ("queue=audit", 1)):
        tiles = client.get(f"/d/pictures/grid/?n={n}&{query}").context["page"].tiles
        assert len(tiles) == n
        assert label_tiles(client, dataset, tiles)["results"][0]["unconfirmed"] == []
    assert Annotation.objects.filter(queue="audit").count() == 12 + 3
    assert retrained(dataset).n_audit == 26


def test_a_label_given_before_is_no_draw(dataset: Dataset) -> None:
    decide_shown(dataset, [3], name_of(3), queue="audit")
    assert retrained(dataset).n_audit == 25


def test_merged_and_deleted_classes(dataset: Dataset) -> None:
    kept = retrained(dataset)
    cat, dog = dataset.classes.all()
    LabelClass.objects.filter(pk=dog.pk).update(is_retired=True, merged_into=cat)
    Item.objects.filter(dataset=dataset, state=State.LABELLED).update(label=cat)
    assert accuracy_estimate.judge(kept.model_version).right.all()


def test_confidence_on_unlabeled_images_sums_merged_classes_and_ignores_deleted_ones(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(5)
    _, dog = dataset.classes.all()
    more = [LabelClass.objects.create(dataset=dataset, name=name, order=9) for name in ("hound", "fox")]
    P = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7], [np.nan] * 4, [0.7, 0.1, 0.1, 0.1]], dtype=np.float32)
    version = add_model(dataset, P)
    LabelClass.objects.filter(pk=more[0].pk).update(is_retired=True, merged_into=dog)
    LabelClass.objects.filter(pk=more[1].pk).update(is_retired=True)
    decide_shown(dataset, [3], "cat", queue="all")
    monkeypatch.setattr(accuracy_estimate, "BLOCK", 2)
    np.testing.assert_allclose(accuracy_estimate._unlabeled_confidence(version), [0.5, 0.2])
    LabelClass.objects.filter(dataset=dataset).update(is_retired=True, merged_into=None)
    assert len(accuracy_estimate._unlabeled_confidence(version)) == 0


def test_queries_do_not_grow_with_labels(dataset: Dataset) -> None:
    version = retrained(dataset).model_version
    counted = []
    for more in (0, 40):
        for row in range(60, 60 + more):
            decide_shown(dataset, [row], name_of(row), queue="audit")
        counted.append(count_queries(accuracy_estimate.judge, version))
    assert counted[0] == counted[1] <= 5


def test_outlook_goes_on_where_the_curve_was_going(make_dataset: MakeDataset) -> None:
    points = [(n, 0.95 - 2 * n**-0.5, n) for n in (100, 200, 400, 800)]
    told = accuracy_estimate.outlook(estimates_at(make_dataset(1), points))
    assert told.curve is not None
    end = not_none(told.end)
    assert end["labels"] == 1600
    assert end["value"] == pytest.approx(0.9, abs=0.015)
    assert end["low"] < end["value"] < end["high"]
    assert told.curve.sizes[0] == 800


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "there are 0"),
        ([(50, 0.5, 30), (50, 0.6, 30), (90, 0.7, 30)], "there are 2"),
        ([(50, 0.5, 3), (70, 0.6, 9), (90, 0.7, 19)], "20 audit labels; there are 19"),
    ],
)
def test_outlook_says_what_it_lacks(
    make_dataset: MakeDataset, points: list[tuple[int, float, int]], words: str
) -> None:
    told = accuracy_estimate.outlook(estimates_at(make_dataset(1), points))
    assert told.curve is None
    assert told.end is None
    assert words in told.why_not
