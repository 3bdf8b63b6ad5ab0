"""Test how decisions are saved, undone, refused and counted."""

import hashlib
import importlib
import random
import uuid
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from hoshina.core.http import HOLDER_CHARS
from labeling.decisions.save import Decision, Request, Result, Shown, Target, apply, record_import
from labeling.models import Action, Annotation, Dataset, Item, LabelClass, State
from tests.factories import MakeDataset, count_queries, fresh

pytestmark = pytest.mark.django_db


def press(
    dataset: Dataset,
    kind: Action.Kind,
    items: list[Item] | None = None,
    *,
    label: LabelClass | None = None,
    holder: str = "me",
    user: User | None = None,
    overwrite: bool = False,
    seen: int | None = None,
) -> Result:
    targets = tuple(Target(item.pk, seen=item.newest_annotation_id if seen is None else seen) for item in items or [])
    request = Request(
        uuid.uuid4(), kind, timezone.now(), label.pk if label else None, overwrite=overwrite, targets=targets
    )
    return apply(dataset, [request], user=user, holder=holder).results[0]


def states(dataset: Dataset) -> list[tuple[int, str | None]]:
    items = Item.objects.filter(dataset=dataset).order_by("row").select_related("label")
    return [(item.state, item.label.name if item.label else None) for item in items]


def assert_counters_true(dataset: Dataset) -> None:
    counts = apply(dataset, [], user=None, holder="me").counts()
    items = Item.objects.filter(dataset=dataset)
    assert counts["labelled"] == items.filter(state=State.LABELLED).count()
    assert counts["unsure"] == items.filter(state=State.UNSURE).count()
    assert counts["skipped"] == items.filter(state=State.SKIPPED).count()
    for label_id, n in counts["classes"].items():
        assert n == items.filter(label=label_id).count()


