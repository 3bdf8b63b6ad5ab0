"""How an item came to be shown is looked up, whatever a browser says; no label is lost over it."""

import importlib
import json
import uuid
from collections.abc import Callable
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from labeling.decisions.random_draws import random_draws
from labeling.models import Action, Annotation, Dataset, Item, State
from modeling.predictions import active_model
from sampling.models import Round, ServedPage
from sampling.queues.deal import Tile
from tests.factories import MakeDataset, not_none
from tests.people import person
from tests.sampling.factories import add_model, two_class
from tests.sampling.served import action_on, label_tiles, send

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    dataset = make_dataset(30)
    add_model(dataset, two_class(np.linspace(0.5, 1, 30).tolist()))
    return dataset


def page(client: Client, query: str, n: int = 6) -> list[Tile]:
    tiles: list[Tile] = client.get(f"/d/pictures/grid/?n={n}&{query}").context["page"].tiles
    assert len(tiles) == n
    return tiles


def test_what_was_served_is_written_down(dataset: Dataset, client: Client) -> None:
    tiles = page(client, "queue=uncertain")
    assert json.loads(tiles[2].shown_json) == {
        "round_id": tiles[2].shown.round_id, "rank": 2, "score": tiles[2].shown.score,
    }  # fmt: skip
    [result] = label_tiles(client, dataset, tiles[2:3])["results"]
    assert (result["status"], result["unconfirmed"], result["hint"]) == ("saved", [], "")
    written = Annotation.objects.get()
    shown = tiles[2].shown
    assert (written.queue, written.round_id, written.rank) == ("uncertain", shown.round_id, 2)
    assert written.score == pytest.approx(shown.score, abs=1e-6)
    assert written.selection_probability == shown.selection_probability == 1
    assert written.model_version_id == not_none(active_model(dataset)).pk
    suggestion = not_none(tiles[2].suggestion)
    assert written.suggested_label_id == suggestion.label.pk
    assert written.suggested_probability == pytest.approx(suggestion.probability, abs=1e-6)
    assert written.suggestion_shown is True
    assert written.is_random_draw is None


@pytest.mark.parametrize(("sent", "kept"), [(True, True), (False, False), (None, None)])
def test_blind_mode_is_written_down(dataset: Dataset, client: Client, sent: bool | None, kept: bool | None) -> None:
    cat = dataset.classes.get(name="cat")
    send(client, dataset, action_on(page(client, "queue=random", 1), cat.pk, suggestion_shown=sent))
    assert Annotation.objects.get().suggestion_shown is kept


