"""Test the pace: the median time of a person's recent decisions."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from labeling.decisions import pace
from labeling.decisions.save import Request, Target, apply
from labeling.models import Action, Dataset, Item
from tests.factories import MakeDataset

pytestmark = pytest.mark.django_db


def decide(dataset: Dataset, seconds: list[float | None], *, user: User | None = None, first_row: int = 0) -> None:
    label_id = dataset.classes.get(name="cat").pk
    for row, value in enumerate(seconds, start=first_row):
        target = Target(Item.objects.get(dataset=dataset, row=row).pk, seconds=value)
        request = Request(uuid.uuid4(), Action.Kind.ASSIGN, timezone.now(), label_id, targets=(target,))
        assert apply(dataset, [request], user=user, holder="me").results[0].status == "saved"


def test_median_of_timed_decisions(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(30)
    decide(dataset, [2.0] * 5 + [3.0] + [90.0] * 3)
    assert pace.seconds_per_decision(dataset, None) is None, "nine are too few"
    decide(dataset, [None, 3.0, 4.0], first_row=9)
    assert pace.seconds_per_decision(dataset, None) == 3.0


def test_only_the_persons_own_and_recent_decisions(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset(50)
    ana = User.objects.create(username="ana")
    decide(dataset, [1.0] * 12, user=ana)
    decide(dataset, [5.0] * 12, first_row=12)
    assert pace.seconds_per_decision(dataset, ana.pk) == 1.0
    assert pace.seconds_per_decision(dataset, None) == 5.0
    assert pace.seconds_per_decision(make_dataset(1, name="other"), None) is None
    decide(dataset, [8.0] * 12, user=ana, first_row=24)
    monkeypatch.setattr(pace, "RECENT", 12)
    assert pace.seconds_per_decision(dataset, ana.pk) == 8.0
    monkeypatch.setattr(pace, "SEARCHED", 5)
    assert pace.seconds_per_decision(dataset, ana.pk) is None


def test_undo_is_no_decision(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(12)
    decide(dataset, [2.0] * 9)
    request = Request(uuid.uuid4(), Action.Kind.UNDO, timezone.now())
    apply(dataset, [request], user=None, holder="me")
    assert pace.seconds_per_decision(dataset, None) is None
