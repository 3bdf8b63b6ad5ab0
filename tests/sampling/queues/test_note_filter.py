"""Filters by flag, tag, notes and chosen rows, in every kind of queue."""

import pytest
from django.test import Client

from labeling.models import Dataset, Item
from labeling.notes.entries import add_note
from labeling.notes.tags import tag_items
from sampling.models import Round
from sampling.queues.note_filter import NoteFilter, note_filter_from
from sampling.queues.pull import Filters, filters_from
from sampling.queues.strategy import BadParameter
from tests.factories import MakeDataset, assert_contains, command_json, decide, said, text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("ranked_at_once")]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    dataset = make_dataset(8)
    for name, rows in (("flagged", (1, 3, 5)), ("m31", (3, 4, 5, 6))):
        tag_items(dataset, list(Item.objects.filter(row__in=rows).values_list("pk", flat=True)), name, None, is_on=True)
    add_note(Item.objects.get(row=5), "An odd Bar", None)
    add_note(Item.objects.get(row=5), "more", None)
    add_note(Item.objects.get(row=7), "100% sure", None)
    return dataset


def shown(client: Client, query: str) -> list[int]:
    page = text(client.get(f"/d/pictures/grid/?{query}"))
    return sorted(int(part.split('"')[0]) for part in page.split('data-row="')[1:])


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("flagged=1", [1, 3, 5]),
        ("tag=M31", [3, 4, 5, 6]),
        ("flagged=1&tag=m31", [3, 5]),
        ("noted=1", [5, 7]),
        ("note=odd+bar", [5]),
        ("note=100%25", [7]),
        ("flagged=1&noted=1&tag=m31&path=image", [5]),
        ("rows=6,2,99", [2, 6]),
        ("rows=2&flagged=1", []),
        ("tag=nothing", []),
    ],
)
def test_filters(client: Client, dataset: Dataset, query: str, rows: list[int]) -> None:
    for queue in ("all", "random", "audit"):
        assert shown(client, f"queue={queue}&{query}") == rows


def test_they_apply_to_images_in_any_state(client: Client, dataset: Dataset) -> None:
    decide(dataset, "assign", [3], "cat")
    assert shown(client, "queue=random&flagged=1") == [1, 3, 5]
    assert shown(client, "queue=random&flagged=1&state=unlabelled") == [1, 5]
    assert 'value="any" selected' in text(client.get("/d/pictures/queues/?queue=random&flagged=1"))


def test_the_round_keeps_them_and_is_no_random_sample_of_all(client: Client, dataset: Dataset) -> None:
    shown(client, "queue=audit&tag=m31&state=unlabelled")
    round_ = Round.objects.get()
    assert filters_from(round_.params["filters"]).notes == NoteFilter(tag="m31")
    assert not round_.is_unfiltered
    wanted = Filters(notes=NoteFilter(True, "m31", True, "x", (1, 2)))
    assert filters_from(wanted.as_params()) == wanted


@pytest.mark.parametrize(
    "params",
    [
        {"flagged": "2"}, {"noted": "x"}, {"tag": "x" * 201}, {"note": "a\0b"}, {"rows": "1,x"}, {"rows": "1,,2"},
        {"rows": ",".join(["1"] * 241)},
    ],
)  # fmt: skip
def test_invalid_filters_are_refused(client: Client, dataset: Dataset, params: dict[str, str]) -> None:
    with pytest.raises(BadParameter):
        note_filter_from(params)
    assert client.get("/d/pictures/grid/", {"queue": "all", **params}).status_code == 422
    assert client.get("/d/pictures/queues/", {"queue": "all", **params}).status_code == 200


def test_an_empty_page_says_why(client: Client, dataset: Dataset) -> None:
    page = said(client.get("/d/pictures/grid/?queue=all&tag=gone&noted=1"))
    assert "is tagged “gone” and has a note" in page


def test_the_form_has_them_only_where_they_are_of_use(
    client: Client, dataset: Dataset, make_dataset: MakeDataset
) -> None:
    make_dataset(2, name="other")
    assert_contains(client.get("/d/other/queues/?queue=all"), lacks=['name="flagged"', 'name="noted"', 'name="tag"'])
    form = client.get("/d/pictures/queues/?queue=all&tag=M31&flagged=1")
    assert_contains(form, '<option value="m31" selected>', 'name="flagged" value="1" checked', 'name="noted"')
    lost = client.get("/d/pictures/queues/?queue=all&tag=gone")
    assert_contains(lost, '<option value="gone" selected>', "No image has this tag any more")


def test_the_command_has_them_too(dataset: Dataset) -> None:
    def paths(*options: str) -> list[str]:
        return [item["path"] for item in command_json("queue", "all", *options)["items"]]

    assert paths("--flagged", "--tag", "M31") == ["image0003.png", "image0005.png"]
    assert paths("--noted") == ["image0005.png", "image0007.png"]
    assert len(paths()) == 8
