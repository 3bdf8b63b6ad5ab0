"""The list of classes as a page and as the dialog's fragment."""

import hashlib
import json
import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from hoshina.jobs.models import Job
from labeling.decisions import classes
from labeling.models import Action, ClassChange, Dataset, Item, LabelClass
from tests.factories import MakeDataset, assert_contains, assign, call_before, fresh, not_none, text

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset(6)


@pytest.fixture
def cat(dataset: Dataset) -> LabelClass:
    return LabelClass.objects.get(name="cat")


@pytest.fixture
def dog(dataset: Dataset) -> LabelClass:
    return LabelClass.objects.get(name="dog")


def url(name: str, *args: object) -> str:
    return reverse(f"labeling:{name}", args=["pictures", *args])


def names() -> list[str]:
    return list(LabelClass.objects.active().values_list("name", flat=True))


def says_changed(response: object) -> bool:
    return "hoshina:classes" in json.loads(response.headers.get("HX-Trigger", "{}"))  # type: ignore[attr-defined]


def test_page_and_fragment_hold_the_same_list(client: Client, dataset: Dataset) -> None:
    page, fragment = client.get(url("classes")), client.get(url("class_list"))
    assert page.status_code == fragment.status_code == 200
    assert "<html" in text(page)
    assert "<html" not in text(fragment)
    for response in (page, fragment):
        assert text(response).count('id="class-list"') == 1
        assert text(response).index("cat") < text(response).index("dog")
    assert not says_changed(fragment)


def test_an_empty_list_says_what_to_do(client: Client, make_dataset: MakeDataset) -> None:
    make_dataset(0, classes=())
    assert "No classes yet" in text(client.get(url("class_list")))


def test_the_first_classes_are_refused_with_reasons(client: Client, make_dataset: MakeDataset) -> None:
    first = make_dataset(0, classes=())
    make_dataset(0, name="other", classes=("cat", "dog"))
    address = url("first_classes")
    for sent, reason in (
        ({"names": " ,; "}, "Enter a name for the class."),
        ({"names": "cat, Cat, bird"}, "The class “cat” already exists."),
        ({"names": "x" * 81}, "The name has 81 characters."),
        ({"names": "\n".join(map(str, range(501)))}, "These are 501 names."),
        ({"copy": "other"}, "The class “cat” already exists."),
    ):
        response = client.post(address, sent)
        assert response.status_code == 422
        assert reason in text(response)
    assert 'value="Cat"' in text(client.post(address, {"names": "Cat, fox"}), 422), "what is refused can be corrected"
    first.classes.filter(name="fox").delete()
    assert list(first.classes.values_list("name", flat=True)) == ["cat", "bird"], "the others of a list are added"
    assert client.post(address, {"copy": "nowhere"}).status_code == 404
    assert client.put(address).status_code == 405


