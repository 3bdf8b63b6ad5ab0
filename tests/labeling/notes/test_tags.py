"""Tags and notes of items: what is attached, by whom, and what is refused."""

import pytest
from django.contrib.auth.models import User

from hoshina.core.errors import Refusal
from labeling.models import MAX_NOTE_TEXT, Dataset, Item, ItemTag, Note, Tag
from labeling.notes import tags
from labeling.notes.entries import MOST_NOTES, add_note, notes_of
from tests.factories import MakeDataset, count_queries

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset(5)


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana")


def ids(dataset: Dataset, *rows: int) -> list[int]:
    return list(Item.objects.of(dataset).filter(row__in=rows).order_by("row").values_list("pk", flat=True))


def test_a_tag_is_attached_once_and_removed(dataset: Dataset, ana: User) -> None:
    chosen = ids(dataset, 0, 2)
    assert tags.tag_items(dataset, chosen, "  ring   galaxy ", ana, is_on=True) == chosen
    tags.tag_items(dataset, chosen, "Ring Galaxy", None, is_on=True)
    attached = ItemTag.objects.order_by("row")
    assert [(item_tag.tag.name, item_tag.row, item_tag.tagged_by) for item_tag in attached] == [
        ("ring galaxy", 0, ana), ("ring galaxy", 2, ana),
    ]  # fmt: skip
    tags.tag_items(dataset, chosen[:1], "RING GALAXY", ana, is_on=False)
    assert tags.tags_of(ids(dataset, 0, 1, 2)) == {chosen[1]: ["ring galaxy"]}
    tags.tag_items(dataset, chosen, "never used", ana, is_on=False)
    assert Tag.objects.count() == 1


def test_items_of_other_datasets_are_left_alone(dataset: Dataset, make_dataset: MakeDataset) -> None:
    other = make_dataset(2, name="other")
    assert tags.tag_items(dataset, [*ids(other, 0), 10**15], "x", None, is_on=True) == []
    assert not ItemTag.objects.exists()


@pytest.mark.parametrize("name", ["", "  ", "a,b", "a;b", "a|b", "a\0b", "x" * 41])
def test_names_that_are_refused(dataset: Dataset, name: str) -> None:
    with pytest.raises(Refusal):
        tags.tag_items(dataset, ids(dataset, 0), name, None, is_on=True)
    assert not Tag.objects.exists()


def test_limits(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match="at most 2,000"):
        tags.tag_items(dataset, range(1, 2_002), "x", None, is_on=True)
    monkeypatch.setattr(tags, "MOST_TAGS", 1)
    tags.tag_items(dataset, ids(dataset, 0), "first", None, is_on=True)
    with pytest.raises(Refusal, match="1 tags"):
        tags.tag_items(dataset, ids(dataset, 0), "second", None, is_on=True)


def test_an_unused_tag_is_not_listed_and_may_be_spelled_anew(dataset: Dataset) -> None:
    tags.tag_items(dataset, ids(dataset, 0), "m31", None, is_on=True)
    tags.tag_items(dataset, ids(dataset, 0), "m31", None, is_on=False)
    assert not tags.tags_in_use(dataset).exists()
    tags.tag_items(dataset, ids(dataset, 1), "M31", None, is_on=True)
    tags.tag_items(dataset, ids(dataset, 2), "m31", None, is_on=True)
    assert [tag.name for tag in tags.tags_in_use(dataset)] == ["M31"]


def test_the_flag_is_a_tag_with_a_mark_of_its_own(dataset: Dataset) -> None:
    tags.tag_items(dataset, ids(dataset, 0), "Flagged", None, is_on=True)
    tags.tag_items(dataset, ids(dataset, 0), "b", None, is_on=True)
    add_note(Item.objects.get(row=1), "look", None)
    first, second = tags.as_json(ids(dataset, 0, 1))
    assert (first["flagged"], first["tags"], first["noted"]) == (True, ["b"], False)
    assert (second["flagged"], second["tags"], second["noted"]) == (False, [], True)


def test_notes_are_added_by_author_and_never_merged(dataset: Dataset, ana: User) -> None:
    ben, item = User.objects.create_user("ben"), Item.objects.get(row=3)
    add_note(item, "A bar?\r\nPerhaps.\x00\x07 ", ana)
    add_note(item, "A bar?\nPerhaps.", ana)  # the request was repeated
    add_note(item, "No bar.", ben)
    add_note(item, "A bar?\nPerhaps.", ana)
    (found,) = notes_of(ids(dataset, 2, 3)).values()
    assert [(note.author, note.text) for note in found] == [
        (ana, "A bar?\nPerhaps."), (ben, "No bar."), (ana, "A bar?\nPerhaps."),
    ]  # fmt: skip
    ana.delete()
    assert Note.objects.filter(author=None).count() == 2


def test_notes_that_are_refused(dataset: Dataset) -> None:
    item = Item.objects.get(row=0)
    for text in ("", " \n", "x" * (MAX_NOTE_TEXT + 1)):
        with pytest.raises(Refusal):
            add_note(item, text, None)
    Note.objects.bulk_create(Note(dataset=dataset, item=item, row=0, text=str(n)) for n in range(MOST_NOTES))
    with pytest.raises(Refusal, match="200 notes"):
        add_note(item, "more", None)


def test_the_state_of_many_items_takes_two_queries(dataset: Dataset) -> None:
    chosen = ids(dataset, 0, 1, 2, 3, 4)
    assert count_queries(tags.as_json, chosen) == 2