def test_assign_writes_annotation_state_and_counters(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(5)
    cat = dataset.classes.get(name="cat")
    items = list(dataset.items.order_by("row"))
    result = press(dataset, Action.Kind.ASSIGN, items[:3], label=cat)
    assert result.status == "saved"
    assert [item["state"] for item in result.items] == [State.LABELLED] * 3
    assert states(dataset)[:4] == [(1, "cat")] * 3 + [(0, None)]
    for item in dataset.items.filter(state=State.LABELLED):
        newest = Annotation.objects.get(pk=item.newest_annotation_id)
        assert newest.item_id == item.pk
        assert item.decision_id == newest.pk
    assert_counters_true(dataset)


def test_the_same_action_twice_counts_once(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    item = dataset.items.first()
    cat, dog = dataset.classes.all()
    first = Request(uuid.uuid4(), Action.Kind.ASSIGN, timezone.now(), cat.pk, targets=(Target(item.pk),))
    second = Request(uuid.uuid4(), Action.Kind.ASSIGN, timezone.now(), dog.pk, targets=(Target(item.pk),))
    apply(dataset, [first, second], user=None, holder="me")
    again = apply(dataset, [first], user=None, holder="me").results[0]
    assert again.status == "repeated"
    assert again.items[0]["label"] == dog.pk
    assert Annotation.objects.count() == 2
    assert_counters_true(dataset)


def test_undo_goes_back_any_depth_and_then_says_so(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(4)
    cat, dog = dataset.classes.all()
    items = list(dataset.items.order_by("row"))
    seen = [states(dataset)]
    for kind, some, label in [
        (Action.Kind.ASSIGN, items[:3], cat),
        (Action.Kind.UNSURE, items[1:2], None),
        (Action.Kind.ASSIGN, items[:1], dog),
        (Action.Kind.SKIP, items[2:], None),
        (Action.Kind.CLEAR, items[:1], None),
    ]:
        for item in some:
            item.refresh_from_db()
        press(dataset, kind, some, label=label)
        seen.append(states(dataset))
    for expected in reversed(seen[:-1]):
        assert press(dataset, Action.Kind.UNDO).status == "saved"
        assert states(dataset) == expected
        assert_counters_true(dataset)
    refused = press(dataset, Action.Kind.UNDO)
    assert refused.status == "refused"
    assert "nothing left to undo" in refused.error


def test_undo_keeps_the_earlier_decisions_own_provenance(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    ana = User.objects.create(username="ana")
    item = dataset.items.first()
    cat = dataset.classes.get(name="cat")
    shown = Shown(queue="uncertain", round_id=4, rank=2, score=0.5, suggested_label_id=cat.pk)
    request = Request(
        uuid.uuid4(), Action.Kind.ASSIGN, timezone.now(), cat.pk,
        targets=(Target(item.pk, seconds=1.5, shown=shown),),
    )  # fmt: skip
    apply(dataset, [request], user=ana, holder="me")
    first = Annotation.objects.get()
    item.refresh_from_db()
    press(dataset, Action.Kind.SKIP, [item], user=ana)
    press(dataset, Action.Kind.UNDO)
    newest = Annotation.objects.order_by("-pk")[0]
    assert newest.action.kind == Action.Kind.UNDO
    assert (newest.queue, newest.round_id, newest.rank, newest.seconds) == ("uncertain", 4, 2, 1.5)
    assert (newest.annotator, newest.decided_at) == (ana, first.decided_at)
    assert fresh(item).decision_id == first.pk


def test_each_browser_undoes_its_own_and_not_what_came_later(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    cat, dog = dataset.classes.all()
    first, second = dataset.items.order_by("row")
    press(dataset, Action.Kind.ASSIGN, [first, second], label=cat, holder="ana")
    first.refresh_from_db()
    press(dataset, Action.Kind.ASSIGN, [first], label=dog, holder="bob")
    result = press(dataset, Action.Kind.UNDO, holder="ana")
    assert [item["id"] for item in result.items] == [second.pk]
    assert [conflict["id"] for conflict in result.conflicts] == [first.pk]
    assert states(dataset) == [(1, "dog"), (0, None)]
    assert_counters_true(dataset)


def test_another_browsers_newer_decision_is_a_conflict(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    bob = User.objects.create(username="bob")
    cat, dog = dataset.classes.all()
    first, second = dataset.items.order_by("row")
    press(dataset, Action.Kind.ASSIGN, [first], label=dog, holder="bob", user=bob)
    result = press(dataset, Action.Kind.ASSIGN, [first, second], label=cat, holder="ana", seen=0)
    assert [(c["id"], c["label"], c["by"]) for c in result.conflicts] == [(first.pk, dog.pk, "bob")]
    assert states(dataset) == [(1, "dog"), (1, "cat")]
    forced = press(dataset, Action.Kind.ASSIGN, [first], label=cat, holder="ana", seen=0, overwrite=True)
    assert forced.conflicts == []
    assert states(dataset)[0] == (1, "cat")


def test_own_newer_decision_is_no_conflict(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    cat, dog = dataset.classes.all()
    item = dataset.items.get()
    press(dataset, Action.Kind.ASSIGN, [item], label=cat, seen=0)
    assert press(dataset, Action.Kind.ASSIGN, [item], label=dog, seen=0).conflicts == []
    assert states(dataset) == [(1, "dog")]


def test_a_retired_class_or_a_foreign_item_is_refused_whole(make_dataset: MakeDataset) -> None:
    dataset, other = make_dataset(2), make_dataset(1, name="other")
    cat = dataset.classes.get(name="cat")
    LabelClass.objects.filter(pk=cat.pk).update(is_retired=True)
    assert press(dataset, Action.Kind.ASSIGN, list(dataset.items.all()), label=cat).status == "refused"
    dog = dataset.classes.get(name="dog")
    foreign = [*dataset.items.all(), *other.items.all()]
    assert press(dataset, Action.Kind.ASSIGN, foreign, label=dog).status == "refused"
    assert Annotation.objects.count() == 0
    assert Action.objects.count() == 0


def test_undo_follows_a_merged_class(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    cat, dog = dataset.classes.all()
    item = dataset.items.get()
    press(dataset, Action.Kind.ASSIGN, [item], label=cat)
    item.refresh_from_db()
    press(dataset, Action.Kind.SKIP, [item])
    LabelClass.objects.filter(pk=cat.pk).update(is_retired=True, merged_into=dog)
    press(dataset, Action.Kind.UNDO)
    assert states(dataset) == [(1, "dog")]


def test_an_action_that_did_nothing_leaves_no_trace(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    cat, dog = dataset.classes.all()
    item = dataset.items.get()
    press(dataset, Action.Kind.ASSIGN, [item], label=cat, holder="bob")
    blocked = press(dataset, Action.Kind.ASSIGN, [item], label=dog, holder="ana", seen=0)
    assert len(blocked.conflicts) == 1
    assert press(dataset, Action.Kind.UNDO, holder="ana").status == "refused"
    assert Action.objects.count() == 1


def test_import_applies_only_what_changes(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(4)
    cat = dataset.classes.get(name="cat")
    ids = list(dataset.items.order_by("row").values_list("pk", flat=True))
    decisions = [Decision(ids[0], State.LABELLED, cat.pk), Decision(ids[1], State.UNSURE)]
    assert record_import(dataset, decisions, None) == (2, 0)
    assert record_import(dataset, decisions, None) == (0, 2)
    assert Annotation.objects.count() == 2
    assert_counters_true(dataset)
    assert press(dataset, Action.Kind.UNDO).status == "refused"


@pytest.mark.parametrize("seed", range(5))
def test_any_sequence_keeps_counters_and_derived_state_true(make_dataset: MakeDataset, seed: int) -> None:
    """Check that the derived state equals a replay of the history, for any sequence of actions."""
    rng = random.Random(seed)
    dataset = make_dataset(12)
    labels = list(dataset.classes.all())
    for _ in range(60):
        holder = rng.choice(["ana", "bob"])
        kind = rng.choice([*Action.ON_UNDO_STACK, Action.Kind.UNDO])
        some = rng.sample(list(dataset.items.all()), rng.randint(1, 5))
        if kind == Action.Kind.UNDO:
            press(dataset, kind, holder=holder)
        else:
            label = rng.choice(labels) if kind == Action.Kind.ASSIGN else None
            press(dataset, kind, some, label=label, holder=holder)
    assert_counters_true(dataset)
    for item in dataset.items.all():
        newest = item.annotations.order_by("-pk").first()
        if newest is None:
            assert (item.state, item.newest_annotation_id) == (State.UNLABELLED, 0)
            continue
        assert (item.state, item.label_id, item.newest_annotation_id) == (
            newest.state, newest.label_id, newest.pk,
        )  # fmt: skip


def test_queries_do_not_grow_with_the_items_of_an_action(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(300)
    cat, dog = dataset.classes.all()
    items = list(dataset.items.all())
    press(dataset, Action.Kind.ASSIGN, items[:1], label=cat)  # the first label of a process looks up the policy
    few = count_queries(press, dataset, Action.Kind.ASSIGN, items[1:3], label=cat)
    assert count_queries(press, dataset, Action.Kind.ASSIGN, items[3:9], label=dog) == few


def test_actions_from_before_keep_their_undo_but_not_the_session_key(make_dataset: MakeDataset) -> None:
    """Check that the migration hashes stored keys like hoshina.core.http.holder, and keeps other names."""
    migration = importlib.import_module("labeling.migrations.0010_random_draws_and_leases")
    dataset = make_dataset(3)
    cat = dataset.classes.get(name="cat")
    key = "abcdefghijklmnopqrstuvwxyz012345"
    first, second = dataset.items.order_by("row")[:2]
    press(dataset, Action.Kind.ASSIGN, [first], label=cat, holder=key)
    press(dataset, Action.Kind.ASSIGN, [second], label=cat, holder="command")
    migration.hash_holders(apps, SimpleNamespace(connection=connection))
    hashed = hashlib.sha256(key.encode()).hexdigest()[:HOLDER_CHARS]
    assert set(Action.objects.values_list("holder", flat=True)) == {hashed, "command"}
    assert press(dataset, Action.Kind.UNDO, holder=hashed).status == "saved"
