"""The class guide as a page, as the dialog's fragment, and in the detail of an item."""

import json
import re
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from labeling.decisions import classes
from labeling.guide import guides
from labeling.models import ClassExample, Dataset, Item, LabelClass
from tests.factories import MakeDataset, assert_contains, assign, text

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset(6, classes=("cat", "dog", "wolf"))


@pytest.fixture
def cat(dataset: Dataset) -> LabelClass:
    return LabelClass.objects.get(name="cat")


@pytest.fixture
def dog(dataset: Dataset) -> LabelClass:
    return LabelClass.objects.get(name="dog")


def url(name: str, *args: object) -> str:
    return reverse(f"labeling:{name}", args=["pictures", *args])


def events(response: HttpResponse) -> dict[str, Any]:
    return dict(json.loads(response.headers.get("HX-Trigger", "{}")))


def test_page_and_dialog_show_all_guides(client: Client, cat: LabelClass, dog: LabelClass) -> None:
    guides.save(dog, "It **barks**.", {cat.pk: "Cats meow."})
    page, fragment = client.get(url("guide")), client.get(url("guide"), {"class": dog.pk}, headers=HTMX)
    assert "<html" in text(page, 200)
    assert "<html" not in text(fragment, 200)
    for response in (page, fragment):
        assert_contains(response, "It <strong>barks</strong>.", "Cats meow.", "Nothing is written about this class yet")
    title = f'id="class-guide-title-{dog.pk}" tabindex="-1" autofocus'
    assert title in text(fragment)
    assert title not in text(page)


@pytest.mark.parametrize("value", ["x", "-1", "9" * 30, "0"])
def test_any_class_to_begin_with_is_accepted(client: Client, dataset: Dataset, value: str) -> None:
    assert client.get(url("guide"), {"class": value}).status_code == 200


def test_without_classes_the_guide_says_what_to_do(client: Client, make_dataset: MakeDataset) -> None:
    make_dataset(1, classes=())
    assert "Add classes first" in text(client.get(url("guide")), 200)


def test_a_guide_is_edited(client: Client, cat: LabelClass, dog: LabelClass) -> None:
    form = client.get(url("class_guide_edit", dog.pk))
    assert_contains(form, "<textarea", f'value="{cat.pk}"', lacks=[f'value="{dog.pk}"'])
    data = {"description": "It barks.", "confused": [str(cat.pk), ""], "difference": ["Cats meow.", ""]}
    saved = client.post(url("class_guide", dog.pk), data)
    assert_contains(saved, "It barks.", "Cats meow.", f"class-guide-edit-{dog.pk}", "autofocus")
    assert set(events(saved)) == {"hoshina:guide", f"hoshina:guide-{cat.pk}"}
    form = client.get(url("class_guide_edit", dog.pk))
    assert_contains(form, "It barks.</textarea>", 'value="Cats meow."', f'<option value="{cat.pk}" selected>')


def test_a_row_is_added_and_typed_text_stays(client: Client, cat: LabelClass, dog: LabelClass) -> None:
    data = {"description": "typed", "confused": ["", str(cat.pk)], "difference": ["one", "two"]}
    form = client.post(url("class_guide_edit", dog.pk), data)
    assert text(form, 200).count('name="confused"') == 3
    assert_contains(form, "typed</textarea>", 'value="one"', 'value="two"')
    assert guides.guide_of(dog).is_empty


@pytest.mark.parametrize(
    ("confused", "message"),
    [
        ([""], "Choose the class"),
        (["x"], "Choose the class"),
        (["cat", "cat"], "listed twice"),
        (["dog"], "deleted or"),
    ],
)
def test_what_is_refused_keeps_what_was_typed(
    client: Client, cat: LabelClass, dog: LabelClass, confused: list[str], message: str
) -> None:
    pks = [str({"cat": cat.pk, "dog": dog.pk}.get(name, name)) for name in confused]
    data = {"description": "typed", "confused": pks, "difference": ["text"] * len(pks)}
    form = client.post(url("class_guide", dog.pk), data)
    assert_contains(text(form, 422), message, "typed</textarea>", 'value="text"', 'role="alert"')
    assert guides.guide_of(dog).is_empty


