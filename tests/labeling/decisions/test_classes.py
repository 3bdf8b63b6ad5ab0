"""Test the functions that change classes: names, keys, order, and moving labels."""

import re
import unicodedata

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from hoshina.core.errors import Refusal
from labeling.decisions import classes
from labeling.models import Action, Annotation, Dataset, Item, LabelClass, State
from modeling.assistive import policy
from tests import factories
from tests.factories import MakeDataset, call_after, count_queries, fresh, interrupt_at
from tests.parts import ROOT


@pytest.fixture
def ana(db: None) -> User:
    return User.objects.create_user("ana")


@pytest.fixture
def bo(db: None) -> User:
    return User.objects.create_user("bo")


def named(dataset: Dataset, name: str) -> LabelClass:
    return LabelClass.objects.active().get(dataset=dataset, name=name)


def names(dataset: Dataset) -> list[str]:
    return [label.name for label in LabelClass.objects.active().filter(dataset=dataset)]


def decide(dataset: Dataset, rows: list[int], kind: Action.Kind, label: LabelClass | None, user: User) -> None:
    """Save decisions about the items of ``rows`` like a browser, one by one with ranks."""
    who = {"user": user, "holder": user.username, "at": timezone.now()}
    name = label.name if label else ""
    result = factories.decide(dataset, kind, rows, name, **who, seconds=1.5, queue="uncertain", rank=7)
    assert len(result.items) == len(rows)


def assert_recount(dataset: Dataset) -> None:
    """Assert that all counters and derived states equal a recomputation."""
    dataset.refresh_from_db()
    items = list(Item.objects.filter(dataset=dataset))
    for state, counter in ((1, "n_labelled"), (2, "n_unsure"), (3, "n_skipped")):
        assert getattr(dataset, counter) == sum(item.state == state for item in items), counter
    for label in LabelClass.objects.filter(dataset=dataset):
        assert label.n_items == sum(item.label_id == label.pk for item in items), label.name
        assert not (label.is_retired and label.n_items), label.name
    assert dataset.n_decisions == Annotation.objects.filter(item__dataset=dataset).count()
    for item in items:
        newest = Annotation.objects.filter(item=item).order_by("-id").first()
        assert item.newest_annotation_id == (newest.pk if newest else 0)
        if newest is not None:
            assert (item.state, item.label_id, item.decision_id) == (newest.state, newest.label_id, newest.pk)


# -- Names, keys, colors --------------------------------------------------------------------------
def test_adding_gives_the_next_key_and_color(make_dataset: MakeDataset, db: None) -> None:
    dataset = make_dataset(0, classes=())
    added = [classes.add(dataset, f"class {number}") for number in range(40)]
    assert [label.key for label in added] == [1, 2, 3, 4, 5, 6, 7, 8, 9] + [None] * 31
    assert [label.colour for label in added[: len(classes.PALETTE)]] == list(classes.PALETTE)
    assert added[len(classes.PALETTE)].colour == classes.PALETTE[0]
    assert names(dataset) == [label.name for label in added]
    for label in added:
        label.full_clean()


def test_a_freed_key_and_color_are_given_first(make_dataset: MakeDataset, ana: User) -> None:
    dataset = make_dataset(0, classes=("one", "two", "three"))
    classes.delete(named(dataset, "two"), user=ana)
    four = classes.add(dataset, "four")
    assert (four.key, four.colour) == (2, "#56B4E9")


def test_the_palette_has_distinct_colors() -> None:
    assert len(set(classes.PALETTE)) == len(classes.PALETTE)


@pytest.mark.parametrize("raw", ["", "   ", "\t\n", "\u200b", "\u202e \u2060", "\x00\x1f"])
def test_a_name_without_anything_to_see_is_refused(make_dataset: MakeDataset, db: None, raw: str) -> None:
    with pytest.raises(Refusal, match="Enter a name for the class"):
        classes.add(make_dataset(0), raw)


@pytest.mark.parametrize(
    ("present", "spelling"),
    [
        ("spiral", "Spiral"), ("café", "cafe\u0301"), ("ÉLAN", "e\u0301lan"), ("Straße", "STRASSE"),
        ("two  words", "two\nwords"),
    ],
)  # fmt: skip
def test_the_same_word_written_otherwise_is_refused(
    make_dataset: MakeDataset, db: None, present: str, spelling: str
) -> None:
    dataset = make_dataset(0, classes=("other",))
    classes.add(dataset, present)
    with pytest.raises(Refusal, match="already exists"):
        classes.add(dataset, spelling)
    other = named(dataset, "other")
    with pytest.raises(Refusal, match="already exists"):
        classes.edit(other, name=spelling, colour=other.colour, key=None)
    assert names(dataset) == ["other", classes.tidy_name(present)]


