"""The class guide: what is saved, and what becomes of it when classes and items change."""

import re

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from hoshina.core.errors import Refusal
from hoshina.datasets import deletion
from hoshina.jobs.lifecycle import claim, execute
from labeling.decisions import classes
from labeling.guide import guides
from labeling.guide.guides import Guide
from labeling.models import Action, ClassConfusion, ClassExample, ClassGuide, Dataset, Item, LabelClass
from tests.factories import MakeDataset, archive_bytes, assign, count_queries, decide, manifest, not_none, opened, text

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset(30, classes=("cat", "dog", "wolf"))


def named(dataset: Dataset, name: str) -> LabelClass:
    return LabelClass.objects.get(dataset=dataset, name=name)


def guide(dataset: Dataset, name: str) -> Guide:
    return guides.guide_of(named(dataset, name))


def paths(dataset: Dataset, name: str) -> list[str]:
    return [frame.item.path for frame in guide(dataset, name).examples]


def confused(dataset: Dataset, name: str) -> dict[str, str]:
    return {confusion.label.name: confusion.difference for confusion in guide(dataset, name).confusions}


def item_ids(dataset: Dataset, *rows: int) -> list[int]:
    return list(Item.objects.filter(dataset=dataset, row__in=rows).values_list("pk", flat=True))


def use(dataset: Dataset, rows: list[int], name: str) -> None:
    assign(dataset, rows, named(dataset, name))
    guides.add_examples(dataset, item_ids(dataset, *rows))


# -- Writing ----------------------------------------------------------------------------------------
def test_a_guide_is_saved_and_a_confusion_belongs_to_both_classes(dataset: Dataset) -> None:
    cat, dog, wolf = (named(dataset, name) for name in ("cat", "dog", "wolf"))
    changed = guides.save(dog, " Barks.\r\n\r\nWags.\x00 ", {wolf.pk: " Wolves\nhowl. ", cat.pk: ""})
    assert changed == {cat.pk, dog.pk, wolf.pk}
    assert guide(dataset, "dog").description == "Barks.\n\nWags."
    assert confused(dataset, "dog") == {"wolf": "Wolves howl.", "cat": ""}
    assert confused(dataset, "wolf") == {"dog": "Wolves howl."}
    guides.save(wolf, "", {})
    assert confused(dataset, "dog") == {"cat": ""}
    guides.save(dog, "", {})
    assert not ClassGuide.objects.exists()
    assert all(each.is_empty for each in guides.guides_of(dataset))


def test_what_cannot_be_saved_changes_nothing(dataset: Dataset, make_dataset: MakeDataset) -> None:
    cat, dog = named(dataset, "cat"), named(dataset, "dog")
    guides.save(cat, "Meows.", {dog.pk: "Dogs bark."})
    other = make_dataset(1, name="other").classes.first()
    for description, confusions, message in (
        ("x" * 4001, {}, "4,001 characters"),
        ("", {dog.pk: "x" * 301}, "more than 300"),
        ("", {cat.pk: ""}, "deleted or merged"),
        ("", {not_none(other).pk: ""}, "deleted or merged"),
        ("", {10**12: ""}, "deleted or merged"),
    ):
        with pytest.raises(Refusal, match=message):
            guides.save(cat, description, confusions)
    assert (guide(dataset, "cat").description, confused(dataset, "cat")) == ("Meows.", {"dog": "Dogs bark."})


def test_the_database_keeps_a_pair_once_and_in_order(dataset: Dataset) -> None:
    cat, dog = named(dataset, "cat"), named(dataset, "dog")
    for first, second in ((dog, cat), (cat, cat)):
        with pytest.raises(IntegrityError), transaction.atomic():
            ClassConfusion.objects.create(first=first, second=second)


def test_examples_are_labeled_items_in_the_order_of_choice(dataset: Dataset) -> None:
    use(dataset, [5], "cat")
    use(dataset, [2, 3], "cat")
    assert paths(dataset, "cat") == ["image0005.png", "image0002.png", "image0003.png"]
    assert guides.add_examples(dataset, item_ids(dataset, 2, 5)) == []
    assert guides.remove_examples(dataset, item_ids(dataset, 5, 9)) == [named(dataset, "cat").pk]
    assert paths(dataset, "cat") == ["image0002.png", "image0003.png"]
    with pytest.raises(Refusal, match="no label"):
        guides.add_examples(dataset, item_ids(dataset, 20))


