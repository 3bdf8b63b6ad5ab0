"""What an export tells about how its images were chosen."""

import json
from dataclasses import asdict

import pytest
from django.test import Client

from labeling.models import Dataset, Item
from tests.factories import MakeDataset, archive_bytes, manifest, opened, table

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


def label_shown(client: Client, dataset: Dataset, queue: str, seed: int, n: int) -> int:
    """Deal ``n`` tiles of a queue and give them all a class, as the page does; returns the round."""
    page = client.get(f"/d/{dataset.slug}/grid/?queue={queue}&seed={seed}&n={n}").context["page"]
    cat = dataset.classes.get(name="cat")
    action = {
        "uuid": f"00000000-0000-4000-8000-{seed:012d}",
        "kind": "assign",
        "label": cat.pk,
        "at": "2026-01-02T03:04:05Z",
        "items": [{"id": tile.item.pk, "seen": 0, "shown": asdict(tile.shown)} for tile in page.tiles],
    }
    body = json.dumps({"actions": [action]})
    assert client.post(f"/d/{dataset.slug}/annotate/", body, "application/json").status_code == 200
    return int(page.round_id)


def test_rounds_that_led_to_labels_are_told_with_their_seeds(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(12)
    first = label_shown(client, dataset, "random", 11, 3)
    second = label_shown(client, dataset, "audit", 12, 2)
    archive = opened(archive_bytes(dataset, extras=frozenset({"rounds"})))
    assert manifest(archive)["queues"] == {"audit": 2, "random": 3}
    rows = {row["round_id"]: row for row in table(archive, "rounds.csv")}
    assert set(rows) == {str(first), str(second)}
    assert (rows[str(first)]["queue"], rows[str(first)]["seed"], rows[str(first)]["labels"]) == ("random", "11", "3")

    before = archive_bytes(dataset, extras=frozenset({"rounds"}))
    client.get(f"/d/{dataset.slug}/grid/?queue=random&seed=99&n=3")
    assert archive_bytes(dataset, extras=frozenset({"rounds"})) == before, "a pull that led to no label changes nothing"
    assert Item.objects.filter(dataset=dataset, state=1).count() == 5