def test_another_dataset_may_use_the_same_name(make_dataset: MakeDataset, db: None) -> None:
    make_dataset(0, name="first")
    assert classes.add(make_dataset(0, name="second", classes=()), "cat").key == 1


def test_a_name_of_eighty_characters_fits_and_one_more_is_refused(make_dataset: MakeDataset, db: None) -> None:
    dataset = make_dataset(0, classes=())
    assert classes.add(dataset, "é" * 80).name == "é" * 80
    with pytest.raises(Refusal, match=r"81 characters\. Use at most 80"):
        classes.add(dataset, "x" * 81)


@given(st.text(max_size=100))
def test_a_tidy_name_stays_as_it_is(raw: str) -> None:
    try:
        name = classes.tidy_name(raw)
    except Refusal:
        return
    assert name == classes.tidy_name(name) == name.strip()
    assert unicodedata.is_normalized("NFC", name)
    assert 1 <= len(name) <= 80
    assert not any(character in name for character in "\n\r\t\x00")


# -- Changing the list ----------------------------------------------------------------------------
def test_a_rename_keeps_labels(make_dataset: MakeDataset, ana: User) -> None:
    dataset = make_dataset(5)
    cat = named(dataset, "cat")
    decide(dataset, [0, 1, 2], Action.Kind.ASSIGN, cat, ana)
    classes.edit(cat, name="tiger", colour="#123456", key=5)
    assert set(Item.objects.filter(label__name="tiger").values_list("row", flat=True)) == {0, 1, 2}
    assert Annotation.objects.filter(label__name="tiger").count() == 3
    assert_recount(dataset)


def test_a_class_may_keep_its_own_name_and_change_its_case(make_dataset: MakeDataset, db: None) -> None:
    dataset = make_dataset(0)
    cat = named(dataset, "cat")
    assert classes.edit(cat, name="Cat", colour=cat.colour, key=cat.key).name == "Cat"


def test_a_taken_key_is_refused_and_swapped_when_asked(make_dataset: MakeDataset, db: None) -> None:
    dataset = make_dataset(0, classes=("cat", "dog", "bird"))
    cat, dog = named(dataset, "cat"), named(dataset, "dog")
    with pytest.raises(classes.KeyTaken, match="Key 2 belongs to “dog”") as caught:
        classes.edit(cat, name="cat", colour=cat.colour, key=2)
    assert caught.value.owner == dog
    classes.edit(cat, name="cat", colour=cat.colour, key=2, swap=True)
    assert dict(LabelClass.objects.values_list("name", "key")) == {"cat": 2, "dog": 1, "bird": 3}


def test_a_class_without_a_key_takes_one_and_the_owner_goes_without(make_dataset: MakeDataset, db: None) -> None:
    dataset = make_dataset(0, classes=("cat", "dog"))
    cat = classes.edit(named(dataset, "cat"), name="cat", colour="#000000", key=None)
    classes.edit(cat, name="cat", colour="#000000", key=2, swap=True)
    assert dict(LabelClass.objects.values_list("name", "key")) == {"cat": 2, "dog": None}


def test_moving_stops_at_the_ends(make_dataset: MakeDataset, ana: User) -> None:
    dataset = make_dataset(0, classes=("a", "b", "c", "d"))
    classes.delete(named(dataset, "b"), user=ana)  # leaves a gap in the order
    d = named(dataset, "d")
    seen = []
    for by in (-1, -1, -1, 1, 1, 1):
        classes.move(d, by)
        seen.append("".join(names(dataset)))
    assert seen == ["adc", "dac", "dac", "adc", "acd", "acd"]


def test_moving_does_not_undo_what_another_changed_meanwhile(make_dataset: MakeDataset, db: None) -> None:
    dataset = make_dataset(0, classes=("a", "b"))
    stale = named(dataset, "a")
    classes.edit(named(dataset, "a"), name="renamed", colour="#111111", key=8)
    classes.move(stale, 1)
    assert names(dataset) == ["b", "renamed"]


