"""The admin: classes by the rules of the Classes page, everything else to look at."""

import re
from html import escape
from html.parser import HTMLParser

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from hoshina.core.admin import BoundedPaginator
from hoshina.core.roles import Role
from hoshina.jobs.models import Job
from labeling.decisions import classes
from labeling.ingest.image_uploads import new_uploads
from labeling.models import Annotation, ClassChange, ClassGuide, Dataset, Field, Item, LabelClass, Note, Problem, Tag
from modeling.models import EmbeddingSet, Projection, RetrainPolicy
from sampling.models import AccuracyEstimate, Check, ClassSplit, Round, SavedView, ServedPage
from tests.factories import MakeDataset, assign, call_before, count_queries, fresh, not_none, text
from tests.modeling.factories import make_version
from tests.people import account

pytestmark = pytest.mark.django_db

READ_ONLY = ["labeling.item", "labeling.annotation", "labeling.action", "labeling.problem", "sampling.round",
             "modeling.embeddingset", "modeling.modelversion", "modeling.projection", "jobs.job", "labeling.field",
             "labeling.tag", "labeling.note", "labeling.classguide",
             "labeling.classchange", "sampling.servedpage", "sampling.savedview",
             "sampling.accuracyestimate", "sampling.check", "sampling.classsplit"]  # fmt: skip
OURS = [*READ_ONLY, "labeling.dataset", "labeling.labelclass", "modeling.retrainpolicy", "jobs.worker"]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    """Provide one row of everything."""
    dataset = make_dataset(10)
    assign(dataset, [0, 1, 2], LabelClass.objects.get(name="cat"))
    Problem.objects.create(dataset=dataset, path="<b>broken</b>.png", reason="The file is empty.")
    vectors = EmbeddingSet.objects.create(dataset=dataset, fingerprint="f" * 64, encoder="hog", dim=4)
    version = make_version(dataset, embedding_set=vectors)
    cat, item = LabelClass.objects.get(name="cat"), not_none(Item.objects.first())
    round_ = Round.objects.create(dataset=dataset, queue="random", seed=1, rows=b"\x00" * 80)
    ServedPage.objects.create(
        round=round_, first_rank=0, last_rank=9, ranks=b"", item_ids=b"", suggested_ids=b"", suggested_probabilities=b""
    )
    SavedView.objects.create(dataset=dataset, name="cats", query="queue=all&state=labelled")
    AccuracyEstimate.objects.create(
        dataset=dataset, model_version=version, n_labels=3, n_items=10, n_audit=3, n_right=2, value=0.7, low=0.3,
        high=0.9, n_effective=3,
    )  # fmt: skip
    Check.objects.create(dataset=dataset, item=item, round=round_, label=cat, probability=0.9, labels=9, promised=0.1)
    ClassSplit.objects.create(dataset=dataset, label=cat, n_parts=2)
    Projection.objects.create(dataset=dataset, embedding_set=vectors, name="map", method="pca")
    Field.objects.create(dataset=dataset, name="exposure", kind="number", source="csv")
    Tag.objects.create(dataset=dataset, name="blurred")
    Note.objects.create(dataset=dataset, item=item, row=item.row, text="Look again")
    ClassGuide.objects.create(label_class=cat, description="Has whiskers.")
    ClassChange.objects.create(label_class=cat, kind="renamed", old_name="kitten")
    RetrainPolicy.objects.get_or_create(dataset=dataset)
    Job.objects.create(kind="ingest", queue="heavy", dataset_id=dataset.pk, key="ingest:1")
    return dataset


def url(model: str, page: str, *args: object) -> str:
    return reverse(f"admin:{model.replace('.', '_')}_{page}", args=args)


