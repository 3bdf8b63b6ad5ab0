"""The search of the palette: paths, tags, notes and text fields in one box."""

import io

import pytest
from django.http import QueryDict
from django.test import Client

from labeling.fields.columns import Vocabulary, packed
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.models import Dataset, Item
from labeling.notes.entries import add_note
from labeling.notes.tags import tag_items
from sampling.queues import search
from tests.factories import MakeDataset, text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("ranked_at_once")]


@pytest.fixture
def dataset(make_dataset: MakeDataset, store: object) -> Dataset:
    dataset = make_dataset(12)
    Item.objects.filter(row=11).update(path="m31/a.png")
    tag_items(dataset, _ids(2, 3, 4), "m31 halo", None, is_on=True)
    tag_items(dataset, _ids(5), "flagged", None, is_on=True)
    add_note(Item.objects.get(row=6), "Is this M31?", None)
    add_note(Item.objects.get(row=6), "m31, surely", None)
    lines = ["path,object,mass"]
    lines += [
        f"image{row:04d}.png,{'M31' if row < 4 else 'unknown' if row == 4 else f'n{row}'},{row}" for row in range(9)
    ]
    import_fields(dataset, io.BytesIO("\n".join(lines).encode()), Wish())
    return dataset


def _ids(*rows: int) -> list[int]:
    return list(Item.objects.filter(row__in=rows).values_list("pk", flat=True))


def found(client: Client, q: str) -> list[tuple[str, int]]:
    choices = client.get("/d/pictures/search/", {"q": q}).json()["choices"]
    for choice in choices:  # each shows as many images as it promises
        page = text(client.get(f"/d/pictures/grid/?{choice['query']}"))
        assert page.count('<div class="tile"') == choice["n"], choice
        assert QueryDict(choice["query"])["queue"] == "all"
    return [(choice["name"], choice["n"]) for choice in choices]


def test_one_text_in_four_places(client: Client, dataset: Dataset) -> None:
    assert found(client, " m31 ") == [
        ("Images with “m31” in the path", 1),
        ("Images tagged m31 halo", 3),
        ("Images with “m31” in a note", 1),
        ("Images with object = M31", 4),
    ]


def test_what_is_not_found(client: Client, dataset: Dataset) -> None:
    assert found(client, "nowhere") == [("Images with “nowhere” in the path", 0)]
    assert found(client, "surely") == [("Images with “surely” in a note", 1), ("Images with “surely” in the path", 0)]
    assert found(client, "flag")[0] == ("Flagged images", 1)
    assert [found(client, q) for q in ("", " ", "x" * 201, "\0")] == [[], [], [], []]
    assert client.get("/d/pictures/search/").json() == {"choices": []}


def test_the_most_frequent_values_come_first(client: Client, dataset: Dataset) -> None:
    names = [name for name, _ in found(client, "n")]
    assert len([name for name in names if name.startswith("Images with object")]) == search.MOST_VALUES


def test_many_paths_are_not_counted(client: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_COUNTED", 5)
    (choice,) = client.get("/d/pictures/search/", {"q": "image00"}).json()["choices"]
    assert (choice["n"], choice["count"]) == (6, "over 5 images")


def test_values_are_found_within_their_bounds() -> None:
    texts = sorted(["ab", "abab", "b", "ba", "Bär", "xA", "BX"])
    vocabulary = Vocabulary(*packed(texts))
    for wanted in ("a", "AB", "ba", "bär", "ax", "abba", "xa", "z", "b"):
        expected = [code for code, value in enumerate(texts) if wanted.lower() in value.lower()]
        assert vocabulary.codes_containing(wanted, 100) == expected, wanted
    assert vocabulary.codes_containing("b", 2) == [code for code, value in enumerate(texts) if "b" in value.lower()][:2]
    assert vocabulary.codes_containing("", 5) == []