def test_a_class_has_at_most_twelve_examples(dataset: Dataset) -> None:
    use(dataset, list(range(12)), "cat")
    with pytest.raises(Refusal, match="more than 12 examples"):
        use(dataset, [12], "cat")
    assert len(paths(dataset, "cat")) == 12


def test_items_of_another_dataset_are_no_examples(dataset: Dataset, make_dataset: MakeDataset) -> None:
    other = make_dataset(3, name="other")
    assign(other, [0], named(other, "cat"))
    with pytest.raises(Refusal):
        guides.add_examples(dataset, item_ids(other, 0))
    use(other, [0], "cat")
    assert guides.remove_examples(dataset, item_ids(other, 0)) == []


# -- When labels and classes change -----------------------------------------------------------------
def test_an_example_is_shown_while_it_has_the_label(dataset: Dataset) -> None:
    use(dataset, [0, 1], "cat")
    assign(dataset, [0], named(dataset, "dog"))
    assert (paths(dataset, "cat"), paths(dataset, "dog")) == (["image0001.png"], [])
    decide(dataset, Action.Kind.UNDO)
    assert len(paths(dataset, "cat")) == 2
    assign(dataset, [0], named(dataset, "dog"))
    guides.add_examples(dataset, item_ids(dataset, 0))
    assert paths(dataset, "dog") == ["image0000.png"]
    decide(dataset, Action.Kind.SKIP, [0])
    assert paths(dataset, "dog") == []


def test_merging_joins_the_guides(dataset: Dataset) -> None:
    cat, dog, wolf = (named(dataset, name) for name in ("cat", "dog", "wolf"))
    guides.save(dog, "Barks.", {wolf.pk: "Wolves howl.", cat.pk: "Cats meow."})
    guides.save(cat, "Meows.", {wolf.pk: "Wolves are larger.", dog.pk: "Cats meow."})
    use(dataset, [0], "cat")
    use(dataset, [1], "dog")
    classes.merge(dog, cat, user=None)
    assert guide(dataset, "cat").description == "Meows.\n\nBarks."
    assert confused(dataset, "cat") == {"wolf": "Wolves are larger."}
    assert confused(dataset, "wolf") == {"cat": "Wolves are larger."}
    assert paths(dataset, "cat") == ["image0000.png", "image0001.png"]
    assert ClassGuide.objects.get(pk=dog.pk).description == "Barks."


def test_merging_takes_over_what_the_other_class_lacks(dataset: Dataset) -> None:
    cat, dog, wolf = (named(dataset, name) for name in ("cat", "dog", "wolf"))
    guides.save(dog, "Barks.", {wolf.pk: "Wolves howl."})
    use(dataset, list(range(12)), "cat")
    use(dataset, [12], "dog")
    classes.merge(dog, cat, user=None)
    assert (guide(dataset, "cat").description, confused(dataset, "cat")) == ("Barks.", {"wolf": "Wolves howl."})
    assert len(paths(dataset, "cat")) == 12
    assert ClassExample.objects.count() == 12


def test_descriptions_that_are_too_long_together_stay_apart(dataset: Dataset) -> None:
    cat, dog = named(dataset, "cat"), named(dataset, "dog")
    guides.save(cat, "c" * 3000, {})
    guides.save(dog, "d" * 3000, {})
    classes.merge(dog, cat, user=None)
    assert guide(dataset, "cat").description == "c" * 3000
    assert ClassGuide.objects.get(pk=dog.pk).description == "d" * 3000


def test_deleting_and_renaming_a_class(dataset: Dataset) -> None:
    cat, dog, wolf = (named(dataset, name) for name in ("cat", "dog", "wolf"))
    guides.save(dog, "Barks.", {wolf.pk: "Wolves howl.", cat.pk: ""})
    use(dataset, [0], "dog")
    classes.edit(wolf, name="grey wolf", colour=wolf.colour, key=3)
    assert confused(dataset, "dog") == {"grey wolf": "Wolves howl.", "cat": ""}
    classes.delete(dog, user=None)
    assert [each.label.name for each in guides.guides_of(dataset)] == ["cat", "grey wolf"]
    assert all(each.is_empty for each in guides.guides_of(dataset))
    assert not ClassExample.objects.exists()