def test_names_of_folders_may_have_commas(client: Client, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(0, classes=())
    names_of_folders = [*(f"kind {number}" for number in range(14)), "Sab, barred"]
    for name in names_of_folders:
        (dataset.data_dir / name).mkdir(parents=True)
    page = text(client.get(url("first_classes")))
    assert "Use the names of 15 folders: kind 0, kind 1, kind 2, kind 3, …" in page
    found = re.findall(r'name="folder" value="([^"]+)"', page)
    assert client.post(url("first_classes"), {"folder": found}).status_code == 200
    assert sorted(dataset.classes.values_list("name", flat=True)) == sorted(names_of_folders)


def test_the_first_classes_offer_to_group_files_that_show_one_object(client: Client, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(0, classes=())
    dataset.data_dir.mkdir(parents=True, exist_ok=True)
    for number in range(4):
        for role in ("target", "ref", "diff"):
            (dataset.data_dir / f"sn{number}_{role}.png").touch()
    assert_contains(client.get(url("first_classes")), "/grouping/?template=%7Bid%7D_%7Brole%7D.png")
    job = Job.objects.create(kind="ingest", dataset_id=dataset.pk, state=Job.State.RUNNING)
    assert_contains(client.get(url("first_classes")), "/grouping/")
    Job.objects.filter(pk=job.pk).update(params={"grouping": "{id}_{role}.png"})
    assert_contains(client.get(url("first_classes")), lacks=["/grouping/"])
    Dataset.objects.update(n_labelled=1)
    assert_contains(client.get(url("first_classes")), "Which classes are there?", lacks=["?template="])


def test_names_are_escaped(client: Client, dataset: Dataset) -> None:
    classes.add(dataset, "<script>alert(1)</script>")
    assert_contains(client.get(url("class_list")), "&lt;script&gt;alert(1)&lt;/script&gt;", lacks=["<script>"])


@pytest.mark.parametrize("name", ["classes", "class_list"])
def test_lists_are_only_read(client: Client, dataset: Dataset, name: str) -> None:
    assert client.post(url(name)).status_code == 405


def test_changes_are_only_posted(client: Client, dataset: Dataset, cat: LabelClass) -> None:
    assert all(client.get(page).status_code == 405 for page in (url("class_add"), url("class_move", cat.pk)))
    assert all(client.put(url(name, cat.pk)).status_code == 405 for name in ("class_edit", "class_delete"))
    assert names() == ["cat", "dog"]


@pytest.mark.parametrize("name", ["classes", "class_list"])
def test_an_unknown_dataset_is_not_found(client: Client, dataset: Dataset, name: str) -> None:
    assert client.get(reverse(f"labeling:{name}", args=["nowhere"])).status_code == 404
    assert client.post(reverse("labeling:class_add", args=["nowhere"]), {"name": "x"}).status_code == 404


def test_nobody_changes_classes_without_signing_in(
    client: Client, dataset: Dataset, cat: LabelClass, settings: object
) -> None:
    settings.LOGIN_REQUIRED = True  # type: ignore[attr-defined]
    for response in (
        client.post(url("class_add"), {"name": "x"}),
        client.post(url("class_delete", cat.pk), {}),
        client.get(url("class_list"), headers={"HX-Request": "true"}),
    ):
        assert response.status_code == 401
    assert names() == ["cat", "dog"]


# -- Adding ---------------------------------------------------------------------------------------
def test_adding_answers_with_the_list_ready_for_another(client: Client, dataset: Dataset) -> None:
    response = client.post(url("class_add"), {"name": "  bird "})
    assert response.status_code == 200
    assert says_changed(response)
    assert names() == ["cat", "dog", "bird"]
    assert LabelClass.objects.get(name="bird").key == 3
    assert 'name="name" value=""' in text(response)
    assert "autofocus" in text(response)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "Enter a name for the class."),
        ("CAT", "The class “cat” already exists. Choose another name."),
        ("x" * 81, "The name has 81 characters. Use at most 80."),
    ],
)
def test_a_refused_name_comes_back_with_words(client: Client, dataset: Dataset, name: str, words: str) -> None:
    response = client.post(url("class_add"), {"name": name})
    assert response.status_code == 422
    assert words in text(response)
    assert f'value="{name}"' in text(response)
    assert not says_changed(response)
    assert names() == ["cat", "dog"]


# -- Editing --------------------------------------------------------------------------------------
def test_editing_opens_one_row(client: Client, cat: LabelClass) -> None:
    found = text(client.get(url("class_edit", cat.pk)))
    assert found.count(' id="class-form"') == 1
    assert_contains(found, 'value="cat"', 'value="#E69F00"', '<option value="1" selected>')


def test_an_edit_is_kept(client: Client, cat: LabelClass) -> None:
    response = client.post(url("class_edit", cat.pk), {"name": "lion", "colour": "#010203", "key": "9"})
    assert response.status_code == 200
    assert says_changed(response)
    cat.refresh_from_db()
    assert (cat.name, cat.colour, cat.key) == ("lion", "#010203", 9)
    client.post(url("class_edit", cat.pk), {"name": "lion", "colour": "#010203", "key": ""})
    assert fresh(cat).key is None
    change = ClassChange.objects.get()
    assert (change.old_name, change.changed_by) == ("cat", User.objects.get())
    assert "Earlier names: cat" in text(client.get(url("class_edit", cat.pk)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "dog"}, "The class “dog” already exists. Choose another name."),
        ({"name": " "}, "Enter a name for the class."),
        ({"colour": "red;background:url(x)"}, "Enter a color as #rrggbb."),
        ({"key": "10"}, "Choose a key from 1 to 9 or A to Z, or none."),
        ({"key": "2"}, "Key 2 belongs to “dog”. Swap the keys, or choose another key."),
    ],
)
def test_a_refused_edit_comes_back_with_words(
    client: Client, cat: LabelClass, change: dict[str, str], words: str
) -> None:
    data = {"name": "cat", "colour": "#E69F00", "key": "1"} | change
    response = client.post(url("class_edit", cat.pk), data)
    assert response.status_code == 422
    assert words in text(response)
    assert not says_changed(response)
    cat.refresh_from_db()
    assert (cat.name, cat.colour, cat.key) == ("cat", "#E69F00", 1)


def test_a_taken_key_offers_to_swap(client: Client, cat: LabelClass, dog: LabelClass) -> None:
    data = {"name": "cat", "colour": "#E69F00", "key": "2"}
    assert_contains(client.post(url("class_edit", cat.pk), data), "Swap keys with dog", '<option value="2" selected>')
    assert client.post(url("class_edit", cat.pk), data | {"swap": "1"}).status_code == 200
    assert dict(LabelClass.objects.values_list("name", "key")) == {"cat": 2, "dog": 1}


