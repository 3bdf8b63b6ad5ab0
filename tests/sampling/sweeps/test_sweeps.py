"""Sweeps from the database to a page: dealt by risk, checks hidden, settled and measured, words when there is none."""

import json
import re
import uuid
from io import StringIO
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from labeling.decisions import classes
from labeling.decisions.save import Request, Shown, Target, apply
from labeling.models import Action, Annotation, Dataset, Item, LabelClass
from sampling.models import Check, Round
from sampling.queues.deal import Tile, deal
from sampling.queues.pull import Filters, pressed_together, pull, ranked_rows
from sampling.queues.registry import STRATEGIES
from sampling.queues.strategy import BadParameter, NoParams
from sampling.sweeps.checks import Cost, carryover_of, cost_of, measured, risk_of, settle, waiting_rows
from sampling.sweeps.queues import MIN_CHECK_PAGE, GroupsParams, SweepParams
from tests.factories import MakeDataset, assert_contains, count_queries
from tests.modeling.factories import add_vectors
from tests.sampling.factories import POINTS, add_model, decide_shown, estimates_at, two_class, undo

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
N = 80
SURE = [0.999 - 0.001 * row for row in range(50)] + [0.03] * 30


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    """Provide 80 items: the model takes the first 50 for cats, ever less surely, and the others for dogs."""
    dataset = make_dataset(N)
    add_model(dataset, two_class(SURE))
    return dataset


def sweep(dataset: Dataset, name: str = "cat", *, at_most: float = 0.01, k: int = 50, seed: int = 1) -> Round:
    params = SweepParams(dataset.classes.get(name=name).pk, at_most)
    return pull(dataset, STRATEGIES["sweep"], params, Filters(), seed=seed, holder="me", k=k)


def page_of(round_: Round, n: int = 240) -> list[Tile]:
    return deal(round_, 0, n, holder="", is_continued=False).tiles


def decide(
    dataset: Dataset, tiles: list[Tile], label: LabelClass | None, kind: Action.Kind = Action.Kind.ASSIGN
) -> None:
    targets = tuple(
        Target(tile.item.pk, shown=Shown(queue=tile.shown.queue, round_id=tile.shown.round_id, rank=tile.rank))
        for tile in tiles
    )
    request = Request(uuid.uuid4(), kind, timezone.now(), label.pk if label else None, overwrite=True, targets=targets)
    assert apply(dataset, [request], user=None, holder="me").results[0].status == "saved"


def accept(dataset: Dataset, round_: Round) -> list[Tile]:
    """Accept the page as the browser does, without its checks; return the checks."""
    tiles = page_of(round_)
    decide(dataset, [tile for tile in tiles if not tile.is_later], dataset.classes.get(pk=round_.params["facts"]["of"]))
    settle(dataset.pk)
    return [tile for tile in tiles if tile.is_later]


def outcomes(dataset: Dataset) -> list[int]:
    settle(dataset.pk)
    return list(Check.objects.filter(dataset=dataset).order_by("pk").values_list("outcome", flat=True))


def test_saving_a_label_asks_nothing_about_checks(dataset: Dataset) -> None:
    """Checks are settled before they are read, so that nobody waits for them while labeling."""
    checks = accept(dataset, sweep(dataset))
    with CaptureQueriesContext(connection) as queries:
        decide(dataset, checks, dataset.classes.get(name="cat"))
    assert not [query["sql"] for query in queries if "sampling_check" in query["sql"]]


def test_a_class_that_nobody_has_settles_checks_when_it_is_merged(dataset: Dataset) -> None:
    cat, dog = dataset.classes.all()
    accept(dataset, sweep(dataset))
    decide(dataset, page_of(pull(dataset, STRATEGIES["checks"], NoParams(), Filters(), seed=0)), dog)
    assert outcomes(dataset) == [Check.Outcome.DISPUTED] * 2
    Item.objects.filter(dataset=dataset, label=cat).update(label=dog)
    classes.merge(cat, dog, user=None, holder="me")
    assert outcomes(dataset) == [Check.Outcome.RIGHT] * 2