def test_a_description_that_is_too_long_is_refused_and_kept(client: Client, dog: LabelClass) -> None:
    form = client.post(url("class_guide", dog.pk), {"description": "x" * 4001})
    assert_contains(text(form, 422), "x" * 4001, "Use at most 4,000.", 'aria-invalid="true"')


def test_the_text_of_someone_else_is_not_overwritten_unnoticed(client: Client, dog: LabelClass) -> None:
    seen = re.findall(r'name="seen" value="(\w+)"', text(client.get(url("class_guide_edit", dog.pk))))
    guides.save(dog, "Theirs.", {})
    data = {"description": "Mine.", "seen": seen}
    refused = client.post(url("class_guide", dog.pk), data)
    assert_contains(text(refused, 422), "Someone changed this guide in the meantime.", "Mine.</textarea>")
    assert guides.guide_of(dog).description == "Theirs."
    seen = re.findall(r'name="seen" value="(\w+)"', text(refused))
    assert "Mine." in text(client.post(url("class_guide", dog.pk), data | {"seen": seen}), 200)


def test_a_class_that_is_gone_has_no_guide(client: Client, dog: LabelClass) -> None:
    classes.delete(dog, user=None)
    for name in ("class_guide", "class_guide_edit"):
        assert client.get(url(name, dog.pk)).status_code == 404
        assert client.post(url(name, dog.pk)).status_code == 404


def test_examples_are_chosen_and_removed(client: Client, dataset: Dataset, cat: LabelClass) -> None:
    assign(dataset, [1, 2], cat)
    pks = list(Item.objects.filter(row__in=(1, 2)).values_list("pk", flat=True))
    added = client.post(url("examples"), {"item": pks, "use": "1"})
    assert added.status_code == 204
    assert events(added)["hoshina:toast"] == {"text": "Added 2 examples."}
    assert f"hoshina:guide-{cat.pk}" in events(added)
    assert client.post(url("examples"), {"item": pks[:1], "use": "0"}).status_code == 204
    assert list(ClassExample.objects.values_list("item", flat=True)) == pks[1:]


@pytest.mark.parametrize(
    "data", [{}, {"use": "1"}, {"item": "1"}, {"item": "1", "use": "2"}, {"item": "x", "use": "1"}]
)
def test_malformed_examples_are_refused(client: Client, dataset: Dataset, data: dict[str, str]) -> None:
    assert client.post(url("examples"), data).status_code == 400


def test_an_image_without_label_is_no_example(client: Client, dataset: Dataset) -> None:
    item = Item.objects.get(row=0)
    refused = client.post(url("examples"), {"item": item.pk, "use": "1"})
    assert "Label them first" in text(refused, 409)


def test_the_detail_shows_the_guide_of_the_class(client: Client, dataset: Dataset, cat: LabelClass) -> None:
    assign(dataset, [1], cat)
    guides.save(cat, "It *meows*.", {})
    assert_contains(client.get(url("detail", 1)), "It <em>meows</em>.", "Use as example", lacks=['hx-trigger="load, '])
    guides.add_examples(dataset, [Item.objects.get(row=1).pk])
    assert_contains(client.get(url("detail", 1)), "No longer an example", "This image is an example of cat.")
    # Of an unlabeled image, the page asks for the guide of the class that the model suggests.
    assert_contains(client.get(url("item", 0)), 'hx-trigger="load, hoshina:guide', lacks=["Use as example"])


def test_the_list_of_classes_leads_to_guides(client: Client, dataset: Dataset, cat: LabelClass) -> None:
    assert_contains(client.get(url("class_list")), url("class_guide", cat.pk), 'aria-label="Guide of cat"')
