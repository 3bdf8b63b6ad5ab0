"""A region of a map as a filter: every queue keeps to it, rounds remember it, and what can't be is said."""

import re

import numpy as np
import pytest
from django.test import Client

from hoshina.jobs.lifecycle import run_now
from labeling.decisions.random_draws import random_draws
from labeling.models import Annotation, Dataset, Item, Lease
from modeling.maps.coordinates import save_coordinates
from modeling.models import Projection
from sampling.maps.quantized import drawn_of
from sampling.maps.region_filter import Region, region_from, rows_inside
from sampling.models import Round
from sampling.queues.pull import Filters, filters_from, pull, ranked_rows
from sampling.queues.registry import STRATEGIES
from sampling.queues.strategy import BadParameter, NoParams
from tests.factories import MakeDataset, assert_contains, not_none
from tests.modeling.factories import add_vectors, import_labels
from tests.people import person
from tests.sampling.maps.factories import add_map
from tests.sampling.served import label_tiles

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store", "ranked_at_once")]
N = 120
# The left half of the square.
LEFT = "0-0_32767-0_32767-65534_0-65534"


def places() -> np.ndarray:
    """Return even rows to the left, odd ones to the right; row 10 has none."""
    found = np.random.default_rng(4).normal(size=(N, 2)) + np.array([20, 0]) * (np.arange(N) % 2)[:, None]
    found[10] = np.nan
    return found


@pytest.fixture
def dataset(store: object, make_dataset: MakeDataset) -> Dataset:
    """Provide with vectors, and labels on some of both sides."""
    dataset = make_dataset(N)
    rng = np.random.default_rng(3)
    y = np.arange(N) // 2 % 2
    X = rng.normal(size=(N, 6)) + 1.5 * y[:, None]
    X[100:110] = X[80:90]
    add_vectors(dataset, X.astype(np.float32))
    import_labels(dataset, list(range(50)), (y + np.isin(np.arange(N), (8, 9))) % 2)
    return dataset


@pytest.fixture
def _model(store: object, dataset: Dataset) -> None:
    run_now("retrain", dataset_id=dataset.pk)


@pytest.fixture
def left(dataset: Dataset) -> str:
    return f"map={add_map(dataset, places()).pk}&region={LEFT}"


def rows_shown(client: Client, query: str, *, status: int = 200) -> tuple[list[int], str]:
    answer = client.get(f"/d/pictures/grid/?n=200&{query}")
    assert answer.status_code == status, answer.content.decode()
    page = answer.content.decode()
    return [int(row) for row in re.findall(r'data-row="(\d+)"', page)], page


@pytest.mark.usefixtures("_model")
def test_every_queue_keeps_to_the_region(dataset: Dataset, left: str) -> None:
    for queue in sorted(STRATEGIES.keys() - {"checks", "review", "similar", "unlike"}):
        more = "&loose=1" if queue == "groups" else ""
        rows, page = rows_shown(Client(), f"queue={queue}&{left}{more}")
        Lease.objects.all().delete()
        everywhere, _ = rows_shown(Client(), f"queue={queue}{more}")
        Lease.objects.all().delete()
        assert rows, (queue, page)
        assert all(row % 2 == 0 and row != 10 for row in rows), queue
        assert any(row % 2 for row in everywhere), queue


def test_similar_and_any_state_keep_to_the_region(dataset: Dataset, left: str, client: Client) -> None:
    rows, _ = rows_shown(client, f"queue=similar&to=3&{left}")
    assert rows
    assert all(row % 2 == 0 for row in rows)
    rows, _ = rows_shown(client, f"queue=all&state=any&{left}")
    assert rows == [row for row in range(0, N, 2) if row != 10]
    rows, _ = rows_shown(client, f"queue=all&state=labelled&label={dataset.classes.first().pk}&{left}")
    assert rows
    assert all(row % 2 == 0 and row < 50 for row in rows)


def test_the_next_page_keeps_to_it_and_the_order_is_reproducible(dataset: Dataset, left: str, client: Client) -> None:
    first = client.get(f"/d/pictures/grid/?n=10&queue=random&seed=5&{left}").content.decode()
    following = not_none(re.search(r'data-next="([^"]+)"', first))
    second = client.get(following[1].replace("&amp;", "&")).content.decode()
    shown = [int(row) for page in (first, second) for row in re.findall(r'data-row="(\d+)"', page)]
    assert len(set(shown)) == 20
    assert all(row % 2 == 0 for row in shown)
    again = Client().get(f"/d/pictures/grid/?n=10&queue=random&seed=5&{left}").content.decode()
    others = set(map(int, re.findall(r'data-row="(\d+)"', again)))
    assert not others & set(shown), "the first person still holds theirs"
    filters = filters_from(Round.objects.first().params["filters"])  # type: ignore[union-attr]
    one, two = (pull(dataset, STRATEGIES["random"], NoParams(), filters, seed=5) for _ in range(2))
    assert ranked_rows(one).tolist() == ranked_rows(two).tolist()


def test_a_round_keeps_its_region_though_the_map_grows(dataset: Dataset, left: str, client: Client) -> None:
    rows_shown(client, f"queue=random&{left}")
    kept = not_none(filters_from(Round.objects.get().params["filters"]).region)
    assert kept.square is not None
    projection = Projection.objects.get()
    before = rows_inside(dataset, kept)
    grown = places()
    grown[11] = [-100, 400]  # far off: the map is drawn on a larger square
    save_coordinates(projection, grown)
    assert rows_inside(dataset, kept).tolist() == before.tolist()
    loose = Region(kept.map_id, kept.corners)
    assert rows_inside(dataset, loose).tolist() != before.tolist(), "what an address says is about the map as it is"