class InlineCode(HTMLParser):
    """Finds what `script-src 'self'` would block: script elements with code, and on… attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script" and "src" not in given and given.get("type") != "application/json":
            self.found.append(str(self.get_starttag_text()))
        self.found += [f"{tag} {name}" for name in given if name.startswith("on")]
        self.found += [f"{tag} {value}" for value in given.values() if value and value.startswith("javascript:")]


@pytest.mark.parametrize("model", OURS)
def test_every_list_and_every_row_opens_without_inline_code(client: Client, dataset: Dataset, model: str) -> None:
    pages = [url(model, "changelist")]
    first = apps.get_model(model)._default_manager.first()
    if first is not None:
        pages.append(url(model, "change", first.pk))
    if model == "labeling.labelclass":
        pages += [url(model, "add"), url(model, "delete", first.pk)]
    for page in pages:
        response = client.get(page)
        assert response.status_code == 200, page
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
        parser = InlineCode()
        parser.feed(text(response))
        assert not parser.found, page
        assert "<b>broken" not in text(response)


@pytest.mark.parametrize("model", READ_ONLY)
def test_records_cannot_be_added_changed_or_deleted(client: Client, dataset: Dataset, model: str) -> None:
    found = apps.get_model(model)
    first = not_none(found._default_manager.first())
    assert client.get(url(model, "add")).status_code == 403
    assert client.post(url(model, "change", first.pk), {}).status_code == 403
    assert client.post(url(model, "delete", first.pk), {"post": "yes"}).status_code == 403
    selected = {"action": "delete_selected", "_selected_action": [str(first.pk)], "post": "yes"}
    client.post(url(model, "changelist"), selected)
    assert found._default_manager.filter(pk=first.pk).exists()


@pytest.mark.parametrize("model", sorted({*OURS} - {"jobs.worker", "sampling.servedpage"}))
def test_rows_link_to_their_pages_of_the_product(client: Client, dataset: Dataset, model: str) -> None:
    found = apps.get_model(model)
    row = not_none(found._default_manager.first())
    address = admin.site.get_model_admin(found).page_url(row)  # type: ignore[attr-defined]
    assert client.get(address).status_code == 200
    for page in (url(model, "changelist"), url(model, "change", row.pk)):
        assert f'href="{escape(address)}"' in text(client.get(page)), page


def test_titles_are_readable(client: Client, dataset: Dataset) -> None:
    for model in (*READ_ONLY, "labeling.dataset", "labeling.labelclass", "modeling.retrainpolicy"):
        listed = text(client.get(url(model, "changelist")))
        titles = re.findall(r'<div class="text">.*?>([^<>]+)</', listed)
        assert titles
        assert not [one for one in titles if re.match(r"(?i)(n|is) |.* (at|id)$", one)], model
    opened = text(client.get(url("labeling.dataset", "change", dataset.pk)))
    assert "Labeled items:" in opened
    assert "N missing" not in opened
    shown = text(client.get("/admin/"))
    for name in ("Datasets and labels", "Embeddings and models", "Queues and accuracy", "People", "Failed sign-ins"):
        assert name in shown
    assert "Access logs" not in shown


def test_the_admin_has_the_frame_of_the_product(client: Client, dataset: Dataset) -> None:
    row = not_none(Item.objects.first())
    for page in ("/admin/", url("labeling.item", "changelist"), url("labeling.item", "change", row.pk)):
        opened = text(client.get(page))
        assert '<nav id="nav" class="nav" aria-label="Pages">' in opened
        assert "js/start.js" in opened  # the stored theme
        assert "· Admin · HOSHINA</title>" in opened
        assert "Django" not in opened
        assert re.search(r'<a href="/admin/" aria-current="page">Admin</a>', opened)


def test_people_change_their_password_on_their_account(client: Client) -> None:
    assert client.get("/admin/password_change/")["Location"] == "/account/"


def test_datasets_are_neither_added_nor_deleted(client: Client, dataset: Dataset) -> None:
    assert client.get(url("labeling.dataset", "add")).status_code == 403
    assert client.post(url("labeling.dataset", "delete", dataset.pk), {"post": "yes"}).status_code == 403


def test_a_dataset_is_renamed_and_its_moved_folder_checked(client: Client, dataset: Dataset, tmp_path: object) -> None:
    page = url("labeling.dataset", "change", dataset.pk)
    for root, words in (("relative", "Enter the full path."), (f"{tmp_path}/gone", "does not exist")):
        assert words in text(client.post(page, {"name": "new", "root": root}))
    assert client.post(page, {"name": "new", "root": str(tmp_path)}).status_code == 302
    dataset.refresh_from_db()
    assert (dataset.name, dataset.root, dataset.slug, dataset.n_labelled) == ("new", str(tmp_path), "pictures", 3)


def test_a_dataset_of_uploaded_images_is_renamed(client: Client, store: object) -> None:
    dataset = new_uploads("phone")
    page = url("labeling.dataset", "change", dataset.pk)
    assert client.post(page, {"name": "new", "root": dataset.root}).status_code == 302
    dataset.refresh_from_db()
    assert (dataset.name, dataset.root) == ("new", "uploads/phone")


def test_labelers_see_nothing(client: Client, dataset: Dataset) -> None:
    client.force_login(account(Role.LABELER))
    assert client.get(url("labeling.labelclass", "changelist")).status_code == 302
    cat = LabelClass.objects.get(name="cat")
    assert client.post(url("labeling.labelclass", "delete", cat.pk), {"target": "unlabelled"}).status_code == 403
    assert not fresh(cat).is_retired


# -- Classes --------------------------------------------------------------------------------------
def test_a_class_is_added(client: Client, dataset: Dataset) -> None:
    data = {"dataset": dataset.pk, "name": " bird ", "colour": "#123456", "key": "3", "order": "2"}
    assert client.post(url("labeling.labelclass", "add"), data).status_code == 302
    assert LabelClass.objects.get(name="bird").key == 3
    assert ClassChange.objects.get(label_class__name="bird").kind == "added"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "CAT"}, "The class “cat” already exists. Choose another name."),
        ({"name": "  "}, "Enter a name for the class."),
        ({"name": "x" * 81}, "The name has 81 characters. Use at most 80."),
        ({"key": "2"}, "Key 2 belongs to “dog”."),
        ({"key": "0"}, "greater than or equal to 1"),
        ({"colour": "red"}, "Enter a color as #rrggbb."),
    ],
)
def test_a_refused_class_is_said_in_words(client: Client, dataset: Dataset, change: dict[str, str], words: str) -> None:
    new = {"dataset": dataset.pk, "name": "bird", "colour": "#123456", "key": "", "order": "2"} | change
    assert words in text(client.post(url("labeling.labelclass", "add"), new), 200)
    bird = classes.add(dataset, "bird")
    assert words in text(client.post(url("labeling.labelclass", "change", bird.pk), new), 200)
    assert LabelClass.objects.count() == 3


def test_a_class_keeps_its_dataset_and_its_labels_when_changed(
    client: Client, dataset: Dataset, make_dataset: MakeDataset
) -> None:
    other = make_dataset(1, name="other")
    cat = LabelClass.objects.get(dataset=dataset, name="cat")
    data = {"dataset": other.pk, "name": "Cat", "colour": "#000000", "key": "1", "order": "5", "n_items": "99"}
    assert client.post(url("labeling.labelclass", "change", cat.pk), data).status_code == 302
    cat.refresh_from_db()
    assert (cat.dataset, cat.name, cat.order, cat.n_items) == (dataset, "Cat", 5, 3)
    change = ClassChange.objects.filter(label_class=cat).latest("pk")
    assert (change.kind, change.old_name) == ("renamed", "cat")
    assert change.changed_by is not None


def test_deleting_a_class_in_use_asks_where_its_labels_go(client: Client, dataset: Dataset) -> None:
    cat, dog = LabelClass.objects.get(name="cat"), LabelClass.objects.get(name="dog")
    page = url("labeling.labelclass", "delete", cat.pk)
    assert "has 3 labels. Where should they go?" in text(client.get(page))
    assert "Choose where its labels go." in text(client.post(page, {}), 422)
    assert "3 labels moved" in text(client.post(page, {"target": str(dog.pk)}, follow=True))
    cat.refresh_from_db()
    assert (cat.is_retired, cat.merged_into) == (True, dog)
    assert Item.objects.filter(label=dog).count() == 3
    assert Annotation.objects.filter(label=cat).count() == 3


def test_a_retired_class_is_history(client: Client, dataset: Dataset) -> None:
    cat = LabelClass.objects.get(name="cat")
    classes.delete(cat, user=None)
    assert client.get(url("labeling.labelclass", "change", cat.pk)).status_code == 200
    assert client.post(url("labeling.labelclass", "change", cat.pk), {"name": "x"}).status_code == 403
    assert client.post(url("labeling.labelclass", "delete", cat.pk), {}).status_code == 403


def test_a_class_deleted_while_the_question_was_open(
    client: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat = LabelClass.objects.get(name="cat")
    delete = classes.delete
    call_before(monkeypatch, classes, "delete", lambda source, **_: delete(source, user=None))  # somebody is faster
    page = url("labeling.labelclass", "delete", cat.pk)
    response = text(client.post(page, {"target": "unlabelled"}, follow=True), 200)
    assert "“cat” was deleted or merged in the meantime" in response


def test_selected_classes_are_not_deleted_without_the_question(client: Client, dataset: Dataset) -> None:
    selected = [str(one.pk) for one in LabelClass.objects.all()]
    data = {"action": "delete_selected", "_selected_action": selected, "post": "yes"}
    client.post(url("labeling.labelclass", "changelist"), data)
    assert LabelClass.objects.active().count() == 2


def test_a_class_that_is_not_there(client: Client, dataset: Dataset) -> None:
    response = client.get(url("labeling.labelclass", "delete", 999), follow=True)
    assert "doesn’t exist" in text(response)


# -- Lists that grow ------------------------------------------------------------------------------
def test_items_are_found_by_the_beginning_of_the_path(client: Client, dataset: Dataset) -> None:
    Item.objects.create(dataset=dataset, row=10, path="my folder/100%_a.png")
    for term, found in (("image000", 10), ("my folder/100%_", 1), ("folder", 0), ("image%", 0), ("\x00", 11)):
        listed = text(client.get(url("labeling.item", "changelist"), {"q": term}))
        assert len(re.findall(r'class="field-path', listed)) == found, term


def test_the_search_for_paths_reads_an_index(client: Client, dataset: Dataset) -> None:
    with CaptureQueriesContext(connection) as asked:
        text(client.get(url("labeling.item", "changelist"), {"q": "image000"}))
    searches = [one["sql"] for one in asked if "LIKE" in one["sql"]]
    assert len(searches) >= 2  # the count and the rows
    for sql in searches:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}".replace("%", "%%"), [])
            plan = " ".join(str(line) for line in cursor.fetchall())
        assert "item_path" in plan or "sqlite_autoindex_labeling_item" in plan, plan
        assert "path>" in plan, plan
        assert "TEMP B-TREE" not in plan, plan


def test_decisions_are_found_by_the_path_of_their_item(client: Client, dataset: Dataset) -> None:
    for term, found in (("image0001", 1), ("image", 3), ("mage", 0), ("\x00", 3)):
        listed = text(client.get(url("labeling.annotation", "changelist"), {"q": term}))
        assert len(re.findall(r'class="field-item', listed)) == found, term


def test_items_are_filtered_by_state_with_the_names_of_the_pages(client: Client, dataset: Dataset) -> None:
    listed = text(client.get(url("labeling.item", "changelist"), {"state__exact": "1"}))
    assert len(re.findall(r'class="field-path', listed)) == 3
    assert "labelled" not in re.sub(r"<[^>]*>", "", listed)


@pytest.mark.parametrize(
    "model", ["labeling.item", "labeling.annotation", "labeling.action", "sampling.servedpage", "jobs.job"]
)
def test_lists_ask_the_database_as_often_for_many_rows(client: Client, dataset: Dataset, model: str) -> None:
    client.get(url(model, "changelist"))
    people = [account(Role.LABELER), account(Role.MANAGER)]
    counts = []
    for n in (0, 90):
        items = [Item(dataset=dataset, row=1000 + n + i, path=f"more{n + i}.png") for i in range(n)]
        Item.objects.bulk_create(items)
        for row in range(1000 + n, 1000 + n + n):
            assign(dataset, [row], LabelClass.objects.get(name="dog"))
            Job.objects.create(kind="ingest", queue="heavy", dataset_id=dataset.pk, key=f"ingest:{row}")
            page = not_none(ServedPage.objects.first())
            page.pk, page.user = None, people[row % 2]
            page.save()
        counts.append(count_queries(lambda: text(client.get(url(model, "changelist")), 200)))
    assert counts[0] == counts[1]


def test_a_list_counts_no_further_than_it_shows(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BoundedPaginator(Item.objects.order_by("-id"), 100).count == 10
    monkeypatch.setattr("hoshina.core.admin.MOST_LISTED", 7)
    paginator = BoundedPaginator(Item.objects.order_by("-id"), 3)
    with CaptureQueriesContext(connection) as asked:
        assert (paginator.count, paginator.num_pages) == (7, 3)
    assert "LIMIT 7" in asked[0]["sql"]


def test_everything_of_ours_is_registered() -> None:
    registered = {model._meta.label_lower for model in admin.site._registry}
    assert set(OURS) <= registered


def test_decisions_are_filtered_by_person_and_class(client: Client, dataset: Dataset) -> None:
    ana, cat = account(Role.LABELER, "ana"), LabelClass.objects.get(name="cat")
    Annotation.objects.filter(item__row=0).update(annotator=ana)
    address = reverse("admin:labeling_annotation_changelist")
    assert text(client.get(address)).count("field-decided_at") == 3
    assert text(client.get(address, {"annotator__id__exact": ana.pk})).count("field-decided_at") == 1
    assert text(client.get(address, {"label__id__exact": cat.pk})).count("field-decided_at") == 3
