"""Queues from the database to a page: pulled, paged, leased, reproducible, and empty in words."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from labeling.decisions.content_changes import mark_content_changed
from labeling.models import Dataset, Item
from sampling.models import Round
from sampling.queues.pull import Filters, pull, ranked_rows
from sampling.queues.registry import STRATEGIES, UncertainParams
from tests.factories import MakeDataset, command_json, count_queries, decide, text
from tests.sampling.factories import add_model, tile_rows, two_class

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


def pages_of(client: Client, url: str) -> Iterator[list[int]]:
    """Yield the rows of a page and of those that follow it."""
    while url:
        page = client.get(url)
        yield tile_rows(page)
        url = page.context["page"].next_url


def test_the_state_changed_shows_what_changed_since_its_decision(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(8)
    add_model(dataset, two_class([0.9, 0.55, 0.1, 0.5, 0.7, 0.6, 0.2, 0.3]))
    decide(dataset, "assign", [1, 2, 4, 6], "cat")
    by_row = dict(dataset.items.values_list("row", "pk"))
    mark_content_changed([by_row[row] for row in (0, 1, 4, 6)])
    Item.objects.filter(row=6).update(is_available=False)
    Dataset.objects.update(n_missing=1)
    url = f"/d/{dataset.slug}/grid/?state=changed"
    assert tile_rows(client.get(f"{url}&queue=all")) == [1, 4]
    assert tile_rows(client.get(f"{url}&queue=uncertain")) == [1, 4]
    cat, dog = dataset.classes.order_by("order")
    assert tile_rows(client.get(f"{url}&queue=all&label={cat.pk}")) == [1, 4]
    assert tile_rows(client.get(f"{url}&queue=all&label={dog.pk}")) == []
    # Page by page, while the ones before are being confirmed.
    first = client.get(f"{url}&queue=all&n=1")
    decide(dataset, "assign", [1], "cat")
    assert tile_rows(client.get(first.context["page"].next_url)) == [4]
    assert Round.objects.latest("pk").params["filters"]["state"] == "changed"
    decide(dataset, "assign", [4], "cat")
    empty = client.get(f"{url}&queue=all")
    assert empty.context["page"].empty.title == "No changed files"


def test_uncertain_ranks_by_margin_and_leaves_out_what_is_labelled(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(6)
    add_model(dataset, two_class([0.9, 0.55, 0.1, 0.5, 0.7, np.nan]))
    decide(dataset, "assign", [3], "cat")
    round_ = pull(dataset, STRATEGIES["uncertain"], UncertainParams(), Filters(), seed=1)
    assert ranked_rows(round_).tolist() == [1, 4, 0, 2]
    assert round_.is_complete


@pytest.mark.parametrize("queue", ["uncertain", "random"])
def test_same_seed_and_labels_same_ranking(make_dataset: MakeDataset, queue: str) -> None:
    dataset = make_dataset(40)
    add_model(dataset, two_class(np.random.default_rng(0).random(40).round(1).tolist()))
    strategy = STRATEGIES[queue]
    one, two, other = (pull(dataset, strategy, strategy.params(), Filters(), seed=seed) for seed in (5, 5, 6))
    assert ranked_rows(one).tolist() == ranked_rows(two).tolist()
    assert (ranked_rows(other).tolist() != ranked_rows(one).tolist()) == (queue == "random")


def test_random_records_the_chance_of_each_draw(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(10)
    round_ = pull(dataset, STRATEGIES["random"], STRATEGIES["random"].params(), Filters(), seed=1, k=4)
    chances = np.frombuffer(round_.probabilities, "<f4")
    np.testing.assert_allclose(chances, [1 / 10, 1 / 9, 1 / 8, 1 / 7], rtol=1e-6)
    assert not round_.is_complete


def test_paging_shows_every_item_once(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(50)
    pages = pages_of(client, f"/d/{dataset.slug}/grid/?queue=random&seed=3&n=12")
    assert sorted(chain.from_iterable(pages)) == list(range(50))


def test_all_goes_on_behind_the_ranks_kept(
    make_dataset: MakeDataset, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STRATEGIES, "all", replace(STRATEGIES["all"], kept=8))
    dataset = make_dataset(30)
    pages = islice(pages_of(client, f"/d/{dataset.slug}/grid/?queue=all&n=7"), 12)
    assert list(chain.from_iterable(pages)) == list(range(30))


@pytest.mark.parametrize("is_labeled", [False, True])
def test_turning_pages_without_labelling_goes_on_and_round_again(
    make_dataset: MakeDataset, client: Client, monkeypatch: pytest.MonkeyPatch, is_labeled: bool
) -> None:
    """Nobody holds images that are labeled already, so the next pull has to know how far the last one came."""
    monkeypatch.setitem(STRATEGIES, "uncertain", replace(STRATEGIES["uncertain"], kept=10))
    dataset = make_dataset(24)
    add_model(dataset, two_class(np.linspace(0.5, 1, 24).tolist()))
    first = "/d/pictures/grid/?queue=uncertain&n=5"
    if is_labeled:
        decide(dataset, "assign", range(24), "cat")
        first += "&state=labelled"
    url, seen = first, []
    for _ in range(7):
        page = client.get(url)
        seen.append(tile_rows(page))
        url = page.context["page"].next_url or first
    assert list(chain.from_iterable(seen[:5])) == list(range(24)), "each image once before any comes again"
    assert seen[5] == [0, 1, 2, 3, 4]


def test_a_newer_model_starts_a_new_round_on_the_next_page(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(20)
    add_model(dataset, two_class(np.linspace(0.5, 1, 20).tolist()))
    first = client.get(f"/d/{dataset.slug}/grid/?queue=uncertain&n=5")
    assert tile_rows(first) == [0, 1, 2, 3, 4]
    add_model(dataset, two_class(np.linspace(1, 0.5, 20).tolist()))
    second = client.get(first.context["page"].next_url)
    assert tile_rows(second) == [19, 18, 17, 16, 15]
    assert second.context["page"].round_id != first.context["page"].round_id


def test_undo_brings_an_item_back_into_the_pool(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(3)
    decide(dataset, "assign", [1], "cat")
    assert sorted(tile_rows(client.get(f"/d/{dataset.slug}/grid/?queue=random"))) == [0, 2]
    decide(dataset, "undo")
    assert sorted(tile_rows(client.get(f"/d/{dataset.slug}/grid/?queue=random"))) == [0, 1, 2]


def test_filters(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(6)
    cat, dog = dataset.classes.all()
    for row, (kind, label) in enumerate((("assign", "cat"), ("assign", "dog"), ("unsure", ""), ("skip", ""))):
        decide(dataset, kind, [row], label)
    add_model(dataset, two_class([0.9, 0.2, 0.8, 0.1, 0.7, 0.3]))
    base = f"/d/{dataset.slug}/grid/?queue=all"
    assert tile_rows(client.get(base)) == [0, 1, 2, 3, 4, 5]
    assert tile_rows(client.get(base + "&state=labelled")) == [0, 1]
    assert tile_rows(client.get(base + "&state=unsure")) == [2]
    assert tile_rows(client.get(base + "&state=skipped")) == [3]
    assert tile_rows(client.get(base + f"&label={dog.pk}")) == [1]
    assert tile_rows(client.get(base + f"&predicted={cat.pk}")) == [0, 2, 4]
    assert tile_rows(client.get(f"/d/{dataset.slug}/grid/?queue=uncertain&predicted={dog.pk}")) == [5]
    assert tile_rows(client.get(f"/d/{dataset.slug}/grid/?queue=uncertain&state=labelled")) == [1, 0]


def test_unavailable_items_are_never_dealt(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(4)
    Item.objects.filter(dataset=dataset, row=2).update(is_available=False)
    Dataset.objects.filter(pk=dataset.pk).update(n_missing=1)
    assert sorted(tile_rows(client.get(f"/d/{dataset.slug}/grid/?queue=random"))) == [0, 1, 3]


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("queue=uncertain", 200, "No model yet"),
        ("queue=nonsense", 422, "There is no queue"),
        ("queue=random&n=minus", 422, "n must be a whole number"),
        ("queue=random&state=odd", 422, "state must be one of"),
        ("queue=all&state=skipped", 200, "No image matches the filters"),
    ],
)
def test_what_cannot_be_shown_is_said_in_words(
    make_dataset: MakeDataset, client: Client, query: str, status: int, words: str
) -> None:
    dataset = make_dataset(3)
    assert words in text(client.get(f"/d/{dataset.slug}/grid/?{query}"), status)


def test_everything_labelled_says_so(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(3)
    decide(dataset, "assign", [0, 1, 2], "cat")
    assert "Everything is labeled" in client.get(f"/d/{dataset.slug}/grid/?queue=random").content.decode()


def test_a_bad_measure_is_refused(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(3)
    add_model(dataset, two_class([0.4, 0.5, 0.6]))
    page = text(client.get(f"/d/{dataset.slug}/grid/?queue=uncertain&measure=guess"), 422)
    assert "Choose margin, entropy or least confidence." in page


def test_queries_of_a_page_do_not_grow_with_items(make_dataset: MakeDataset) -> None:
    counted = []
    for n, name in [(100, "small"), (1000, "large")]:
        dataset = make_dataset(n, name=name)
        add_model(dataset, two_class(np.linspace(0, 1, n).tolist()))
        client = Client()
        page = client.get(f"/d/{name}/grid/?queue=uncertain&n=30")
        following = page.context["page"].next_url
        counted.append(count_queries(client.get, following))
        assert len(tile_rows(client.get(following))) == 30
    assert counted[0] == counted[1]


def test_another_dataset_is_404_and_posting_is_refused(make_dataset: MakeDataset, client: Client) -> None:
    make_dataset(3)
    assert client.get("/d/nothing/grid/").status_code == 404
    assert client.post("/d/pictures/grid/").status_code == 405


def test_signing_in_is_asked_for_when_it_is_required(
    make_dataset: MakeDataset, client: Client, settings: object
) -> None:
    settings.LOGIN_REQUIRED = True  # type: ignore[attr-defined]
    make_dataset(3)
    response = client.get("/d/pictures/grid/", headers={"HX-Request": "true"})
    assert (response.status_code, response.headers["HX-Redirect"]) == (401, "/sign-in/")
    assert client.get("/d/pictures/queues/").status_code == 302
    client.force_login(User.objects.create(username="ana"))
    assert client.get("/d/pictures/grid/").status_code == 200


def test_queue_command_prints_what_the_plan_says(make_dataset: MakeDataset, store: Path) -> None:
    dataset = make_dataset(9)
    told = command_json("queue", "random", "-n", "4", "--seed", "11")
    assert set(told) == {"round", "queue", "seed", "items"}
    assert (told["queue"], told["seed"], len(told["items"])) == ("random", 11, 4)
    assert set(told["items"][0]) == {"item_id", "path", "score", "probability", "reason"}
    assert Round.objects.get(pk=told["round"]).dataset == dataset
    assert command_json("queue", "random", "-n", "4", "--seed", "11")["items"] == told["items"]
    with pytest.raises(CommandError, match="Label at least one image in each of two classes"):
        call_command("queue", "uncertain")
