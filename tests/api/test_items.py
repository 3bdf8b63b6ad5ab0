"""Lists of items: filters, pages by cursor, and what they cost."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from django.db import connection

from hoshina.api.endpoints import history
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.models import Annotation, Dataset, Item, State
from sampling.queues import item_list
from sampling.queues.item_list import ListFilters, list_items
from tests.api.clients import Program, problem, read
from tests.factories import MakeDataset, count_queries, decide
from tests.sampling.factories import add_model, two_class

pytestmark = pytest.mark.django_db
PATH = "datasets/pictures/items"


def rows(program: Program, **query: Any) -> list[int]:
    return [item["row"] for item in read(program.get(PATH, **query))["items"]]


def test_pages_follow_each_other_without_gaps_and_repeats(dataset: Dataset, program: Program) -> None:
    found, cursor = [], ""
    while cursor is not None:
        page = read(program.get(PATH, limit=7, cursor=cursor))
        found += [item["row"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert found == list(range(20))


def test_items_that_were_labeled_between_two_pages_do_not_shift_the_list(dataset: Dataset, program: Program) -> None:
    first = read(program.get(PATH, limit=5, state="unlabelled"))
    decide(dataset, "assign", range(5), "cat")
    assert rows(program, limit=5, state="unlabelled", cursor=first["next_cursor"]) == [5, 6, 7, 8, 9]


def test_filters_by_state_and_class(dataset: Dataset, program: Program) -> None:
    decide(dataset, "assign", [3, 5], "cat")
    decide(dataset, "assign", [4], "dog")
    decide(dataset, "unsure", [6])
    decide(dataset, "skip", [7])
    assert rows(program, state="labelled") == [3, 4, 5]
    assert rows(program, state="unsure") == [6]
    assert rows(program, state="skipped") == [7]
    assert len(rows(program, state="unlabelled")) == 15
    assert rows(program, class_name="cat") == [3, 5]
    assert rows(program, class_id=dataset.classes.get(name="dog").pk) == [4]
    assert rows(program, class_name="cat", state="skipped") == []
    assert rows(program, path=["image0004.png", "image0001.png"]) == [1, 4]


def test_filters_by_prediction(dataset: Dataset, program: Program) -> None:
    p = np.linspace(0.05, 0.95, 20).tolist()
    add_model(dataset, two_class(p))  # of cat; dog has the rest
    decide(dataset, "assign", [19], "cat")
    assert rows(program, predicted_name="cat") == list(range(10, 20))
    assert rows(program, predicted_name="cat", min_probability=0.9) == [r for r in range(20) if p[r] >= 0.9]
    assert rows(program, predicted_name="cat", min_probability=0.9, state="unlabelled") == [18]
    assert rows(program, min_probability=0.9) == [r for r in range(20) if max(p[r], 1 - p[r]) >= 0.9]
    page = read(program.get(PATH, predicted_name="cat", limit=3, include="prediction"))
    assert page["next_cursor"] == "12"
    assert page["items"][0]["prediction"]["class_name"] == "cat"
    assert page["items"][0]["prediction"]["probability"] == pytest.approx(p[10])


def test_predictions_agree_with_an_obvious_search(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, cursors and limits, against a loop over all items."""
    monkeypatch.setattr(item_list, "FIRST_BLOCK", 3)
    rng = np.random.default_rng(5)
    P = rng.dirichlet([1, 1], 20).astype(np.float32)
    P[[2, 11]] = np.nan
    add_model(dataset, P)
    decide(dataset, "assign", [1, 6, 13], "cat")
    cat, dog = dataset.classes.order_by("order")
    for state in (None, State.UNLABELLED, State.LABELLED):
        for predicted in (None, cat.pk, dog.pk):
            for at_least in (None, 0.0, 0.8) if predicted else (0.5, 0.7):
                expected = [
                    item.row
                    for item in dataset.items.order_by("row")
                    if not np.isnan(P[item.row, 0])
                    and (state is None or item.state == state)
                    and (predicted is None or [cat.pk, dog.pk][int(P[item.row].argmax())] == predicted)
                    and (at_least is None or P[item.row].max() >= at_least)
                ]
                filters = ListFilters(state=state, predicted_id=predicted, at_least=at_least)
                found, after = [], -1
                while True:
                    page = list_items(dataset, filters, after, 2)
                    found += [item.row for item in page.items]
                    if page.next_after is None:
                        break
                    after = page.next_after
                assert found == expected, (state, predicted, at_least)


