"""Filters by fields and sorting by one: against plain loops over the items, whatever the queue."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.http import QueryDict
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from labeling.fields import Column
from labeling.fields.columns import Draft, Vocabulary, packed, save_column
from labeling.models import Dataset, Field, Item, State
from sampling.models import Round
from sampling.queues.field_filter import Condition, conditions_from, mask_of, narrowed
from sampling.queues.pull import Filters, filters_from, ranked_rows
from sampling.queues.registry import STRATEGIES
from sampling.queues.sort import behind, first_by, sort_keys
from sampling.queues.strategy import BadParameter
from tests.factories import MakeDataset, text

Kind = Field.Kind
N = 40
MASS = [None if row % 7 == 3 else (row * 13 % 20) / 2 - 2 for row in range(30)]  # the last ten items came later
BAND = [None if row % 5 == 4 else "grz"[row * 7 % 3] for row in range(N)]
DAY = 86400


def add_numbers(dataset: Dataset, name: str, values: list[float | None], kind: Field.Kind = Kind.NUMBER) -> None:
    field = Field.objects.create(dataset=dataset, name=name, kind=kind, source="csv", order=Field.objects.count())
    save_column(field, Draft(kind, np.array(values, np.float64), []))


def add_words(dataset: Dataset, name: str, values: list[str | None]) -> None:
    words = sorted({value for value in values if value is not None})
    codes = np.array([-1 if value is None else words.index(value) for value in values], np.int32)
    field = Field.objects.create(dataset=dataset, name=name, kind="text", source="csv", order=Field.objects.count())
    save_column(field, Draft(Kind.TEXT, codes, words))


@pytest.fixture
def dataset(store: Path, make_dataset: MakeDataset, transactional_db: None) -> Dataset:
    dataset = make_dataset(N)
    add_numbers(dataset, "mass", MASS)
    add_words(dataset, "Band of it", BAND)
    add_numbers(dataset, "at", [row * DAY / 2 for row in range(N)], Kind.TIME)
    return dataset


def pulled(client: Client, query: str) -> list[int]:
    """Return the rows of a new round, as far as it ranks."""
    answer = client.get(f"/d/pictures/grid/?{query}")
    assert answer.status_code == 200, answer.content.decode()
    return ranked_rows(Round.objects.latest("pk")).tolist()


def mass(row: int) -> float | None:
    return MASS[row] if row < len(MASS) else None


FILTERS = {
    "f.mass=2..5": lambda row: mass(row) is not None and 2 <= mass(row) <= 5,
    "f.mass=..-0.5": lambda row: mass(row) is not None and mass(row) <= -0.5,
    "f.Mass=2..": lambda row: mass(row) is not None and mass(row) >= 2,
    "f.mass=3": lambda row: mass(row) == 3,
    "f.mass=unknown": lambda row: mass(row) is None,
    "f.mass=..0&f.mass=unknown": lambda row: mass(row) is None or mass(row) <= 0,
    "f.mass=..0&f.mass=6..": lambda row: mass(row) is not None and (mass(row) <= 0 or mass(row) >= 6),
    "f.Band of it=g": lambda row: BAND[row] == "g",
    "f.Band of it=g&f.Band of it=z": lambda row: BAND[row] in ("g", "z"),
    "f.Band of it=g&f.Band of it=unknown": lambda row: BAND[row] in ("g", None),
    "f.Band of it=%3Dunknown": lambda row: False,
    "f.Band of it=u": lambda row: False,
    "f.mass=2..5&f.Band of it=r": lambda row: mass(row) is not None and 2 <= mass(row) <= 5 and BAND[row] == "r",
    "f.at=1970-01-03..1970-01-04": lambda row: 4 <= row < 8,
    "f.at=1970-01-03T12:00..": lambda row: row >= 5,
    "f.at=..1970-01-02T00:00:00": lambda row: row <= 2,
    "f.at=1970-01-05": lambda row: row in (8, 9),
    "f.mass=": lambda row: True,
}  # fmt: skip


@pytest.mark.parametrize("query", FILTERS)
def test_a_filter_leaves_what_a_loop_over_the_items_leaves(dataset: Dataset, client: Client, query: str) -> None:
    Item.objects.filter(row__in=(0, 5, 11)).update(state=State.SKIPPED)
    left = [row for row in range(N) if FILTERS[query](row)]
    assert pulled(client, f"queue=all&{query}") == left
    assert sorted(pulled(client, f"queue=random&{query}")) == [row for row in left if row not in (0, 5, 11)]


def test_an_address_is_kept_with_the_round_and_can_be_pulled_again(dataset: Dataset, client: Client) -> None:
    first = pulled(client, "queue=random&seed=7&f.Band of it=g&f.Band of it=r&f.mass=0..6")
    round_ = Round.objects.latest("pk")
    assert round_.params["filters"]["fields"] == {"Band of it": ["g", "r"], "mass": ["0..6"]}
    filters = filters_from(round_.params["filters"])
    assert filters.fields == (Condition("Band of it", ("g", "r")), Condition("mass", ("0..6",)))
    assert filters_from(filters.as_params()) == filters
    assert pulled(client, "queue=random&seed=7&f.mass=0..6&f.Band of it=r&f.Band of it=g") == first


def test_without_conditions_a_round_says_nothing_of_fields() -> None:
    """What an audit drew from everything is told by its filters being those of everything."""
    assert "fields" not in Filters().as_params()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("f.colour=2..5", "There is no field &#x27;colour&#x27;"),
        ("f.mass=high", "mass can&#x27;t be &#x27;high&#x27;: give a range like 2..5"),
        ("f.mass=5..2", "ends before it starts"),
        ("f.mass=1..2..3", "can&#x27;t be"),
        ("f.at=june", "give a range like 2011-06-07..2011-06-09"),
        ("f.%00=1", "There is no field"),
        ("&".join(f"f.c{n}=1" for n in range(21)), "At most 20 fields"),
        ("queue=all&sort=colour", "There is no field &#x27;colour&#x27;"),
        ("queue=all&sort=mass&order=up", "order can&#x27;t be &#x27;up&#x27;. Choose ascending or descending."),
    ],
)
@pytest.mark.parametrize("queue", ["random", "auto"])
def test_what_cannot_be_is_said_in_words(dataset: Dataset, client: Client, query: str, words: str, queue: str) -> None:
    assert words in text(client.get(f"/d/pictures/grid/?queue={queue}&{query}"), 422)


def test_an_empty_page_names_the_filters(dataset: Dataset, client: Client) -> None:
    page = client.get("/d/pictures/grid/?queue=random&f.mass=90..&f.Band of it=g").content.decode()
    assert "No image matches all filters (Band of it g; mass 90..)" in page


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("field", ["mass", "Band of it"])
def test_all_images_sorted_page_by_page(
    dataset: Dataset, client: Client, monkeypatch: pytest.MonkeyPatch, field: str, order: str
) -> None:
    """In rounds of seven, so that pages go on where the last round ended."""
    values = [mass(row) for row in range(N)] if field == "mass" else BAND
    known = sorted((row for row in range(N) if values[row] is not None), key=lambda row: (values[row], row))
    if order == "descending":
        known = sorted(known, key=lambda row: values[row], reverse=True)
    expected = known + [row for row in range(N) if values[row] is None]
    monkeypatch.setitem(STRATEGIES, "all", replace(STRATEGIES["all"], kept=7))
    seen: list[int] = []
    url = f"/d/pictures/grid/?queue=all&sort={field}&order={order}&n=5"
    while url:
        page = client.get(url).content.decode()
        seen += [int(part.split('"')[0]) for part in page.split('data-row="')[1:]]
        url = page.split('data-next="')[1].split('"')[0].replace("&amp;", "&")
    assert seen == expected


@given(
    keys=st.lists(st.one_of(st.integers(-3, 3), st.just(float("inf"))), max_size=12),
    rows=st.sets(st.integers(0, 15)),
    k=st.integers(0, 16),
    last=st.integers(-1, 15),
)
def test_sorting_against_plain_tuples(keys: list[float], rows: set[int], k: int, last: int) -> None:
    def key(row: int) -> tuple[float, int]:
        return (keys[row] if row < len(keys) else float("inf"), row)

    own, among = np.array(keys, np.float64), np.array(sorted(rows), np.int64)
    assert first_by(own, among, k).tolist() == sorted(rows, key=key)[:k]
    left = behind(own, among, last).tolist()
    assert left == [row for row in sorted(rows) if last < 0 or key(row) > key(last)]


def test_text_sorts_as_its_words_do() -> None:
    column = Column(Kind.TEXT, np.array([1, -1, 0], np.int32), Vocabulary(*packed(["a", "b"])))
    assert sort_keys(column, is_descending=False).tolist() == [1, np.inf, 0]
    assert sort_keys(column, is_descending=True).tolist() == [-1, np.inf, 0]


def test_the_word_unknown_has_an_address_of_its_own() -> None:
    column = Column(Kind.TEXT, np.array([0, 1, -1], np.int32), Vocabulary(*packed(["=x", "unknown"])))
    assert mask_of(column, Condition("word", ("=unknown",))).tolist() == [False, True, False]
    assert mask_of(column, Condition("word", ("unknown",))).tolist() == [False, False, True]
    assert mask_of(column, Condition("word", ("==x",))).tolist() == [True, False, False]


def test_a_field_that_went_away_is_said(dataset: Dataset) -> None:
    Field.objects.get(name="mass").delete()
    with pytest.raises(BadParameter, match="renamed or deleted"):
        narrowed(dataset, np.arange(N), conditions_from(QueryDict("f.mass=1")))


def test_the_command_filters_too(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("queue", "random", "--seed", "1", "--filter", "mass=2..5", "--filter", "Band of it=r", "--json")
    rows = {int(item["path"][5:9]) for item in json.loads(capsys.readouterr().out)["items"]}
    assert rows == {row for row in range(N) if mass(row) is not None and 2 <= mass(row) <= 5 and BAND[row] == "r"}
    with pytest.raises(CommandError, match="no field 'x'"):
        call_command("queue", "random", "--filter", "x=1")
