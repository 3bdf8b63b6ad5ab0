"""The address that decisions are sent to."""

import json
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from labeling.models import Annotation, Dataset, Item
from tests.factories import MakeDataset

pytestmark = pytest.mark.django_db


def send(client: Client, dataset: Dataset, *actions: dict[str, Any]) -> Any:
    return client.post(f"/d/{dataset.slug}/annotate/", json.dumps({"actions": actions}), "application/json")


def action(kind: str, items: list[Item], label: int | None = None, **more: Any) -> dict[str, Any]:
    shown = {"queue": "uncertain", "round_id": 3, "rank": 7, "score": 0.25, "selection_probability": 1.0,
             "model_version_id": 2, "suggested_label_id": label, "suggested_probability": 0.5}  # fmt: skip
    return {
        "uuid": str(uuid.uuid4()),
        "kind": kind,
        "label": label,
        "at": "2026-01-02T03:04:05Z",
        "suggestion_shown": True,
        "items": [{"id": i.pk, "seen": i.newest_annotation_id, "seconds": 1.5, "shown": shown} for i in items],
    } | more


def test_a_batch_is_saved_and_answered_with_the_counts(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(5)
    cat, dog = dataset.classes.all()
    one, two, three = dataset.items.order_by("row")[:3]
    response = send(
        client, dataset, action("assign", [one, two], cat.pk), action("unsure", [three]), action("undo", [])
    )
    assert response.status_code == 200
    told = response.json()
    assert [result["status"] for result in told["results"]] == ["saved"] * 3
    assert told["results"][2]["items"][0]["state"] == 0
    assert told["counts"] == {
        "labelled": 2, "unsure": 0, "skipped": 0, "left": 3, "items": 5,
        "classes": {str(cat.pk): 2, str(dog.pk): 0},
    }  # fmt: skip


def test_who_decided_when_and_for_how_long_is_written_down(make_dataset: MakeDataset, client: Client) -> None:
    """How the item came to be shown is looked up: see tests/sampling/queues/test_provenance.py."""
    dataset = make_dataset(1)
    cat = dataset.classes.get(name="cat")
    send(client, dataset, action("assign", list(dataset.items.all()), cat.pk))
    written = Annotation.objects.get()
    assert written.seconds == 1.5
    assert written.decided_at.isoformat() == "2026-01-02T03:04:05+00:00"
    assert written.annotator == User.objects.get()


def test_a_time_in_the_future_is_taken_as_now(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(1)
    send(client, dataset, action("skip", list(dataset.items.all()), at="2999-01-01T00:00:00Z"))
    assert Annotation.objects.get().decided_at.year < 2999


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "import"}, "is not accepted"),
        ({"kind": "dance"}, "malformed"),
        ({"uuid": "7"}, "malformed"),
        ({"at": "yesterday"}, "malformed"),
        ({"items": []}, "at least one item"),
        ({"items": [{"id": "1"}]}, "id must be a whole number"),
        ({"items": [{"id": 1, "seconds": "long"}]}, "seconds must be a number"),
        ({"items": [{"id": 1, "seconds": 10**400}]}, "seconds must be a number"),
        ({"items": [{"id": True}]}, "id must be a whole number"),
        ({"items": "all"}, "has a list"),
        ({"label": 1.5}, "label must be a whole number"),
    ],
)
def test_a_malformed_action_is_refused_in_words_and_nothing_is_saved(
    make_dataset: MakeDataset, client: Client, change: dict[str, Any], words: str
) -> None:
    dataset = make_dataset(2)
    good = action("skip", list(dataset.items.all()))
    response = send(client, dataset, good, action("skip", list(dataset.items.all())) | change)
    assert response.status_code == 400
    assert words in response.json()["error"]
    assert Annotation.objects.count() == 0


@pytest.mark.parametrize("body", ["", "[]", "{", '{"actions": 3}'])
def test_what_is_no_batch_is_refused(make_dataset: MakeDataset, client: Client, body: str) -> None:
    make_dataset(1)
    assert client.post("/d/pictures/annotate/", body, "application/json").status_code == 400


def test_it_takes_a_post_with_a_csrf_token_from_someone_signed_in(make_dataset: MakeDataset, settings: Any) -> None:
    dataset = make_dataset(1)
    assert Client().get("/d/pictures/annotate/").status_code == 405
    assert send(Client(enforce_csrf_checks=True), dataset).status_code == 403
    settings.LOGIN_REQUIRED = True
    assert send(Client(), dataset).status_code == 401