def test_a_page_is_the_surest_of_the_class_as_far_as_the_promise_goes(dataset: Dataset) -> None:
    assert ranked_rows(sweep(dataset)).tolist() == list(range(50)), "0.1 overlooked of 2.5 % wrong is 0.25 %"
    strict = ranked_rows(sweep(dataset, at_most=0.001)).tolist()
    # Before the person looks, the first n are wrong in 0.001 * (1 + (n - 1) / 2) on average; two
    # thirds of the promise are planned, and a twentieth of what it allows for the 80 images left.
    assert strict == list(range(len(strict)))
    assert len(strict) == 17
    assert ranked_rows(sweep(dataset, k=7)).tolist() == list(range(7))
    dogs = ranked_rows(sweep(dataset, "dog"))
    assert set(dogs.tolist()) == set(range(50, N))


def test_checks_are_drawn_by_the_seed_and_look_like_the_others(dataset: Dataset) -> None:
    first, again, other = (sweep(dataset, seed=seed) for seed in (1, 1, 2))
    checked = first.params["facts"]["checks"]
    assert len(checked) == 2
    assert checked == again.params["facts"]["checks"] != other.params["facts"]["checks"]
    tiles = page_of(first)
    assert sorted(tile.item.row for tile in tiles if tile.is_later) == sorted(checked)
    assert all(tile.suggestion for tile in tiles)
    assert {tile.shown.queue for tile in tiles} == {"sweep"}
    stored = Check.objects.filter(round=first)
    assert {check.item.row: round(check.probability, 4) for check in stored} == {
        row: round(SURE[row], 4) for row in checked
    }
    assert not sweep(dataset, k=9).params["facts"]["checks"]


def test_checks_wait_come_back_without_suggestion_and_measure(dataset: Dataset) -> None:
    cat, dog = dataset.classes.all()
    round_ = sweep(dataset)
    assert outcomes(dataset) == [Check.Outcome.DEALT] * 2
    later = accept(dataset, round_)
    assert outcomes(dataset) == [Check.Outcome.WAITING] * 2
    assert measured(dataset).n_waiting == 2
    assert waiting_rows(dataset).tolist() == [check.item.row for check in Check.objects.filter(round=round_)]
    again = sweep(dataset)
    assert ranked_rows(again).tolist() == waiting_rows(dataset).tolist(), "only the checks are left"
    assert {tile.shown.queue for tile in page_of(again)} == {"sweep/check"}

    back = page_of(pull(dataset, STRATEGIES["checks"], NoParams(), Filters(), seed=0))
    assert {tile.item.pk for tile in back} == {tile.item.pk for tile in later}
    assert all(tile.suggestion is None and tile.shown.suggested_label_id is None for tile in back)
    everywhere = page_of(pull(dataset, STRATEGIES["random"], NoParams(), Filters(), seed=0))
    assert {tile.item.pk for tile in everywhere if tile.suggestion is None} == {tile.item.pk for tile in back}

    decide(dataset, back[:1], cat)
    decide(dataset, back[1:], dog)
    assert outcomes(dataset) == [Check.Outcome.RIGHT, Check.Outcome.DISPUTED]
    told = measured(dataset)
    assert (told.n, told.n_wrong, told.n_waiting) == (1, 0, 1)
    (second,) = page_of(pull(dataset, STRATEGIES["checks"], NoParams(), Filters(state=None), seed=0))
    assert second.item.pk == back[1].item.pk
    assert (second.item.state, second.label, second.suggestion) == (0, None, None), "the first answer does not lead"
    decide(dataset, [second], dog)
    assert outcomes(dataset) == [Check.Outcome.RIGHT, Check.Outcome.WRONG]
    told = measured(dataset)
    assert (told.n, told.n_wrong, told.n_waiting) == (2, 1, 0)
    miss = risk_of(dataset).miss
    assert told.value == pytest.approx(0.5 / (1 - miss)), "and as many more as are overlooked"
    assert told.low < 0.5 < told.value < told.high
    undo(dataset)
    assert outcomes(dataset) == [Check.Outcome.RIGHT, Check.Outcome.DISPUTED]
    decide(dataset, [second], cat)
    assert outcomes(dataset) == [Check.Outcome.RIGHT] * 2, "the first was a slip"
    undo(dataset)
    undo(dataset)
    assert outcomes(dataset) == [Check.Outcome.RIGHT, Check.Outcome.WAITING]


