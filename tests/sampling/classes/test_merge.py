"""Test what a merge would change, against one row at a time."""

import numpy as np
import pytest
from django.test import Client

from hoshina.jobs.lifecycle import run_now
from labeling.models import Dataset, LabelClass
from modeling.predictions import active_predictions, held_out_of
from sampling.classes.merge import count_predicted, preview_merge
from tests.factories import MakeDataset, assert_contains, not_none, said
from tests.modeling.factories import three_kinds_dataset
from tests.sampling.factories import add_model

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


def pair(dataset: Dataset) -> tuple[LabelClass, LabelClass]:
    cat, dog = dataset.classes.order_by("order")[:2]
    return cat, dog


def test_predictions_are_counted_one_row_at_a_time(make_dataset: MakeDataset) -> None:
    dataset, _ = three_kinds_dataset(make_dataset, 60)
    rng = np.random.default_rng(0)
    P = rng.dirichlet([1, 1, 1], 60).astype(np.float32)
    P[7] = np.nan
    add_model(dataset, P)
    cat, dog = pair(dataset)
    preview = preview_merge(cat, dog)
    rows = [values for values in P.tolist() if values[0] == values[0]]
    assert preview.n_predicted == sum(max(values) == values[0] for values in rows)
    assert preview.n_target == sum(max(values) == values[1] for values in rows)
    assert preview.n_joined == sum(values[0] + values[1] > values[2] for values in rows)
    assert preview.n_gained == not_none(preview.n_joined) - not_none(preview.n_predicted) - not_none(preview.n_target)
    assert preview.n_gained > 0
    assert count_predicted(cat) == preview.n_predicted
    assert preview.held_out is None


def test_the_accuracy_is_that_of_joined_columns(make_dataset: MakeDataset) -> None:
    dataset, _ = three_kinds_dataset(make_dataset, 90, 90)
    run_now("retrain", dataset_id=dataset.pk)
    cat, dog = pair(dataset)
    held_out = not_none(held_out_of(not_none(active_predictions(dataset)).model))
    ids = [label.pk for label in held_out.labels]
    joined = {cat.pk: dog.pk}
    n_before = n_after = n_mixed = 0
    for label, values in zip(held_out.given.tolist(), held_out.probabilities.tolist(), strict=True):
        by_class = dict(zip(ids, values, strict=True))
        predicted = max(by_class, key=lambda pk: by_class[pk])
        n_before += predicted == label
        n_mixed += {predicted, label} == {cat.pk, dog.pk}
        by_class[dog.pk] += by_class.pop(cat.pk)
        n_after += max(by_class, key=lambda pk: by_class[pk]) == joined.get(label, label)
    change = not_none(preview_merge(cat, dog).held_out)
    assert (change.n, change.n_mixed) == (90, n_mixed)
    assert (change.before, change.after) == (n_before / 90, n_after / 90)


def test_without_a_model_only_labels_are_counted(make_dataset: MakeDataset) -> None:
    dataset, _ = three_kinds_dataset(make_dataset, 30, 12)
    cat, dog = pair(dataset)
    preview = preview_merge(cat, dog)
    assert (preview.n_labels, preview.n_joined, preview.held_out) == (4, None, None)
    assert count_predicted(cat) is None
    page = said(Client().get(f"/d/pictures/classes/{cat.pk}/merge-preview/?target={dog.pk}"), 200)
    assert page == "cat dog 4 labels move to dog."
    for target in ("", "x", str(cat.pk), "999999"):
        assert said(Client().get(f"/d/pictures/classes/{cat.pk}/merge-preview/?target={target}"), 200) == ""


def test_the_form_shows_it(make_dataset: MakeDataset) -> None:
    dataset, _ = three_kinds_dataset(make_dataset, 60, 60)
    run_now("retrain", dataset_id=dataset.pk)
    cat, dog = pair(dataset)
    form = Client().get(f"/d/pictures/classes/{cat.pk}/merge/").content.decode()
    assert f'hx-get="/d/pictures/classes/{cat.pk}/merge-preview/"' in form
    page = said(Client().get(f"/d/pictures/classes/{cat.pk}/merge-preview/?target={dog.pk}"), 200)
    assert_contains(page, "20 labels move to dog.", "will be predicted as dog", "Held-out accuracy:", "(60 labels)")
