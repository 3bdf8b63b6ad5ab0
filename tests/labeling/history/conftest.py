"""A dataset with decisions of all kinds, and stores that are empty again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.management.color import no_style
from django.db import connection

from labeling.decisions import classes
from labeling.decisions.content_changes import mark_content_changed
from labeling.guide import guides
from labeling.models import Annotation, Dataset, Item, LabelClass
from labeling.notes.entries import add_note
from labeling.notes.tags import tag_items
from modeling.models import ModelVersion
from sampling.models import AccuracyEstimate, Round
from sampling.sweeps.checks import deal_checks, settle
from tests.factories import MakeDataset, archive_bytes, decide

EVERYTHING = frozenset({"annotations", "rounds"})
DRAW = {"queue": "audit", "selection_probability": 1 / 3, "score": 0.1, "is_random_draw": True}


@pytest.fixture
def empty_store() -> Callable[[], None]:
    """Delete everything, and begin with the first ids again, as in a new store."""

    def empty() -> None:
        for model in (Annotation, Item, Dataset, User):
            model.objects.all().delete()
        with connection.cursor() as cursor:
            sequences = connection.introspection.sequence_list()
            for statement in connection.ops.sequence_reset_by_name_sql(no_style(), sequences):
                cursor.execute(statement)

    return empty


@pytest.fixture
def recorded(make_dataset: MakeDataset, empty_store: Callable[[], None]) -> Dataset:
    """Provide a dataset with rounds, models, random draws, undone and merged decisions, remarks and a guide."""
    empty_store()
    dataset = make_dataset(40, classes=("cat", "=dog", "fox"))
    ana, ben = User.objects.create_user("ana", password="x"), User.objects.create_user("ben")
    cat, dog, fox = LabelClass.objects.filter(dataset=dataset).order_by("pk")
    version = ModelVersion.objects.create(
        dataset=dataset, number=1, class_ids=[cat.pk, dog.pk], n_labels=5, n_rows=40, n_decisions=5,
        metrics={"accuracy": 0.75}, is_active=True,
    )  # fmt: skip
    AccuracyEstimate.objects.create(
        dataset=dataset, model_version=version, n_labels=5, n_items=40, n_audit=4, n_right=3, value=0.75, low=0.3,
        high=0.95, n_effective=4.5, per_class=[{"class_id": cat.pk, "n": 4, "n_right": 3, "value": 0.75, "low": 0.3,
                                                "high": 0.95}],
    )  # fmt: skip
    rounds = [
        Round.objects.create(
            dataset=dataset, queue=queue, params={"n": 5}, seed=7, n_ranked=40, model_version_id=version.pk
        )
        for queue in ("audit", "uncertain")
    ]
    for row in range(6):
        decide(
            dataset, "assign", [row], "cat", user=ana, round_id=rounds[0].pk, rank=row, seconds=1.25 + row / 7,
            suggested_label_id=dog.pk, suggested_probability=0.1 + row / 9, suggestion_shown=row % 2 == 0,
            model_version_id=version.pk, **DRAW,
        )  # fmt: skip
    decide(dataset, "assign", range(6, 20), "=dog", user=ben, round_id=rounds[1].pk, rank=3, queue="uncertain")
    decide(dataset, "unsure", [20, 21], user=ben, rendering="stretch=asinh")
    decide(dataset, "skip", [22, 23])
    decide(dataset, "assign", [20], "fox")
    decide(dataset, "assign", [0], "=dog", user=ben)
    decide(dataset, "undo", user=ben)
    decide(dataset, "clear", [6])
    decide(dataset, "assign", [24], "fox", holder="first")
    decide(dataset, "assign", [24], "cat", holder="second")
    decide(dataset, "undo", holder="first")  # replaced by a later decision: it changes nothing
    mark_content_changed([Item.objects.get(row=7).pk])
    guides.save(cat, "A *cat*.", {dog.pk: "It barks."})
    guides.add_examples(dataset, [Item.objects.get(row=1).pk])
    classes.merge(fox, cat, user=ana)
    for name in ("hound", "=dog"):
        classes.edit(LabelClass.objects.get(pk=dog.pk), name=name, colour=dog.colour, key=dog.key, user=ben)
    classes.add(dataset, "owl")
    decide(dataset, "assign", [30], "cat", holder="")
    sweep(dataset, dog)
    item = Item.objects.get(row=2)
    add_note(item, "blurred; =1", ana)
    tag_items(dataset, [item.pk, Item.objects.get(row=35).pk], "ring", ben, is_on=True)
    Dataset.objects.filter(pk=dataset.pk).update(license="CC0-1.0", description="Cats, and dogs.")
    dataset.refresh_from_db()
    return dataset


def sweep(dataset: Dataset, label: LabelClass) -> None:
    """Accept a page, and decide on some of its hidden checks: right, wrong, disputed and waiting."""
    rows = np.array([31, 32, 33, 34, 36, 37, 38, 39])
    page = Round.objects.create(
        dataset=dataset, queue="sweep", params={"facts": {"promised_error": 0.02, "model_wrong": 0.5}}, seed=3,
        n_ranked=len(rows), rows=rows.astype("<i8").tobytes(),
    )  # fmt: skip
    deal_checks(page, label.pk, [31, 32, 33, 34], [0.9, 0.8, 0.95, 0.7])
    decide(dataset, "assign", rows[4:].tolist(), label.name, round_id=page.pk, queue="sweep", holder="sweep")
    settle(dataset.pk)
    decide(dataset, "assign", [31], label.name, holder="check")
    for row in (32, 32, 33):
        decide(dataset, "assign", [row], "cat", holder="check")
        settle(dataset.pk)


@pytest.fixture
def exported(recorded: Dataset, tmp_path: Path) -> Path:
    """Provide the archive of its record."""
    path = tmp_path / "export.zip"
    path.write_bytes(archive_bytes(recorded, extras=EVERYTHING))
    return path