def test_a_marked_check_is_caught_and_an_undone_page_checks_nothing(dataset: Dataset) -> None:
    dog = dataset.classes.get(name="dog")
    round_ = sweep(dataset)
    marked = next(tile for tile in page_of(round_) if tile.is_later)
    decide(dataset, [marked], dog)
    assert Check.Outcome.CAUGHT not in outcomes(dataset), "the page is not accepted yet"
    accept_again = [tile for tile in page_of(round_) if not tile.is_later]
    decide(dataset, accept_again, dataset.classes.get(name="cat"))
    assert sorted(outcomes(dataset)) == [Check.Outcome.WAITING, Check.Outcome.CAUGHT]
    assert risk_of(dataset).miss == pytest.approx(1 / 11)
    undo(dataset)
    assert outcomes(dataset) == [Check.Outcome.DEALT] * 2
    assert Item.objects.get(pk=marked.item.pk).label == dog


def test_one_digit_accepts_no_page(dataset: Dataset) -> None:
    round_ = sweep(dataset)
    decide(dataset, [page_of(round_)[0]], dataset.classes.get(name="cat"))
    assert outcomes(dataset) == [Check.Outcome.DEALT] * 2


def test_many_marks_shorten_the_next_page(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(400)
    add_model(dataset, two_class([0.95] * 400))
    dog = dataset.classes.get(name="dog")
    first = sweep(dataset, k=100)
    assert first.n_ranked == 100
    decide(dataset, [tile for tile in page_of(first) if not tile.is_later][:20], dog)
    accept(dataset, first)
    doubt = risk_of(dataset).doubt
    assert doubt == pytest.approx((4 + 20) / (4 + 100 * 0.05), rel=1e-3)
    kept = carryover_of(dataset)
    assert (kept.labels, kept.wrong) == pytest.approx((100, 100 * 0.005))
    # 0.1 overlooked of 13 % wrong is more than 1 %: only as far as the first page promised less than it might, and with
    # what is borrowed from the 304 images that are left.
    allowed = [0.01 * (2 / 3 * (100 + n) + 0.05 * 304) - 0.5 for n in range(1, 61)]
    after = sweep(dataset, k=60).n_ranked
    assert after == sum(0.1 * doubt * 0.05 * n <= allowed[n - 1] for n in range(1, 61)) == 47
    assert sweep(dataset, k=60, at_most=0.02).n_ranked == 60


@pytest.fixture
def many(make_dataset: MakeDataset) -> Dataset:
    """Provide 600 items that the model takes for cats, 100 at a time swept, with four checks each."""
    dataset = make_dataset(600)
    add_model(dataset, two_class([0.999] * 600))
    return dataset


def sweep_until_checked(dataset: Dataset) -> Round:
    """Accept pages until a sweep shows its checks."""
    for seed in range(8):
        round_ = sweep(dataset, k=100, seed=seed)
        if round_.params["facts"].get("is_check"):
            return round_
        accept(dataset, round_)
    raise AssertionError("no page of checks")


def test_a_sweep_shows_its_checks_as_a_page_of_one_class(many: Dataset, client: Client) -> None:
    cat, dog = many.classes.all()
    round_ = sweep_until_checked(many)
    assert round_.n_ranked == MIN_CHECK_PAGE
    page = client.get(f"/d/{many.slug}/grid/?queue=sweep&of={cat.pk}&n=100")
    text = " ".join(page.content.decode().split())
    assert_contains(
        text, "Check:", "from sweeps of this class, shown again", ">All 20 are</span>", '>cat</span></button>',
        lacks=["likely", "suggestion", "data-later", "99 %"],
    )  # fmt: skip
    tiles = page_of(round_)
    assert all(tile.suggestion is None and tile.shown.suggested_label_id is None for tile in tiles)
    decide(many, tiles[:1], dog)
    decide(many, tiles[1:], cat)
    assert sorted(outcomes(many)) == [Check.Outcome.RIGHT] * 19 + [Check.Outcome.DISPUTED]
    given = Annotation.objects.filter(queue="sweep/check")
    assert given.count() == 20
    assert set(given.values_list("round_id", flat=True)) == {round_.pk}

    alone = client.get(f"/d/{many.slug}/grid/?queue=checks").context["page"]
    assert [tile.item.pk for tile in alone.tiles] == [tiles[0].item.pk]
    assert alone.bar is None, "what was marked is confirmed one by one"
    assert (alone.tiles[0].item.state, alone.tiles[0].label, alone.tiles[0].suggestion) == (0, None, None)
    decide(many, alone.tiles, dog)
    assert sorted(outcomes(many)) == [Check.Outcome.RIGHT] * 19 + [Check.Outcome.WRONG]
    found = measured(many)
    assert (found.n, found.n_wrong, found.n_waiting) == (20, 1, 0)
    assert found.value > 0.05, "some are overlooked on a page of checks too"


def test_a_page_of_checks_is_taken_back_with_one_key_however_old_they_are(
    many: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat, dog = many.classes.all()
    monkeypatch.setattr("sampling.sweeps.checks.RECENT_CHECKS", 4)
    tiles = page_of(sweep_until_checked(many))
    decide(many, tiles, cat)
    assert outcomes(many) == [Check.Outcome.RIGHT] * 20
    undo(many)
    assert outcomes(many) == [Check.Outcome.WAITING] * 20
    for _ in range(2):
        decide(many, tiles[:1], dog)
    assert outcomes(many)[0] == Check.Outcome.DISPUTED, "seen once, as both were decided since"
    decide(many, tiles[:1], dog)
    assert outcomes(many)[0] == Check.Outcome.WRONG
    undo(many)
    assert outcomes(many)[0] == Check.Outcome.DISPUTED


def test_checks_wait_for_others_of_their_class_and_pages_are_of_one(dataset: Dataset, client: Client) -> None:
    cat, dog = dataset.classes.all()
    cats, dogs = accept(dataset, sweep(dataset, "cat")), accept(dataset, sweep(dataset, "dog", at_most=0.1))
    assert (len(cats), len(dogs)) == (2, 1)
    url = f"/d/{dataset.slug}/grid/?queue=checks&window=mine"
    first = client.get(url).context["page"]
    assert {tile.item.pk for tile in first.tiles} == {tile.item.pk for tile in cats}
    second = client.get(first.next_url + "&window=mine").context["page"]
    assert {tile.item.pk for tile in second.tiles} == {tile.item.pk for tile in dogs}, "the next page is another class"
    assert second.bar.label == dog
    theirs = client.get(url.replace("mine", "theirs")).context["page"]
    assert not theirs.tiles
    assert theirs.empty is not None
    assert theirs.empty.title == "No checks available right now"
    classes.delete(cat, user=None, holder="me")
    later = client.get(url).context["page"]
    assert later.bar is not None
    assert later.bar.label == dog


def test_what_a_page_of_checks_labeled_is_no_evidence_for_groups(many: Dataset) -> None:
    round_ = sweep_until_checked(many)
    decide(many, page_of(round_), many.classes.get(name="cat"))
    assert len(np.unique(pressed_together(many, ranked_rows(round_)))) == 1


def test_the_cost_counts_clicks_and_keys_of_recent_pages(many: Dataset, client: Client) -> None:
    assert cost_of(many) == Cost()
    round_ = sweep(many, k=100)
    plain = [tile for tile in page_of(round_) if not tile.is_later]
    decide(many, plain[:6], many.classes.get(name="dog"))
    assert cost_of(many) == Cost(), "the page is not accepted yet"
    accept_rest = plain[6:]
    decide(many, accept_rest, many.classes.get(name="cat"))
    assert cost_of(many) == Cost(labels=96, actions=1 + 6 + 1, marks=6)
    form = " ".join(client.get(f"/d/{many.slug}/queues/?queue=sweep").content.decode().split())
    assert "0.08 actions per label" in form
    assert "You marked 6.2 % of" in form.replace("&#x27;", "'")
    undo(many)
    assert cost_of(many) == Cost()


def test_the_accuracy_page_and_command_say_what_sweeps_cost(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(600)
    estimates_at(dataset, POINTS)
    add_model(dataset, two_class([0.999] * 600))

    def json_of_command() -> Any:
        out = StringIO()
        call_command("accuracy", "--json", stdout=out)
        return json.loads(out.getvalue())["sweeps"]

    assert json_of_command() is None
    assert "<dt>Sweeps</dt>" not in client.get(f"/d/{dataset.slug}/accuracy/").content.decode()
    accept(dataset, sweep(dataset, k=100))
    checks = page_of(pull(dataset, STRATEGIES["checks"], NoParams(), Filters(state=None), seed=0))
    decide(dataset, checks[:3], dataset.classes.get(name="cat"))
    sweeps = json_of_command()
    assert (sweeps["labels"], sweeps["actions"], sweeps["actions_per_label"]) == (96, 1, 1 / 96)
    assert (sweeps["model_error"], sweeps["wrong"], sweeps["n_checks"], sweeps["n_waiting"]) == (0, 0, 3, 1)
    page = client.get(f"/d/{dataset.slug}/accuracy/").content.decode()
    assert_contains(page, "<dt>Sweeps</dt>", "Your last pages: 0.01 actions per label (one by one: 1).")


def test_leased_images_are_not_swept(dataset: Dataset) -> None:
    params = SweepParams(dataset.classes.get(name="cat").pk)
    theirs = pull(dataset, STRATEGIES["sweep"], params, Filters(), seed=1, holder="them", k=20)
    deal(theirs, 0, 20, holder="them", is_continued=False)
    assert ranked_rows(sweep(dataset)).tolist() == list(range(20, 50))


def test_what_can_not_be_swept_is_told(dataset: Dataset, client: Client) -> None:
    cat = dataset.classes.get(name="cat")
    with pytest.raises(BadParameter, match=r"at most 0\.5"):
        sweep(dataset, at_most=0.7)
    with pytest.raises(BadParameter, match="not trained on"):
        pull(dataset, STRATEGIES["sweep"], SweepParams(10**6), Filters(), seed=1)
    url = f"/d/{dataset.slug}/grid/?queue=sweep&of={cat.pk}&at_most="
    text = client.get(url + "0.00001").content.decode()
    assert "Too uncertain to sweep at 0.001 %" in text
    assert "50 unlabeled images predicted as cat, the most confident at over 99 %" in text
    assert client.get(url + "much").status_code == 422
    decide(dataset, accept(dataset, sweep(dataset)), cat)
    assert "No cat left to sweep" in client.get(url + "0.01").content.decode()


def test_the_bar_and_the_form_tell_promised_and_measured(dataset: Dataset, client: Client) -> None:
    cat = dataset.classes.get(name="cat")
    bar = client.get(f"/d/{dataset.slug}/grid/?queue=sweep&of={cat.pk}&n=50").content.decode()
    assert "target: at most 1 % wrong" in " ".join(bar.split())
    assert "about 1 likely wrong" in " ".join(bar.split())
    assert bar.count("data-later") == 2
    form = client.get(f"/d/{dataset.slug}/queues/?queue=sweep").content.decode()
    assert_contains(form, "cat: 50 of 50", "dog: 30 of 30", lacks=["Checks"])
    accept(dataset, Round.objects.get())
    assert_contains(client.get(f"/d/{dataset.slug}/queues/?queue=sweep"), "Checks (2)", "cat: 0 of 0")


def test_without_a_class_the_surest_is_swept_page_by_page(dataset: Dataset, client: Client) -> None:
    page = client.get(f"/d/{dataset.slug}/grid/?queue=sweep&n=20").context["page"]
    assert page.bar.label.name == "cat"
    again = client.get(page.next_url).context["page"]
    assert again.bar.label.name == "dog", "which the model is surer of than of the next cats"
    assert {tile.item.row for tile in again.tiles} < set(range(50, N))
    cats = f"/d/{dataset.slug}/grid/?queue=sweep&n=20&of={dataset.classes.get(name='cat').pk}"
    again = client.get(client.get(cats).context["page"].next_url).context["page"]
    assert again.bar.label.name == "cat", "a class that was asked for stays"
    assert {tile.item.row for tile in again.tiles} == set(range(20, 40)), "the next page is the next twenty"


def test_a_page_asks_no_more_queries_for_more_sweeps(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(400)
    add_model(dataset, two_class([0.999] * 400))
    accept(dataset, sweep(dataset, k=20))
    url = f"/d/{dataset.slug}/grid/?queue=sweep&n=20"
    client.get(url)
    few = count_queries(client.get, url)
    for seed in range(6):
        accept(dataset, sweep(dataset, k=20, seed=seed))
    client.get(url)
    assert count_queries(client.get, url) <= few


@pytest.mark.usefixtures("ranked_at_once")
def test_groups_by_page_split_and_in_words(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(N)
    url = f"/d/{dataset.slug}/grid/?queue=groups"
    assert "No embeddings yet" in client.get(url).content.decode()
    rng = np.random.default_rng(0)
    heap = np.arange(N) % 4
    X = heap[:, None] * 10 + np.where(heap == 1, 0.1, 2.0)[:, None] * rng.normal(size=(N, 6))
    add_vectors(dataset, X.astype(np.float32))
    first, again = (
        ranked_rows(pull(dataset, STRATEGIES["groups"], GroupsParams(3.0, 1), Filters(), seed=4, k=60)).tolist()
        for _ in range(2)
    )
    assert first == again
    assert len(first) > 5
    assert {row % 4 for row in first} == {1}
    page = client.get(f"{url}&loose=1&looseness=3&n=60").context["page"]
    assert page.bar.kind == "group"
    within = ",".join(str(tile.item.row) for tile in page.tiles)
    half = client.get(f"{url}&loose=1&within={within}&n=60").context["page"]
    assert half.bar.is_half
    assert {tile.item.row for tile in half.tiles} < {tile.item.row for tile in page.tiles}
    after = client.get(half.next_url).context["page"]
    assert after.tiles
    assert not after.bar.is_half, "after the half comes another group"
    for bad in ("within=a,b", "looseness=99", "loose=2"):
        assert client.get(f"{url}&{bad}").status_code == 422, bad
    assert "No images are that similar" in client.get(f"{url}&loose=1&looseness=0.1").content.decode()


def two_heaps(dataset: Dataset, n: int) -> None:
    """Return vectors in two tight heaps far from each other, by even and odd rows."""
    noise = 0.05 * np.random.default_rng(0).normal(size=(n, 6))
    add_vectors(dataset, ((np.arange(n) % 2)[:, None] * 10 + noise).astype(np.float32))


@pytest.mark.usefixtures("ranked_at_once")
def test_only_groups_that_are_known_to_agree_are_offered(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(300)
    two_heaps(dataset, 300)
    url = f"/d/{dataset.slug}/grid/?queue=groups&n=40"
    nothing = client.get(url).content.decode()
    assert "Not enough labels for groups yet" in nothing
    assert 'href="/d/pictures/?queue=groups&amp;loose=1">Show looser groups' in nothing
    loose = client.get(f"{url}&loose=1").content.decode()
    assert "No labeled pairs are this similar, so it is not known" in loose
    for row in range(60):
        decide_shown(dataset, [row], ("cat", "dog")[row % 2])
    assert "Not enough labels" in client.get(url).content.decode(), "58 comparisons are too few"
    answer = client.get(f"{url}&loose=1&looseness=2").content.decode()
    assert re.search(
        r'data-warning="Too few labeled pairs to rely on: 100.0 % \(95 % interval [89]\d\.\d to 100.0 %\)', answer
    )
    for row in range(60, 100):
        decide_shown(dataset, [row], ("cat", "dog")[row % 2])
    known = client.get(url)
    page = known.context["page"]
    assert len({tile.item.row % 2 for tile in page.tiles}) == 1
    assert page.bar.is_known
    assert "data-warning" not in known.content.decode()
    words = " ".join(known.content.decode().split())
    assert re.search(r"100\.0 % \(95 % interval 9[5-9]\.\d to 100\.0 %\) of [\d,]+ labeled pairs this similar", words)


def test_what_one_key_labeled_is_no_evidence(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(300)
    two_heaps(dataset, 300)

    def facts() -> Any:
        return pull(dataset, STRATEGIES["groups"], GroupsParams(), Filters(), seed=1).params["facts"]

    decide_shown(dataset, list(range(0, 200, 2)), "cat", queue="groups")
    decide_shown(dataset, list(range(1, 200, 2)), "dog", queue="groups")
    assert facts()["n_pairs"] == 0
    Annotation.objects.update(queue="uncertain")
    assert facts()["is_known"]


@pytest.mark.usefixtures("ranked_at_once")
def test_a_looser_group_tells_how_few_pairs_agree(make_dataset: MakeDataset, client: Client) -> None:
    """Fourteen images of three classes, say: what was measured is on the page, and it asks before it labels them."""
    dataset = make_dataset(120, classes=("cat", "dog", "bird"))
    two_heaps(dataset, 120)
    for row in range(60):
        decide_shown(dataset, [row], ("cat", "dog", "bird")[row % 3])
    url = f"/d/{dataset.slug}/grid/?queue=groups&n=40"
    assert client.get(url).context["page"].tiles == []
    page = client.get(f"{url}&loose=1&looseness=2").context["page"]
    assert page.tiles
    assert not page.bar.is_known
    assert re.fullmatch(
        r"Only 3\d % \(95 % interval [12]\d to [45]\d %\) of [\d,]+ labeled pairs this similar share a class\.",
        page.bar.warning,
    ), page.bar.warning
    pane = client.get(f"/d/{dataset.slug}/queues/?queue=groups&loose=1").content.decode()
    assert_contains(pane, 'name="loose" value="1" checked', 'name="looseness"')
    assert 'name="looseness"' not in client.get(f"/d/{dataset.slug}/queues/?queue=groups").content.decode()