def test_a_region_is_the_same_rows_as_the_definition(dataset: Dataset, left: str) -> None:
    projection = Projection.objects.get()
    corners = ((1000, 1000), (30_000, 5000), (50_000, 60_000), (9000, 40_000))
    rows = rows_inside(dataset, Region(projection.pk, corners))
    xy = drawn_of(projection).points.astype(float)
    inside = []
    for row, (x, y) in enumerate(xy):
        crossings = 0
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            if (y0 <= y) != (y1 <= y):
                crossings += x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x
        if crossings % 2:
            inside.append(row)
    assert rows.tolist() == inside
    assert 0 < len(inside) < N


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (f"region={LEFT}", "needs its map"),
        (f"map=x&region={LEFT}", "needs its map"),
        (f"map=%C2%B2&region={LEFT}", "needs its map"),
        ("map=1&region=1-1_2-2", "3 to 300 corners, not 2"),
        ("map=1&region=" + "_".join(["1-1"] * 301), "not 301"),
        ("map=1&region=0-0_9-0_9-65535", "lie between 0 and 65534"),
        ("map=1&region=0-0_9-0_9", "list of corners"),
        ("map=1&region=0-0__9-0_9-9", "list of corners"),
        ("map=1&region=0-0_9-0_9-9'", "list of corners"),
        ("map=1&region=%D9%A1-0_9-0_9-9", "list of corners"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    dataset: Dataset, left: str, client: Client, query: str, words: str
) -> None:
    _, page = rows_shown(client, f"queue=random&{query}", status=422)
    assert words in page
    assert client.get(f"/d/pictures/queues/?queue=random&{query}").status_code == 200


def test_a_map_that_is_gone_is_said_also_on_the_next_page(dataset: Dataset, left: str, client: Client) -> None:
    _, page = rows_shown(client, f"queue=random&map=999&region={LEFT}")
    assert "Map not found" in page
    first = client.get(f"/d/pictures/grid/?n=10&queue=random&{left}").content.decode()
    Projection.objects.all().delete()
    following = not_none(re.search(r'data-next="([^"]+)"', first))
    assert client.get(following[1].replace("&amp;", "&")).status_code == 200, "what was ranked is still shown"
    _, page = rows_shown(client, f"queue=random&{left}")
    assert "was deleted" in page


def test_another_datasets_map_is_no_region_here(
    dataset: Dataset, make_dataset: MakeDataset, left: str, client: Client
) -> None:
    other = add_map(make_dataset(4, name="other"), np.eye(4, 2))
    _, page = rows_shown(client, f"queue=random&map={other.pk}&region={LEFT}")
    assert "Map not found" in page


@pytest.mark.usefixtures("_model")
def test_the_pane_tells_the_region_and_keeps_it(dataset: Dataset, left: str, client: Client) -> None:
    page = client.get(f"/d/pictures/queues/?queue=random&{left}").content.decode()
    assert re.search(r"Within a region of the .*map</a>\s+\(59 images\)", page)
    assert_contains(page, f'name="region" value="{LEFT}"', 'name="map"')
    assert "Where" not in client.get("/d/pictures/queues/?queue=random").content.decode()
    band = client.get(f"/d/pictures/queues/?queue=band&low=0&high=1&{left}").content.decode()
    assert ">35 images</span>" in band, "the histogram is of the region: so many to the left are unlabelled"


def test_an_empty_region_says_so(dataset: Dataset, left: str, client: Client) -> None:
    number = left.split("&")[0]
    for queue, words in (("random", "has a decision"), ("all", "matches the filters")):
        _, page = rows_shown(client, f"queue={queue}&{number}&region=0-65000_1-65000_1-65001")
        assert "No images left in this region" in page
        assert words in page


def test_items_that_were_removed_are_not_dealt(dataset: Dataset, left: str, client: Client) -> None:
    Item.objects.filter(row__in=[60, 62]).update(is_available=False)
    Dataset.objects.filter(pk=dataset.pk).update(n_missing=2)
    rows, _ = rows_shown(client, f"queue=random&{left}")
    assert rows
    assert not {60, 62} & set(rows)


@pytest.mark.usefixtures("_model")
def test_two_people_in_one_region_get_different_images(dataset: Dataset, left: str) -> None:
    query = f"queue=uncertain&{left}&n=12"
    one, two = (set(rows_shown(person(name), query)[0]) for name in ("ana", "bob"))
    assert one
    assert two
    assert not one & two


def test_an_audit_within_a_region_does_not_represent_the_whole(dataset: Dataset, left: str, client: Client) -> None:
    for query, is_draw in ((f"queue=audit&{left}", False), ("queue=audit", True)):
        tile = client.get(f"/d/pictures/grid/?n=1&{query}").context["page"].tiles[0]
        assert label_tiles(client, dataset, [tile])["results"][0]["unconfirmed"] == []
        annotation = Annotation.objects.latest("pk")
        assert (annotation.queue, annotation.round_id) == ("audit", tile.shown.round_id)
        assert (tile.item.row in random_draws(dataset.pk).labeled) is is_draw


def test_filters_come_back_from_a_round() -> None:
    region = Region(4, ((1, 2), (3, 4), (5, 60_000)))
    filters = Filters(None, 4, 5, None, region)
    assert filters_from(filters.as_params()) == filters
    assert Filters().as_params() == {"state": "unlabelled", "label": None, "predicted": None}
    assert region_from({}) is None
    assert region_from({"map": "4"}) is None, "a map alone, such as beside the grid, is no filter"
    assert region_from({"map": "4", "region": region.text}) == region
    with pytest.raises(BadParameter):
        region_from({"region": "1-1"})
