"""Old rounds lose their ranking and the record of their pages, and keep what labels refer to."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from labeling.models import Item
from sampling.models import Check, Round, ServedPage
from sampling.queues.retention import forget_old_rankings
from tests.factories import MakeDataset

pytestmark = pytest.mark.django_db
GRID = "/d/pictures/grid/"


def test_rankings_of_old_rounds_are_deleted(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(20)
    for _ in range(4):
        client.get(f"{GRID}?queue=random&n=5")
    new, old, sweep, in_use = Round.objects.order_by("pk")
    Check.objects.create(
        dataset=dataset, item=Item.objects.all()[0], round=sweep, label=dataset.classes.all()[0], probability=0.9,
        labels=3, promised=0.1,
    )  # fmt: skip
    long_ago = timezone.now() - timedelta(days=31)
    Round.objects.exclude(pk=new.pk).update(created_at=long_ago)
    ServedPage.objects.exclude(round=in_use).update(served_at=long_ago)
    before = (
        Round.objects.defer("rows", "scores", "probabilities", "sources")
        .values("queue", "params", "seed")
        .get(pk=old.pk)
    )
    forget_old_rankings()
    assert set(ServedPage.objects.values_list("round", flat=True)) == {new.pk, sweep.pk, in_use.pk}
    kept = {round_.pk: bool(round_.rows and round_.scores and round_.probabilities) for round_ in Round.objects.all()}
    assert kept == {new.pk: True, old.pk: False, sweep.pk: True, in_use.pk: True}
    assert Round.objects.values("queue", "params", "seed").get(pk=old.pk) == before
    # A page that was left open for so long goes on with other images.
    page = client.get(f"{GRID}?round={old.pk}&offset=5&n=5").content.decode()
    assert page.count('class="tile"') == 5