def test_filters_by_metadata(dataset: Dataset, program: Program) -> None:
    lines = "path,mass,band\n" + "".join(f"image{row:04d}.png,{row / 2},{'gr'[row % 2]}\n" for row in range(15))
    import_fields(dataset, BytesIO(lines.encode()), Wish())
    assert rows(program, filter="mass=2..3") == [4, 5, 6]
    assert rows(program, filter=["mass=2..3", "band=r"]) == [5]
    assert rows(program, filter="mass=unknown") == [15, 16, 17, 18, 19]
    assert rows(program, filter="band=g", limit=2, cursor="3") == [4, 6]
    shown = read(program.get(PATH, include="fields", limit=3))["items"][2]
    assert shown["fields"] == {"mass": "1", "band": "g"}
    assert "no field" in problem(program.get(PATH, filter="age=3"), 422)["detail"]
    assert "FIELD=VALUE" in problem(program.get(PATH, filter="age"), 422)["detail"]
    assert "range" in problem(program.get(PATH, filter="mass=heavy"), 422)["detail"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"limit": 0}, 422), ({"limit": 1001}, 422), ({"cursor": "x"}, 422), ({"cursor": "-1"}, 422),
        ({"state": "labeled"}, 422), ({"class_name": "bird"}, 422), ({"class_id": "x"}, 422),
        ({"min_probability": 2}, 422), ({"min_probability": 0.5}, 409), ({"predicted_name": "cat"}, 409),
        ({"include": "everything"}, 422), ({"path": "\x00"}, 422), ({"path": "a", "filter": "mass=2"}, 422),
    ],
)  # fmt: skip
def test_what_cannot_be_listed_is_refused(
    dataset: Dataset, program: Program, query: dict[str, Any], status: int
) -> None:
    problem(program.get(PATH, **query), status)


def test_the_number_of_queries_does_not_depend_on_the_page(dataset: Dataset, program: Program) -> None:
    decide(dataset, "assign", range(10), "cat")
    every = {"include": ["prediction", "fields", "files", "tags"], "state": "labelled"}
    program.get(PATH, limit=1, **every)
    assert count_queries(program.get, PATH, limit=1, **every) == count_queries(program.get, PATH, limit=10, **every)


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (ListFilters(), "item_row"), (ListFilters(state=State.LABELLED), "item_state"),
        (ListFilters(label_id=1), "item_label"), (ListFilters(label_id=1, state=State.LABELLED), "item_label"),
    ],
)  # fmt: skip
def test_an_index_finds_the_page(dataset: Dataset, filters: ListFilters, index: str) -> None:
    page = item_list._items(dataset, filters).filter(row__gt=3).order_by("row")[:5]
    plan = page.explain()
    if connection.vendor == "sqlite":
        assert "SEARCH" in plan
        assert "row>?" in plan
        assert "TEMP B-TREE" not in plan
        assert index in plan or (index == "item_row" and "autoindex" in plan)


def test_one_item_with_its_history(dataset: Dataset, program: Program) -> None:
    add_model(dataset, two_class([0.9] * 20))
    decide(dataset, "assign", [3], "dog", user=program.token.user, round_id=7, rank=2, seconds=1.5)
    decide(dataset, "undo")
    item = dataset.items.get(row=3)
    shown = read(program.get(f"{PATH}/{item.pk}"))
    assert [guess["class_name"] for guess in shown["probabilities"]] == ["cat", "dog"]
    assert shown["files"][0]["path"] == "image0003.png"
    history = read(program.get(f"{PATH}/{item.pk}/history", limit=1))
    assert [decision["kind"] for decision in history["decisions"]] == ["undo"]
    (older,) = read(program.get(f"{PATH}/{item.pk}/history", before=history["next_before"]))["decisions"]
    assert (older["class_name"], older["annotator"], older["round"], older["rank"]) == ("dog", "manager", 7, 2)
    assert (older["is_undone"], older["seconds"]) == (True, 1.5)


def test_an_item_of_another_dataset_is_not_found(dataset: Dataset, program: Program, make_dataset: Any) -> None:
    other = Item.objects.get(dataset=make_dataset(1, name="other"), row=0)
    for path in (f"{PATH}/{other.pk}", f"{PATH}/{other.pk}/history", f"{PATH}/{other.pk}/similar", f"{PATH}/0"):
        problem(program.get(path), 404)


# -- All decisions ----------------------------------------------------------------------------------------
def test_all_decisions_page_by_page(
    dataset: Dataset, program: Program, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_dataset(5, name="other")
    decide(dataset, "assign", [3], "cat", rank=2, queue="random", round_id=1)
    decide(other, "assign", range(5), "dog")
    decide(dataset, "assign", range(4), "dog")
    decide(dataset, "undo")
    monkeypatch.setattr(history, "_MOST_READ", 2)
    monkeypatch.setattr(history, "_STEP", 2)
    path, found, following = "datasets/pictures/decisions", list[Any](), 0
    while following is not None:
        page = read(program.get(path, after=following, limit=2))
        assert len(page["decisions"]) <= 2
        found, following = found + page["decisions"], page["next_after"]
    saved = Annotation.objects.filter(item__dataset=dataset).order_by("pk")
    assert [decision["id"] for decision in found] == list(saved.values_list("pk", flat=True))
    assert [decision["kind"] for decision in found] == ["assign"] * 5 + ["undo"] * 4
    assert (found[0]["path"], found[0]["queue"], found[0]["rank"]) == ("image0003.png", "random", 2)
    assert [decision["is_undone"] for decision in found] == [False] + [True] * 4 + [False] * 4
    assert read(program.get(path, after=found[-1]["id"])) == {"decisions": [], "next_after": None}
    problem(program.get(path, limit=1001), 422)
