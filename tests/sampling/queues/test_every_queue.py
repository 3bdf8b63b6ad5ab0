"""Every listed queue in every state of a dataset: images, or words that say what is missing; twice the same."""

import json
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from hoshina.jobs.lifecycle import run_now
from labeling.fields.columns import Draft, save_column
from labeling.models import Dataset, Field, Item, Lease, State
from sampling.models import Round
from sampling.queues.pull import Filters, pull, ranked_rows
from sampling.queues.registry import STRATEGIES
from tests.factories import MakeDataset
from tests.modeling.factories import add_vectors, import_labels
from tests.people import person
from tests.sampling.factories import add_model

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store", "ranked_at_once")]
N = 90
# Similar needs an example, and Unlike shows only what no label is near to: see test_vector_queues.
LISTED = [name for name, strategy in STRATEGIES.items() if strategy.is_listed and name not in {"similar", "unlike"}]
# Those that go through something else than what is to be labelled.
OF_LABELS = {"suspects"}
WHOLE_FOLDER = {"all"}
# Groups without this takes more labels than there are here: see test_sweeping.
LOOSE = "&loose=1"


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset(N)


def vectors(dataset: Dataset) -> None:
    """Return two clouds, with some copies."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(N, 6)) + 3 * (np.arange(N) % 2)[:, None]
    X[80:] = X[60:70]
    add_vectors(dataset, X.astype(np.float32))


def label(dataset: Dataset, rows: range, *, wrong: int | None = None, classes: int = 2) -> None:
    import_labels(dataset, list(rows), np.array([(row + (row == wrong)) % classes for row in range(N)]))


def grown(dataset: Dataset) -> None:
    """Return vectors, labels of both classes with a mistake among them, and a model that learnt from them."""
    vectors(dataset)
    label(dataset, range(40), wrong=7)
    run_now("retrain", dataset_id=dataset.pk)


def shown(queue: str) -> tuple[list[int], str]:
    """Return the rows on the page, and its words where there are none."""
    answer = Client().get(f"/d/pictures/grid/?queue={queue}&n=12{LOOSE}")
    assert answer.status_code == 200
    page = answer.context["page"]
    return [tile.item.row for tile in page.tiles], f"{page.empty.title}. {page.empty.text}" if page.empty else ""


def told(queue: str, *more: str) -> tuple[list[str], str]:
    """Return the paths that the command prints as JSON, and its words where there are none."""
    out = StringIO()
    try:
        more = (*more, "--param", "loose=1") if queue == "groups" else more
        call_command("queue", queue, "-n", "12", "--json", *more, stdout=out)
    except CommandError as error:
        said_why = (error.returncode, str(error))
    else:
        said_why = None
    if said_why is not None:
        assert said_why[0] == 1
        assert "\n" not in said_why[1]
        return [], said_why[1]
    said = json.loads(out.getvalue())
    assert bool(said["items"]) != ("note" in said)
    return [item["path"] for item in said["items"]], said.get("note", "")


@pytest.mark.parametrize("queue", LISTED)
def test_without_a_model(dataset: Dataset, queue: str) -> None:
    vectors(dataset)
    rows, words = shown(queue)
    paths, note = told(queue)
    if STRATEGIES[queue].needs_model:
        assert not rows
        assert words.startswith("No model yet.")
        assert "press R" in note
    else:
        assert len(rows) == len(paths) > 0


@pytest.mark.parametrize("queue", LISTED)
def test_without_vectors(dataset: Dataset, queue: str) -> None:
    rows, words = shown(queue)
    _paths, note = told(queue)
    strategy = STRATEGIES[queue]
    if strategy.needs_vectors:
        assert words.startswith("No embeddings yet.")
        assert "hoshina embed" in note
    elif not strategy.needs_model:
        assert len(rows) == 12


@pytest.mark.parametrize("queue", LISTED)
def test_when_everything_is_labelled(dataset: Dataset, queue: str) -> None:
    grown(dataset)
    label(dataset, range(40, N))
    rows, words = shown(queue)
    paths, note = told(queue)
    if queue in OF_LABELS:
        assert rows
        assert paths
    elif queue in WHOLE_FOLDER:
        assert rows
        assert not paths, "the command lists what is to be labelled"
    else:
        assert not rows
        assert words.startswith("Everything is labeled.")
        assert note.startswith("Everything is labeled.")


@pytest.mark.parametrize("queue", LISTED)
def test_with_labels_of_one_class_only(dataset: Dataset, queue: str) -> None:
    """There is no model then; what needs none deals."""
    vectors(dataset)
    label(dataset, range(10), classes=1)
    rows, words = shown(queue)
    if STRATEGIES[queue].needs_model:
        assert words.startswith("No model yet.")
        assert "two classes" in words
    else:
        assert rows
        assert queue in WHOLE_FOLDER or not set(rows) & set(range(10))


@pytest.mark.parametrize("queue", [queue for queue in LISTED if queue not in OF_LABELS])
def test_with_a_model_that_is_left_with_one_class(make_dataset: MakeDataset, queue: str) -> None:
    dataset = make_dataset(N, classes=("cat",))
    vectors(dataset)
    label(dataset, range(10), classes=1)
    add_model(dataset, np.ones((N, 1), np.float32))
    rows, words = shown(f"{queue}&low=0&high=1")
    assert rows or words


@pytest.mark.parametrize("queue", LISTED)
def test_in_the_middle_it_deals_and_the_command_agrees(dataset: Dataset, queue: str) -> None:
    grown(dataset)
    rows, words = shown(f"{queue}&seed=5&low=0&high=1")
    more = ("--param", "low=0", "--param", "high=1") if queue == "band" else ()
    paths, _ = told(queue, "--seed", "5", *more)
    assert rows
    assert not words
    if queue not in WHOLE_FOLDER:
        assert paths == [f"image{row:04d}.png" for row in rows][: len(paths)]
        is_labelled = set(rows) <= set(range(40))
        assert is_labelled == (queue in OF_LABELS)


@pytest.mark.parametrize("queue", LISTED)
def test_same_seed_and_same_labels_give_the_same_ranking(dataset: Dataset, queue: str) -> None:
    grown(dataset)
    strategy = STRATEGIES[queue]
    filters = Filters(State.LABELLED) if queue in OF_LABELS else Filters()
    one, two = (pull(dataset, strategy, strategy.params(), filters, seed=11) for _ in range(2))
    assert ranked_rows(one).tolist() == ranked_rows(two).tolist()
    assert (one.scores, one.probabilities, one.sources) == (two.scores, two.probabilities, two.sources)
    assert one.n_ranked == len(set(ranked_rows(one).tolist())), "no image twice"


@pytest.mark.parametrize("queue", [queue for queue in LISTED if STRATEGIES[queue].deals])
def test_what_somebody_else_holds_is_passed_over(dataset: Dataset, queue: str) -> None:
    grown(dataset)
    ana, bob = person("ana"), person("bob")
    address = f"/d/pictures/grid/?queue={queue}&n=9&low=0&high=1{LOOSE}"
    first = [tile.item.row for tile in ana.get(address).context["page"].tiles]
    second = [tile.item.row for tile in bob.get(address).context["page"].tiles]
    assert first
    assert not set(first) & set(second)
    assert set(Lease.objects.values_list("item__row", flat=True)) == {*first, *second}
    assert Lease.objects.count() == len(first) + len(second)
    newest = Round.objects.latest("pk")
    assert not set(first) & set(ranked_rows(newest).tolist()), "not even ranked"


@pytest.mark.parametrize("queue", [queue for queue in LISTED if not STRATEGIES[queue].is_sweep and queue != "suspects"])
def test_pages_go_on_until_each_image_was_seen_once(dataset: Dataset, queue: str) -> None:
    grown(dataset)
    client, address, seen = Client(), f"/d/pictures/grid/?queue={queue}&n=11&low=0&high=1", []
    wanted = N if queue in WHOLE_FOLDER else N - 40
    while address and len(seen) < wanted:
        page = client.get(address).context["page"]
        seen += [tile.item.row for tile in page.tiles]
        address = page.next_url
    assert len(seen) == len(set(seen)) == wanted
    assert Item.objects.count() == N


@pytest.mark.parametrize("queue", LISTED)
def test_a_filter_by_a_field_holds_in_every_queue(dataset: Dataset, queue: str) -> None:
    grown(dataset)
    field = Field.objects.create(dataset=dataset, name="third", kind="number", source="csv")
    save_column(field, Draft(Field.Kind.NUMBER, np.arange(N) % 3 + 0.5, []))
    rows, _ = shown(f"{queue}&low=0&high=1&f.third=1..2")  # the doubtful label, of row 7, is among them
    assert rows
    assert {row % 3 for row in rows} == {1}