def test_moving(client: Client, cat: LabelClass) -> None:
    assert says_changed(client.post(url("class_move", cat.pk), {"by": "1"}))
    assert names() == ["dog", "cat"]
    client.post(url("class_move", cat.pk), {"by": "-1"})
    assert names() == ["cat", "dog"]
    assert client.post(url("class_move", cat.pk), {"by": "1000000"}).status_code == 400


# -- Merging and deleting -------------------------------------------------------------------------
def test_deleting_an_unused_class_asks_once(client: Client, cat: LabelClass) -> None:
    assert_contains(client.get(url("class_delete", cat.pk)), "has no labels. Delete it?", lacks=["<select"])
    response = client.post(url("class_delete", cat.pk))
    assert says_changed(response)
    assert "Deleted “cat”." in text(response)
    assert names() == ["dog"]


def test_deleting_a_class_in_use_asks_where_its_labels_go(
    client: Client, dataset: Dataset, cat: LabelClass, dog: LabelClass
) -> None:
    assign(dataset, [0, 1, 2], cat)
    asked = text(client.get(url("class_delete", cat.pk)))
    assert_contains(asked, "has 3 labels. Where should they go?", "no class (unlabeled)")
    assert_contains(asked, f'<option value="{dog.pk}">dog</option>', lacks=[f'<option value="{cat.pk}"'])

    assert "Choose where its labels go." in text(client.post(url("class_delete", cat.pk)), 422)
    assert names() == ["cat", "dog"]

    response = client.post(url("class_delete", cat.pk), {"target": "unlabelled"})
    assert "3 items are unlabeled again." in text(response)
    assert names() == ["dog"]
    assert not Item.objects.exclude(label=None).exists()


def test_deleting_into_another_class(client: Client, dataset: Dataset, cat: LabelClass, dog: LabelClass) -> None:
    assign(dataset, [0, 1], cat)
    assert "2 labels moved" in text(client.post(url("class_delete", cat.pk), {"target": str(dog.pk)}))
    assert Item.objects.filter(label=dog).count() == 2
    action = Action.objects.get(kind=Action.Kind.MERGE)
    assert action.annotator == User.objects.get()
    key = str(client.session.session_key)
    assert action.holder == hashlib.sha256(key.encode()).hexdigest()[:40], "the key itself would open the session"


def test_merging_needs_a_class(client: Client, dataset: Dataset, cat: LabelClass, dog: LabelClass) -> None:
    assign(dataset, [5], cat)
    assert "no class (unlabeled)" not in text(client.get(url("class_merge", cat.pk)))
    for target in ("", "unlabelled", str(cat.pk), "999999", "x"):
        assert client.post(url("class_merge", cat.pk), {"target": target}).status_code == 422
    assert names() == ["cat", "dog"]
    assert client.post(url("class_merge", cat.pk), {"target": str(dog.pk)}).status_code == 200
    assert names() == ["dog"]


def test_a_class_of_another_dataset_is_no_target(client: Client, cat: LabelClass, make_dataset: MakeDataset) -> None:
    stranger = not_none(LabelClass.objects.filter(dataset=make_dataset(1, name="other")).first())
    page = text(client.post(url("class_merge", cat.pk), {"target": str(stranger.pk)}), 422)
    assert "deleted or merged in the meantime" in page
    assert client.post(url("class_edit", stranger.pk), {"name": "mine"}).status_code == 422
    assert fresh(stranger).name == "cat"


@pytest.mark.parametrize("name", ["class_edit", "class_move", "class_merge", "class_delete"])
def test_a_class_deleted_meanwhile_is_said_in_words(client: Client, cat: LabelClass, name: str) -> None:
    classes.delete(cat, user=None)
    data = {"name": "x", "colour": "#000000", "by": "1", "target": "unlabelled"}
    response = client.post(url(name, cat.pk), data)
    assert response.status_code == 422
    assert "was deleted or merged in the meantime" in text(response)
    assert 'id="class-list"' in text(response)
    assert says_changed(response)


def test_a_class_deleted_between_look_and_change(
    client: Client, cat: LabelClass, dog: LabelClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_before(monkeypatch, classes, "edit", lambda found, **_: classes.merge(found, dog, user=None))
    page = text(client.post(url("class_edit", cat.pk), {"name": "lion", "colour": "#000000"}), 422)
    assert "“cat” was deleted or merged in the meantime" in page


def test_the_list_asks_the_database_as_often_for_many_classes_and_items(
    client: Client, dataset: Dataset, cat: LabelClass, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client.get(url("class_list"))
    assign(dataset, [0, 1, 2, 3], cat)
    for number in range(30):
        classes.add(dataset, f"class {number}")
    # Session, user, dataset, classes.
    with django_assert_num_queries(4):
        client.get(url("class_list"))