def test_a_suggestion_that_did_not_exist_was_not_shown(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(3)
    label_tiles(client, dataset, page(client, "queue=random", 1))
    assert Annotation.objects.get().suggestion_shown is None


def test_random_draws_are_those_that_the_audit_served(dataset: Dataset, client: Client) -> None:
    drawn = page(client, "queue=audit", 4)
    label_tiles(client, dataset, drawn)
    chosen = page(client, "queue=uncertain", 4)
    label_tiles(client, dataset, chosen)
    assert set(random_draws(dataset.pk).labeled) == {tile.item.row for tile in drawn}


def tampered(tiles: list[Tile], shown: Callable[[dict[str, Any]], dict[str, Any]], label: int) -> dict[str, Any]:
    action = action_on(tiles[:1], label)
    action["items"][0]["shown"] = shown(action["items"][0]["shown"])
    return action


@pytest.mark.parametrize(
    "forge",
    [
        lambda shown: {"queue": "audit"},
        lambda shown: {"queue": "auto/audit", "score": 0.5, "selection_probability": 0.1, "suggested_label_id": 1},
        lambda shown: {"queue": "audit", "rank": 0},
        lambda shown: shown | {"rank": shown["rank"] + 1},
        lambda shown: shown | {"rank": 10**9},
        lambda shown: shown | {"rank": 2**63 - 1},
        lambda shown: shown | {"rank": None},
        lambda shown: shown | {"round_id": 10**6},
        lambda shown: shown | {"round_id": 2**63 - 1},
        lambda shown: {"round_id": shown["round_id"]},
    ],
)
def test_what_was_never_served_is_no_provenance_and_the_label_is_kept(
    dataset: Dataset, client: Client, forge: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    tiles = page(client, "queue=audit")
    cat = dataset.classes.get(name="cat")
    [result] = send(client, dataset, tampered(tiles, forge, cat.pk))["results"]
    assert (result["status"], result["unconfirmed"]) == ("saved", [tiles[0].item.pk])
    assert "did not show you these items" in result["hint"]
    written = Annotation.objects.get()
    assert Item.objects.get(pk=tiles[0].item.pk).label == cat
    assert (written.queue, written.round_id, written.rank, written.score) == ("", None, None, None)
    assert (written.selection_probability, written.model_version_id, written.is_random_draw) == (None, None, None)
    assert (written.suggested_label_id, written.suggestion_shown) == (None, None)
    assert random_draws(dataset.pk).labeled == {}


def test_a_rank_that_was_ranked_but_not_served_is_no_provenance(dataset: Dataset, client: Client) -> None:
    first = page(client, "queue=audit", 3)[0]
    round_ = Round.objects.get()
    row = int(np.frombuffer(round_.rows, "<i8")[10])
    item = Item.objects.get(dataset=dataset, row=row)
    action = action_on([first], dataset.classes.get(name="cat").pk)
    action["items"] = [{"id": item.pk, "seen": 0, "shown": {"round_id": round_.pk, "rank": 10}}]
    [result] = send(client, dataset, action)["results"]
    assert result["unconfirmed"] == [item.pk]
    assert random_draws(dataset.pk).labeled == {}


def test_a_page_of_somebody_else_is_no_provenance(dataset: Dataset) -> None:
    ana, bob = person("ana"), person("bob")
    tiles = page(ana, "queue=audit")
    [result] = label_tiles(bob, dataset, tiles[:1])["results"]
    assert (result["status"], result["unconfirmed"]) == ("saved", [tiles[0].item.pk])
    [result] = label_tiles(ana, dataset, tiles[1:2])["results"]
    assert result["unconfirmed"] == []
    assert list(random_draws(dataset.pk).labeled) == [tiles[1].item.row]


def test_a_round_of_another_dataset_is_no_provenance(dataset: Dataset, make_dataset: MakeDataset) -> None:
    client = Client()
    page(client, "queue=audit")
    other = make_dataset(6, name="others")
    tiles = client.get("/d/others/grid/?n=3&queue=audit").context["page"].tiles
    action = tampered(tiles, lambda shown: shown | {"round_id": Round.objects.earliest("pk").pk}, 0)
    action |= {"kind": "skip", "label": None}
    [result] = send(client, other, action)["results"]
    assert (result["status"], result["unconfirmed"]) == ("saved", [tiles[0].item.pk])


def test_the_same_person_may_send_from_another_browser(dataset: Dataset) -> None:
    """After signing in again the session is another one; what waited in the browser is still theirs."""
    tiles = page(person("ana"), "queue=audit")
    assert label_tiles(person("ana"), dataset, tiles)["results"][0]["unconfirmed"] == []
    assert len(random_draws(dataset.pk).labeled) == 6


def test_a_page_from_before_the_upgrade_keeps_its_labels(dataset: Dataset, client: Client) -> None:
    """Such a page sends everything that it was told; what the server remembers of it counts."""
    tiles = page(client, "queue=audit")
    cat = dataset.classes.get(name="cat")
    old = tampered(
        tiles, lambda shown: {**asdict(tiles[0].shown), "queue": "uncertain", "score": 7.0, "rendering": "log"}, cat.pk
    )
    assert send(client, dataset, old)["results"][0]["unconfirmed"] == []
    written = Annotation.objects.get()
    assert (written.queue, written.is_random_draw, written.rendering) == ("audit", True, "log")
    assert written.score != 7
    ServedPage.objects.all().delete()  # it was served by the version before
    older = tampered(tiles[1:], lambda shown: asdict(tiles[1].shown), cat.pk)
    [result] = send(client, dataset, older)["results"]
    assert (result["status"], result["unconfirmed"]) == ("saved", [tiles[1].item.pk])
    assert Item.objects.get(pk=tiles[1].item.pk).state == State.LABELLED


def test_an_item_that_was_opened_on_its_own_page_says_so(dataset: Dataset, client: Client) -> None:
    action = action_on([], dataset.classes.get(name="cat").pk)
    item = dataset.items.get(row=4)
    action["items"] = [{"id": item.pk, "seen": 0, "shown": {"queue": "opened", "rendering": "asinh"}}]
    [result] = send(client, dataset, action)["results"]
    assert result["unconfirmed"] == []
    written = Annotation.objects.get()
    assert (written.queue, written.rendering, written.round_id) == ("opened", "asinh", None)


def test_an_undone_correction_is_still_a_random_draw(dataset: Dataset, client: Client) -> None:
    tiles = page(client, "queue=audit", 1)
    label_tiles(client, dataset, tiles)
    tiles[0].item.refresh_from_db()
    action = action_on(tiles, dataset.classes.get(name="dog").pk)
    action["items"][0]["shown"] = {"queue": "opened"}
    send(client, dataset, action)
    send(client, dataset, {"uuid": str(uuid.uuid4()), "kind": "undo", "at": action["at"]})
    assert Action.objects.filter(kind="undo").count() == 1
    assert list(random_draws(dataset.pk).labeled) == [tiles[0].item.row]


def test_a_batch_costs_one_query_more_however_many_labels_it_has(dataset: Dataset, client: Client) -> None:
    cat = dataset.classes.get(name="cat")

    def queries(actions: list[dict[str, Any]]) -> list[str]:
        with CaptureQueriesContext(connection) as caught:
            send(client, dataset, *actions)
        return [query["sql"] for query in caught if "sampling_servedpage" in query["sql"]]

    one, two, three = (page(client, f"queue={queue}", 8) for queue in ("audit", "random", "uncertain"))
    assert len(queries([action_on(one[:1], cat.pk)])) == 1
    actions = [action_on([tile], cat.pk, overwrite=True) for tile in [*one[1:], *two, *three]]
    assert len(queries(actions)) == 1
    assert Annotation.objects.filter(round_id=None).count() == 0
    plain = action_on([], cat.pk)
    plain["items"] = [{"id": one[0].item.pk, "shown": {"queue": "opened"}}]
    assert queries([plain]) == []


def test_labels_from_before_are_checked_against_their_rounds(dataset: Dataset, client: Client) -> None:
    """What the migration makes of labels whose provenance a browser told."""
    migration = importlib.import_module("sampling.migrations.0005_served_pages")
    cat = dataset.classes.get(name="cat")
    drawn, part = page(client, "queue=audit", 4), page(client, f"queue=audit&predicted={cat.pk}", 2)
    label_tiles(client, dataset, drawn)
    label_tiles(client, dataset, part)
    Annotation.objects.update(is_random_draw=None)
    rows = [tile.item.row for tile in drawn]
    Annotation.objects.filter(item__row=rows[0]).update(round_id=None)
    Annotation.objects.filter(item__row=rows[1]).update(rank=3)
    migration.mark_random_draws(apps, SimpleNamespace(connection=connection))
    assert sorted(random_draws(dataset.pk).labeled) == sorted(rows[2:])