# -- Moving labels --------------------------------------------------------------------------------
def test_merging_moves_every_label_in_batches(
    make_dataset: MakeDataset, ana: User, bo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classes, "MOVE_BATCH", 4)
    dataset = make_dataset(30)
    cat, dog = named(dataset, "cat"), named(dataset, "dog")
    decide(dataset, [0, 2, 4, 6, 8, 10, 12, 14, 16], Action.Kind.ASSIGN, cat, ana)
    decide(dataset, [1, 3], Action.Kind.ASSIGN, dog, ana)
    decide(dataset, [5], Action.Kind.UNSURE, None, ana)
    before = Annotation.objects.count()

    assert classes.merge(cat, dog, user=bo, holder="bo's") == 9

    cat.refresh_from_db()
    assert (cat.is_retired, cat.merged_into) == (True, dog)
    assert Item.objects.filter(label=dog).count() == 11
    assert Annotation.objects.count() == before + 9
    actions = list(Action.objects.filter(kind=Action.Kind.MERGE))
    assert [(action.annotator, action.holder, action.annotations.count()) for action in actions] == [
        (bo, "bo's", 4),
        (bo, "bo's", 4),
        (bo, "bo's", 1),
    ]
    assert_recount(dataset)


def test_a_merged_label_keeps_who_decided_and_how_it_was_shown(make_dataset: MakeDataset, ana: User, bo: User) -> None:
    dataset = make_dataset(3)
    cat, dog = named(dataset, "cat"), named(dataset, "dog")
    decide(dataset, [1], Action.Kind.ASSIGN, cat, ana)
    [original] = Annotation.objects.all()
    classes.merge(cat, dog, user=bo)
    moved = Annotation.objects.latest("id")
    assert (moved.label, moved.previous, moved.action.annotator) == (dog, original, bo)
    assert (moved.annotator, moved.decided_at, moved.seconds) == (ana, original.decided_at, 1.5)
    assert (moved.queue, moved.rank) == ("uncertain", 7)
    assert fresh(original).label is not None
    assert original.label.name == "cat"


def test_deleting_unlabels_and_frees_name_and_key(make_dataset: MakeDataset, ana: User, bo: User) -> None:
    dataset = make_dataset(6)
    cat = named(dataset, "cat")
    decide(dataset, [0, 3], Action.Kind.ASSIGN, cat, ana)
    assert classes.delete(cat, user=bo) == 2
    assert list(Item.objects.filter(state=State.UNLABELLED).values_list("row", flat=True)) == list(range(6))
    cleared = Annotation.objects.latest("id")
    assert (cleared.state, cleared.annotator, cleared.queue) == (State.UNLABELLED, bo, "")
    assert_recount(dataset)

    again = classes.add(dataset, "cat")
    assert again.pk != cat.pk
    assert again.key == 1
    assert Annotation.objects.order_by("id").first().label_id == cat.pk  # type: ignore[union-attr]


def test_deleting_an_unused_class_writes_no_action(make_dataset: MakeDataset, ana: User) -> None:
    dataset = make_dataset(2)
    assert classes.delete(named(dataset, "cat"), user=ana) == 0
    assert not Action.objects.exists()
    assert names(dataset) == ["dog"]


def test_what_is_gone_is_refused_in_words(make_dataset: MakeDataset, ana: User) -> None:
    dataset = make_dataset(2, classes=("cat", "dog", "bird"))
    cat, dog, bird = (named(dataset, name) for name in ("cat", "dog", "bird"))
    classes.delete(cat, user=ana)
    for attempt in (
        lambda: classes.delete(cat, user=ana),
        lambda: classes.merge(cat, dog, user=ana),
        lambda: classes.merge(dog, cat, user=ana),
        lambda: classes.move(cat, 1),
        lambda: classes.edit(cat, name="x", colour="#000000", key=None),
    ):
        with pytest.raises(classes.ClassGone, match="“cat” was deleted or merged in the meantime"):
            attempt()
    with pytest.raises(Refusal, match="another class"):
        classes.merge(bird, bird, user=ana)
    assert names(dataset) == ["dog", "bird"]


def test_classes_of_two_datasets_are_not_merged(make_dataset: MakeDataset, ana: User) -> None:
    first, second = make_dataset(1, name="first"), make_dataset(1, name="second")
    with pytest.raises(Refusal, match="same dataset"):
        classes.merge(named(first, "cat"), named(second, "cat"), user=ana)


