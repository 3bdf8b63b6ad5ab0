"""One item: its image, its decisions, its neighbours; as a page and as the side pane's fragment."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from labeling.decisions import classes
from labeling.models import Action, Dataset, Frame, Item, LabelClass
from tests.factories import MakeDataset, MakeFolder, assert_contains, count_queries, decide, text

pytestmark = pytest.mark.django_db
AT = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def dataset(make_dataset: MakeDataset, picture_folder: MakeFolder) -> Dataset:
    dataset = make_dataset(5)
    assert str(picture_folder(5)) == dataset.root
    return dataset


def act(dataset: Dataset, row: int, kind: Action.Kind, label: str = "", user: User | None = None, **shown: Any) -> None:
    rows = [] if kind == Action.Kind.UNDO else [row]
    decide(dataset, kind, rows, label, user=user, at=AT, seconds=2.5, **{"queue": "", **shown})


def url(name: str, row: int, query: str = "") -> str:
    return reverse(f"labeling:{name}", args=["pictures", row]) + query


def test_page_and_fragment_show_the_same_item(client: Client, dataset: Dataset) -> None:
    page, fragment = client.get(url("item", 2)), client.get(url("detail", 2))
    frame = Frame.objects.get(item__row=2)
    assert page.status_code == fragment.status_code == 200
    assert "<html" in text(page)
    assert "<html" not in text(fragment)
    for response in (page, fragment):
        found = text(response)
        assert found.count('id="detail"') == 1
        assert f'src="/api/file/{frame.item_id}?v={frame.sha256[:12]}" width="24"' in found
        assert reverse("modeling:probabilities", args=["pictures", 2]) in found
        for fact in ("image0002.png", "24 × 24 px", "100", "PNG", frame.sha256[:12], dataset.root):
            assert fact in found


def test_only_the_page_is_the_items_own(client: Client, dataset: Dataset) -> None:
    page, fragment = text(client.get(url("item", 2))), text(client.get(url("detail", 2)))
    assert "data-item-page" in page
    assert "data-item-page" not in fragment
    assert f'href="{url("item", 3)}" hx-get' not in page
    assert 'data-do="right"' in fragment, "the arrows of the workbench move the focus of its tiles"


def test_neighbours_are_by_row_and_of_the_same_dataset(
    client: Client, dataset: Dataset, make_dataset: MakeDataset
) -> None:
    make_dataset(9, name="other")
    Item.objects.filter(dataset=dataset, row=1).delete()
    for row, *neighbours in ((0, None, 2), (2, 0, 3), (4, 3, None)):
        found = text(client.get(url("item", row)))
        for rel, other in zip(("prev", "next"), neighbours, strict=True):
            link = f'rel="{rel}"' if other is None else f'rel="{rel}" href="{url("item", other)}"'
            assert (link in found) is (other is not None)


@pytest.mark.parametrize("name", ["item", "detail"])
@pytest.mark.parametrize("row", [5, 10**18 - 1])
def test_an_unknown_row_is_said_in_words(client: Client, dataset: Dataset, name: str, row: int) -> None:
    page = text(client.get(url(name, row)), 404)
    assert_contains(page, f"pictures has no item {row}.", "Its items are numbered from 0 to 4.")


@pytest.mark.parametrize("name", ["item", "detail"])
def test_addresses(client: Client, dataset: Dataset, name: str, settings: object) -> None:
    assert client.get(reverse(f"labeling:{name}", args=["nowhere", 0])).status_code == 404
    assert client.post(url(name, 0)).status_code == 405
    settings.LOGIN_REQUIRED = True  # type: ignore[attr-defined]
    client.logout()
    assert client.get(url(name, 0), headers={"HX-Request": "true"}).status_code == 401


@pytest.mark.parametrize("name", ["item", "detail"])
def test_words_stand_for_a_picture_that_is_not_there(client: Client, dataset: Dataset, name: str) -> None:
    (Path(dataset.root) / "image0001.png").unlink()
    assert "The file is no longer in" in text(client.get(url(name, 1)))
    Item.objects.filter(row=2).update(is_available=False)
    assert "The file could not be read" in text(client.get(url(name, 2)))
    Frame.objects.filter(item__row=3).delete()
    assert "This item has no image file." in text(client.get(url(name, 3)))
    for row in (1, 2, 3):
        assert "<img" not in text(client.get(url(name, row)))
        assert "data-decide" in text(client.get(url(name, row)))
    assert "<img" in text(client.get(url(name, 0)))


def test_a_file_that_may_not_be_reached_is_no_error(
    client: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_file", Mock(side_effect=PermissionError(13, "Permission denied")))
    assert "The file is no longer in" in text(client.get(url("detail", 0)))


def test_paths_are_escaped_and_on_one_line(client: Client, dataset: Dataset) -> None:
    nasty = "<img src=x onerror=alert(1)>\nnew\u202egnp.png"
    Item.objects.filter(row=0).update(path=nasty)
    Frame.objects.filter(item__row=0).update(path=nasty)
    for name in ("item", "detail"):
        found = text(client.get(url(name, 0)))
        assert_contains(found, r"&lt;img src=x onerror=alert(1)&gt;\nnew\u202egnp.png", lacks=["<img src=x"])


# -- Deciding -------------------------------------------------------------------------------------
def test_buttons_carry_what_the_outbox_needs(client: Client, dataset: Dataset) -> None:
    act(dataset, 1, Action.Kind.ASSIGN, "dog")
    item = Item.objects.get(row=1)
    cat, dog = LabelClass.objects.all()
    found = text(client.get(url("detail", 1)))
    common = f'data-item="{item.pk}" data-seen="{item.newest_annotation_id}"'
    assert f'data-decide="assign" data-label="{cat.pk}" {common} data-key="1" aria-pressed="false"' in found
    assert f'data-decide="assign" data-label="{dog.pk}" {common} data-key="2" aria-pressed="true"' in found
    assert f'data-decide="unsure" {common} data-key="0" aria-pressed="false"' in found
    assert f'data-decide="skip" {common} data-key="x" aria-pressed="false"' in found
    assert item.newest_annotation_id > 0


def test_retired_classes_are_not_offered(client: Client, dataset: Dataset) -> None:
    for one in LabelClass.objects.all():
        classes.delete(one, user=None)
    assert_contains(client.get(url("detail", 1)), "Add a class first", lacks=['data-decide="assign"'])


# -- History --------------------------------------------------------------------------------------
def test_the_history_tells_who_what_when_and_how_it_was_shown(client: Client, dataset: Dataset) -> None:
    ana = User.objects.create_user("ana")
    dog = LabelClass.objects.get(name="dog")
    act(
        dataset, 1, Action.Kind.ASSIGN, "cat", ana,
        queue="uncertain", round_id=17, rank=3, score=0.81234, selection_probability=0.25, model_version_id=7,
        suggested_label_id=dog.pk, suggested_probability=0.724, suggestion_shown=False,
    )  # fmt: skip
    found = text(client.get(url("detail", 1)))
    for words in (
        "ana", "4 Mar 2026, 05:06 UTC", "queue uncertain", "rank 4", "round 17", "score 0.812",
        "drawn with probability 0.25", "model version 7", "suggestion dog 72 % (hidden)", "2.5 s on screen",
    ):  # fmt: skip
        assert words in found
    assert_contains(found, "Now:", "<b>cat</b>")


def test_undone_decisions_are_marked(client: Client, dataset: Dataset) -> None:
    act(dataset, 1, Action.Kind.ASSIGN, "cat")
    act(dataset, 1, Action.Kind.SKIP)
    assert ">undone<" not in text(client.get(url("detail", 1)))
    act(dataset, 1, Action.Kind.UNDO)
    found = text(client.get(url("detail", 1)))
    assert found.count(">undone<") == 1
    assert found.index("undone: cat again") < found.index("skipped") < found.rindex("cat</span>")
    assert "<b>cat</b>" in found


def test_a_merge_and_a_deletion_are_told(client: Client, dataset: Dataset) -> None:
    bo = User.objects.create_user("bo")
    act(dataset, 1, Action.Kind.ASSIGN, "cat")
    classes.merge(LabelClass.objects.get(name="cat"), LabelClass.objects.get(name="dog"), user=bo)
    classes.delete(LabelClass.objects.get(name="dog"), user=bo)
    found = text(client.get(url("detail", 1)))
    assert_contains(found, "dog (class “cat” was merged)", "unlabeled (class “dog” was deleted)")
    assert found.count("bo,") == 2


def test_a_long_history_is_paged(client: Client, dataset: Dataset) -> None:
    for number in range(45):
        act(dataset, 1, Action.Kind.SKIP, queue=f"q{number:02}.")
    seen: list[str] = []
    query = ""
    for _ in range(4):
        found = text(client.get(url("item", 1, query)))
        seen += [f"q{number:02}." for number in range(44, -1, -1) if f"queue q{number:02}." in found]
        if "Older decisions" not in found:
            break
        query = found.split('">Older decisions')[0].rsplit('"', 1)[1].partition("?")[2].join(["?", ""])
    assert seen == [f"q{number:02}." for number in range(44, -1, -1)]


@pytest.mark.parametrize("before", ["x", "-1", "9" * 40, "²", ""])
def test_a_malformed_page_of_the_history_is_the_newest(client: Client, dataset: Dataset, before: str) -> None:
    act(dataset, 1, Action.Kind.SKIP, queue="only")
    assert "queue only" in text(client.get(url("item", 1), {"before": before}))


# -- Growth ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "most"), [("item", 19), ("detail", 18)])  # the page's header lists the datasets
def test_the_database_is_asked_as_often_for_many_items_and_decisions(
    client: Client, make_dataset: MakeDataset, name: str, most: int
) -> None:
    make_dataset(10)
    big = make_dataset(200, name="big")
    ana = User.objects.create_user("ana")
    small = Dataset.objects.get(slug="pictures")
    for dataset, n in ((small, 1), (big, 15)):
        for _ in range(n):
            act(dataset, 5, Action.Kind.ASSIGN, "cat", ana, suggested_label_id=1, suggested_probability=0.5)
    few, many = (reverse(f"labeling:{name}", args=[slug, 5]) for slug in ("pictures", "big"))
    assert client.get(few).status_code == client.get(many).status_code == 200
    assert count_queries(client.get, few) == count_queries(client.get, many) <= most