def test_copied_classes_bring_their_descriptions(dataset: Dataset, make_dataset: MakeDataset) -> None:
    cat, dog = named(dataset, "cat"), named(dataset, "dog")
    guides.save(dog, "Barks.", {cat.pk: "Cats meow."})
    use(dataset, [0], "dog")
    target = make_dataset(3, name="target", classes=())
    classes.copy(dataset, target)
    assert guide(target, "dog").description == "Barks."
    assert confused(target, "cat") == {"dog": "Cats meow."}
    assert paths(target, "dog") == []


def test_deleted_items_and_datasets_leave_nothing(dataset: Dataset, store: object) -> None:
    guides.save(named(dataset, "dog"), "Barks.", {named(dataset, "cat").pk: ""})
    use(dataset, [0, 1], "dog")
    Item.objects.filter(dataset=dataset, row=25).delete()
    job = deletion.request(dataset)
    execute(not_none(claim(job.pk)))
    assert not Dataset.objects.exists()
    assert not ClassExample.objects.exists()
    assert not ClassGuide.objects.exists()
    assert not ClassConfusion.objects.exists()


# -- Reading ----------------------------------------------------------------------------------------
def test_guides_take_as_many_queries_for_many_classes(dataset: Dataset, make_dataset: MakeDataset) -> None:
    many = make_dataset(30, name="many", classes=tuple(f"class {number}" for number in range(20)))
    for place in (dataset, many):
        for row, label in enumerate(place.classes.all()):
            guides.save(label, "Text.", {other.pk: "" for other in place.classes.exclude(pk=label.pk)[:5]})
            use(place, [row], label.name)
    assert count_queries(guides.guides_of, dataset) == count_queries(guides.guides_of, many) == 5


def test_an_item_of_several_files_is_shown_by_its_first_role(dataset: Dataset) -> None:
    use(dataset, [0], "cat")
    item = Item.objects.get(dataset=dataset, row=0)
    frame = not_none(item.frames.first())
    frame.pk, frame.role, frame.path = None, "target", "first.png"
    frame.save()
    Dataset.objects.filter(pk=dataset.pk).update(roles=["target", "image"])
    (shown,) = guide(Dataset.objects.get(pk=dataset.pk), "cat").examples
    assert shown.path == "first.png"


def test_all_frames_of_an_example_are_shown(client: Client, dataset: Dataset) -> None:
    use(dataset, [0], "cat")
    frame = not_none(Item.objects.get(dataset=dataset, row=0).frames.first())
    frame.pk, frame.role, frame.path = None, "diff", "diff.png"
    frame.save()
    Dataset.objects.filter(pk=dataset.pk).update(roles=["image", "ref", "diff"])
    html = text(client.get(reverse("labeling:guide", args=[dataset.slug])), 200)
    assert re.findall(r'<img [^>]*alt="(\w+) of', html) == ["image", "diff"]
    assert "no ref" in html


def test_the_export_contains_the_guide(dataset: Dataset, store: object) -> None:
    assert "class_guide" not in manifest(opened(archive_bytes(dataset, with_images=False)))
    guides.save(named(dataset, "dog"), "**Barks**.", {named(dataset, "cat").pk: "Cats meow."})
    use(dataset, [3], "dog")
    content = archive_bytes(dataset, with_images=False)
    assert manifest(opened(content))["class_guide"] == [
        {
            "class": "cat",
            "description": "",
            "examples": [],
            "not_to_be_confused_with": [{"class": "dog", "difference": "Cats meow."}],
        },
        {
            "class": "dog",
            "description": "**Barks**.",
            "examples": ["image0003.png"],
            "not_to_be_confused_with": [{"class": "cat", "difference": "Cats meow."}],
        },
    ]
    assert archive_bytes(dataset, with_images=False) == content