@pytest.mark.django_db(transaction=True)
def test_a_merge_killed_half_way_is_finished_by_asking_again(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana = User.objects.create_user("ana")
    monkeypatch.setattr(classes, "MOVE_BATCH", 3)
    dataset = make_dataset(12)
    cat, dog = named(dataset, "cat"), named(dataset, "dog")
    decide(dataset, list(range(10)), Action.Kind.ASSIGN, cat, ana)
    call_after(monkeypatch, classes, "write_annotations", interrupt_at(3))
    with pytest.raises(KeyboardInterrupt):
        classes.merge(cat, dog, user=ana)
    assert_recount(dataset)
    cat.refresh_from_db()
    assert (cat.is_retired, cat.n_items) == (False, 4)

    assert classes.merge(cat, dog, user=ana) == 4
    assert_recount(dataset)
    assert Item.objects.filter(label=dog).count() == 10


@pytest.mark.django_db
def test_counters_survive_any_order_of_decisions_and_merges(make_dataset: MakeDataset) -> None:
    ana = User.objects.create_user("ana")
    dataset = make_dataset(40, classes=("a", "b", "c", "d", "e"))
    rng = np.random.default_rng(3)
    for step in range(40):
        active = list(LabelClass.objects.active().filter(dataset=dataset))
        rows = rng.choice(40, size=int(rng.integers(1, 9)), replace=False).tolist()
        kind = [Action.Kind.ASSIGN, Action.Kind.ASSIGN, Action.Kind.UNSURE, Action.Kind.CLEAR][step % 4]
        label = active[int(rng.integers(len(active)))] if kind == Action.Kind.ASSIGN else None
        decide(dataset, rows, kind, label, ana)
        if step % 8 == 5:
            classes.merge(active[0], active[1], user=ana)
            classes.add(dataset, f"new {step}")
        if step % 8 == 7:
            classes.delete(active[-1], user=ana)
            classes.add(dataset, f"new {step}")
        assert_recount(dataset)


@pytest.mark.django_db
def test_merging_asks_as_often_for_two_hundred_items_as_for_ten(make_dataset: MakeDataset) -> None:
    ana = User.objects.create_user("ana")
    asked = []
    for name, n in (("warm", 1), ("small", 10), ("large", 200)):
        dataset = make_dataset(n, name=name)
        decide(dataset, list(range(n)), Action.Kind.ASSIGN, named(dataset, "cat"), ana)
        policy.forget(dataset)  # so that each merge checks whether a model is due
        asked.append(count_queries(classes.merge, named(dataset, "cat"), named(dataset, "dog"), user=ana))
    assert asked[1] == asked[2]


# -- Letters ----------------------------------------------------------------------------------------
def test_classes_without_a_free_digit_get_a_letter_that_no_command_has(make_dataset: MakeDataset, db: None) -> None:
    dataset = make_dataset(0, classes=())
    names = [*"123456789", "galaxy", "Gegenschein", "ghost", "éclair", "星"]
    added = [classes.add(dataset, name) for name in names]
    assert [label.key_name for label in added] == [*"123456789", "d", "h", "j", "k", "u"]
    assert [label.key for label in added[9:]] == [None] * 5
    assert classes.suggested_letter("x", LabelClass.objects.none()) == "d"
    everything = [LabelClass(letter=letter) for letter in classes.LETTERS]
    assert classes.suggested_letter("galaxy", everything) == ""


def test_the_letters_of_commands_are_those_of_the_script() -> None:
    script = (ROOT / "static/js/keys.js").read_text()
    defaults = script.split("const DEFAULTS = {")[1].split("};")[0]
    assert set(re.findall(r': "([a-z])"', defaults)) == classes.COMMAND_LETTERS


def test_letters_and_digits_are_swapped(make_dataset: MakeDataset, db: None) -> None:
    dataset = make_dataset(0, classes=("cat", "dog"))
    cat, dog = named(dataset, "cat"), named(dataset, "dog")
    cat = classes.edit(cat, name="cat", colour=cat.colour, key=None, letter="s")
    assert cat.key_name == "s"
    with pytest.raises(classes.KeyTaken, match="Key S belongs to “cat”"):
        classes.edit(dog, name="dog", colour=dog.colour, key=None, letter="s")
    classes.edit(dog, name="dog", colour=dog.colour, key=None, letter="s", swap=True)
    assert dict(LabelClass.objects.values_list("name", "letter")) == {"cat": "", "dog": "s"}
    assert dict(LabelClass.objects.values_list("name", "key")) == {"cat": 2, "dog": None}
    classes.delete(named(dataset, "dog"), user=None)
    assert classes.edit(named(dataset, "cat"), name="cat", colour="#000000", key=None, letter="s").key_name == "s"
