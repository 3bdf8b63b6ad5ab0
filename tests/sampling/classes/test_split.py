"""Test splitting a class: what is proposed, changed, left open, learned from and taken back."""

import json

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client

from hoshina.core.errors import Refusal
from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.decisions import classes
from labeling.decisions.random_draws import random_draws
from labeling.models import Action, Annotation, Dataset, Item, LabelClass, State
from sampling.classes.review import progress_of, review_of, split_to_review
from sampling.classes.split import (
    apply_split,
    changes_of,
    close_split,
    preview_of,
    proposal_of,
    rows_of,
    standing_of,
    undo_split,
    update_split,
)
from sampling.models import ClassSplit
from sampling.queues.pull import Filters, pull, ranked_rows
from sampling.queues.registry import STRATEGIES, ReviewParams
from tests.factories import MakeDataset, archive_bytes, assert_contains, decide, fresh, opened, said, table
from tests.sampling.classes.factories import N, animals, label_named, names, post, proposed, run_queued, split_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store", "ranked_at_once")]
CATS = [row for row in range(N) if row % 2 == 0]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return animals(make_dataset)[0]


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ada")


def kinds(rows: list[int]) -> set[int]:
    return {row // 2 % 2 for row in rows}


def labels_of(dataset: Dataset) -> dict[int, str]:
    return dict(Item.objects.filter(dataset=dataset, state=State.LABELLED).values_list("row", "label__name"))


def test_the_parts_are_the_kinds(dataset: Dataset) -> None:
    split = proposed(dataset)
    parts = proposal_of(split)
    assert rows_of(split).tolist() == CATS
    assert split.n_parts == parts.n_parts == 2
    for part in range(2):
        assert len(kinds(rows_of(split)[parts.parts == part].tolist())) == 1
    assert set(split.silhouettes) == {"2", "3", "4", "5"}
    assert proposed(dataset, n_parts=3).n_parts == 3
    assert ClassSplit.objects.count() == 1, "a new proposal replaces the one before"


def test_the_preview_is_what_happens(dataset: Dataset, user: User) -> None:
    split = proposed(dataset)
    preview = preview_of(split, ["cat", "lynx"], 0.2)
    assert (preview.n_open, preview.n_decided) == (6, 0)
    assert preview.n_changed + preview.n_kept + preview.n_open == 30
    assert next(part.n_changed for part in preview.parts) == 0, "the part that keeps the name changes nothing"
    assert not LabelClass.objects.filter(name="lynx").exists(), "a preview adds nothing"
    n_before = Annotation.objects.count()
    assert apply_split(split, ["cat", "lynx"], 0.2, user=user, holder="me") == preview.n_changed
    assert Annotation.objects.count() == n_before + preview.n_changed
    changed = [row for row, name in labels_of(dataset).items() if name == "lynx"]
    assert len(changed) == preview.n_changed
    assert len(kinds(changed)) == 1
    lynx, cat = label_named(dataset, "lynx"), label_named(dataset, "cat")
    assert (lynx.n_items, cat.n_items) == (len(changed), 30 - len(changed))
    assert len(review_of(dataset, 0).rows) == 6
    assert set(review_of(dataset, 0).pairs) <= {(cat.pk, lynx.pk), (lynx.pk, cat.pk)}


def test_labels_say_that_nobody_looked_at_them(dataset: Dataset, user: User) -> None:
    apply_split(proposed(dataset), ["cat", "lynx"], 0.2, user=user, holder="me")
    written = Annotation.objects.filter(action__kind=Action.Kind.SPLIT)
    assert {(label.queue, label.seconds, label.annotator) for label in written} == {("split", None, user)}
    assert Action.objects.filter(kind=Action.Kind.SPLIT).count() == 1
    lines = table(opened(archive_bytes(dataset)), "labels.csv")
    assert {line["queue"] for line in lines if line["label"] == "lynx"} == {"split"}
    assert "split" not in {line["queue"] for line in lines if line["label"] != "lynx"}


def test_one_step_takes_it_back(dataset: Dataset, user: User) -> None:
    before = labels_of(dataset)
    counts = list(LabelClass.objects.values_list("name", "n_items"))
    split = proposed(dataset)
    n = apply_split(split, ["lynx", "puma"], 0.1, user=user, holder="me")
    moved = next(row for row, name in labels_of(dataset).items() if name == "lynx")
    decide(dataset, "assign", [moved], "dog")
    assert undo_split(split, user=user, holder="me") == n - 1
    assert labels_of(dataset) == before | {moved: "dog"}
    assert dict(counts) == {"cat": 30, "dog": 30}
    assert [label.name for label in LabelClass.objects.active()] == ["cat", "dog"], "the classes it added go too"
    assert fresh(split).class_ids == []
    with pytest.raises(Refusal, match="nothing to undo"):
        undo_split(split, user=user, holder="me")


def test_classes_that_were_there_stay(dataset: Dataset, user: User) -> None:
    classes.add(dataset, "lynx")
    split = proposed(dataset)
    apply_split(split, ["cat", "Lynx"], 0.1, user=user, holder="me")
    assert LabelClass.objects.active().count() == 3
    undo_split(split, user=user, holder="me")
    assert LabelClass.objects.active().filter(name="lynx").exists()


def test_what_was_decided_since_is_left_alone(dataset: Dataset, user: User) -> None:
    split = proposed(dataset)
    decide(dataset, "assign", [0, 2], "dog")
    decide(dataset, "clear", [4])
    decide(dataset, "unsure", [6])
    apply_split(split, ["lynx", "puma"], 0.1, user=user, holder="me")
    found = labels_of(dataset)
    assert (found[0], found[2]) == ("dog", "dog")
    assert not {4, 6} & found.keys()
    standing = standing_of(split)
    assert standing.decided[:4].tolist() == [-1, -1, -1, -1]
    assert Item.objects.get(row=6).state == State.UNSURE


def test_a_label_that_came_between_reading_and_writing_stays(
    dataset: Dataset, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sampling.classes import split as module

    split = proposed(dataset)
    real = module.changes_of

    def slowly(split: ClassSplit) -> object:
        changes = real(split)
        decide(dataset, "assign", [next(row for row in CATS if item_id(row) in changes.labels)], "dog")
        return changes

    def item_id(row: int) -> int:
        return int(Item.objects.get(dataset=dataset, row=row).pk)

    monkeypatch.setattr(module, "changes_of", slowly)
    n = apply_split(split, ["cat", "lynx"], 0.1, user=user, holder="me")
    assert sum(name == "dog" for name in labels_of(dataset).values()) == 31
    assert label_named(dataset, "lynx").n_items == n


def test_parts_of_one_class_are_joined(dataset: Dataset, user: User) -> None:
    split = proposed(dataset, n_parts=3)
    preview = preview_of(split, ["cat", "lynx", "LYNX"], 0.1)
    assert [part.name for part in preview.parts] == ["cat", "lynx"]
    apply_split(split, ["cat", "lynx", "LYNX"], 0.1, user=user, holder="me")
    assert {label.name for label in LabelClass.objects.active()} == {"cat", "dog", "lynx"}


@pytest.mark.parametrize("names_of_parts", [["cat", "CAT"], ["cat", ""], ["cat", "x" * 90]])
def test_unusable_names_are_refused_and_add_nothing(dataset: Dataset, user: User, names_of_parts: list[str]) -> None:
    split = proposed(dataset)
    with pytest.raises(Refusal):
        apply_split(split, names_of_parts, 0.2, user=user, holder="me")
    assert LabelClass.objects.count() == 2
    assert fresh(split).class_ids == []


def test_the_review_teaches_the_rest(make_dataset: MakeDataset, user: User) -> None:
    dataset, kind = animals(make_dataset, n=240, spread=4.5)
    split = proposed(dataset, n_parts=2)
    parts = proposal_of(split)
    truth = kind[rows_of(split)]
    order = [0, 1] if (parts.parts == truth).mean() >= 0.5 else [1, 0]
    names_of_parts = ["cat", "lynx"] if order == [0, 1] else ["lynx", "cat"]
    apply_split(split, names_of_parts, 0.4, user=user, holder="me")

    def right() -> float:
        found = labels_of(dataset)
        return float(np.mean([found[row] == ("lynx" if kind[row] else "cat") for row in rows_of(split).tolist()]))

    first = right()
    reviewed = ranked_rows(pull(dataset, STRATEGIES["review"], ReviewParams(), Filters(state=None), seed=0))[:30]
    for row in reviewed.tolist():
        decide(dataset, "assign", [row], "lynx" if kind[row] else "cat", queue="review")
    assert progress_of(split).n_decided == 30
    run_now("learn_split", dataset_id=dataset.pk, params={"split": split.pk})
    split.refresh_from_db()
    assert split.n_learned == 30
    update_split(split, user=user, holder="me")
    assert right() > first
    rest = review_of(dataset, split.pk)
    assert not set(rest.rows.tolist()) & set(reviewed.tolist())
    assert len(rest.rows) == round(0.4 * 120) - 30
    assert np.array_equal(rest.confidence, np.sort(rest.confidence))


def test_random_draws_stay_random_draws(make_dataset: MakeDataset, user: User) -> None:
    dataset, _ = animals(make_dataset)
    decide(dataset, "clear", CATS)
    Annotation.objects.all().update(previous=None)
    Item.objects.filter(row__in=CATS).update(decision_id=None)
    decide(dataset, "assign", CATS, "cat", queue="audit", is_random_draw=True)
    before = random_draws(dataset.pk).labeled
    apply_split(proposed(dataset), ["cat", "lynx"], 0.1, user=user, holder="me")
    assert random_draws(dataset.pk).labeled == before
    assert len(before) == 30


def test_too_few_or_equal_labels_are_refused(make_dataset: MakeDataset) -> None:
    dataset, _ = animals(make_dataset, n=16)
    with pytest.raises(Refusal, match="8 labels"):
        proposed(dataset)


def test_a_merged_target_counts_as_the_class_it_became(dataset: Dataset, user: User) -> None:
    split = proposed(dataset)
    apply_split(split, ["cat", "lynx"], 0.2, user=user, holder="me")
    classes.merge(label_named(dataset, "lynx"), label_named(dataset, "dog"), user=user)
    assert [part.name for part in changes_of(split).parts] == ["cat", "dog"]
    classes.delete(label_named(dataset, "dog"), user=user)
    with pytest.raises(Refusal, match="deleted in the meantime"):
        changes_of(split)


# -- The page --------------------------------------------------------------------------------------------
def test_the_page_from_proposal_to_undo(dataset: Dataset, client: Client) -> None:
    assert_contains(client.get("/d/pictures/classes/").content.decode(), split_url(dataset), "Find more")
    page = said(client.get(split_url(dataset)), 200)
    assert_contains(page, "“cat” has 30 labels", "Propose parts")
    waiting = post(dataset, "propose", parts="0")
    assert_contains(waiting, "Looking for parts of cat", 'hx-trigger="load delay:1s"')
    run_queued()
    proposal = client.get(split_url(dataset, step="state")).content.decode()
    assert proposal.count("<img") == 2 * (12 + 4)
    assert_contains(proposal, 'name="part0" value="cat"', 'value="cat 2"', "6 images near the border", "Split cat")
    shown = said(post(dataset, "preview", **names("cat", "lynx"), share="0.4"))
    assert_contains(shown, "lynx new", "12 images near the border")
    assert "different classes" in said(post(dataset, "preview", **names("cat", "cat"), share="0.4"))
    done = said(post(dataset, "apply", **names("cat", "lynx"), share="0.2"))
    assert_contains(done, "labels changed", "0 of 6 images", "Review 6 images", "Undo the last step")
    assert "split in the meantime" in post(dataset, "apply", 422, **names("cat", "lynx"), share="0.2")
    back = said(post(dataset, "undo"))
    assert_contains(back, "restored", "Split cat")
    assert set(labels_of(dataset).values()) == {"cat", "dog"}


def test_the_page_learns_and_finishes(dataset: Dataset) -> None:
    proposed(dataset)
    post(dataset, "apply", **names("cat", "lynx"), share="0.2")
    rows = review_of(dataset, 0).rows[:2].tolist()
    decide(dataset, "assign", rows, "lynx", queue="review")
    state = said(Client().get(split_url(dataset, step="state")))
    assert_contains(state, "2 of 6 images", "Learn from 2 decisions")
    assert "Learning from the review" in post(dataset, "learn")
    run_queued()
    assert "Learn from" not in said(Client().get(split_url(dataset, step="state")))
    assert "Propose parts" in said(post(dataset, "close"))
    assert split_to_review(dataset) is None


@pytest.mark.parametrize(
    ("step", "data", "message"),
    [
        ("propose", {"parts": "9"}, "2 to 5 parts"),
        ("preview", {"share": "0.2"}, "no split of this class"),
        ("undo", {}, "no split of this class"),
        ("update", {}, "no split of this class"),
    ],
)
def test_bad_steps_say_why(dataset: Dataset, step: str, data: dict[str, str], message: str) -> None:
    assert message in said(post(dataset, step, 422, **data))


def test_a_share_that_is_not_offered_is_refused(dataset: Dataset) -> None:
    proposed(dataset)
    assert "from the list" in said(post(dataset, "apply", 422, **names("cat", "lynx"), share="nan"))


def test_a_proposal_that_failed_says_why(make_dataset: MakeDataset) -> None:
    dataset, _ = animals(make_dataset, n=16)
    post(dataset, "propose", parts="0")
    job = Job.objects.get(kind="propose_split")
    with pytest.raises(Refusal):
        run_now(job.kind, dataset_id=dataset.pk, params=job.params)
    assert "has 8 labels with an embedding" in said(Client().get(split_url(dataset, step="state")))


def test_classes_of_other_datasets_are_not_found(dataset: Dataset, make_dataset: MakeDataset) -> None:
    make_dataset(3, name="other")
    pk = label_named(dataset, "cat").pk
    assert Client().get(f"/d/other/classes/{pk}/split/").status_code == 404


# -- The queue -------------------------------------------------------------------------------------------
def test_the_queue_asks_between_two_classes_and_empties(dataset: Dataset, user: User, client: Client) -> None:
    assert "Nothing to review" in client.get("/d/pictures/grid/?queue=review").content.decode()
    split = proposed(dataset)
    apply_split(split, ["cat", "lynx"], 0.2, user=user, holder="me")
    menu = client.get("/d/pictures/queues/?queue=auto").content.decode()
    assert 'value="review"' in menu
    response = client.get("/d/pictures/grid/?queue=review&n=4")
    page = response.context["page"]
    assert len(page.tiles) == 4
    assert {tile.question for tile in page.tiles} <= {"cat or lynx?", "lynx or cat?"}
    assert_contains(response.content.decode(), "or lynx?", 'data-state="1"')
    pane = client.get(f"/d/pictures/queues/?queue=review&split={split.pk}").content.decode()
    assert_contains(pane, f'name="split" value="{split.pk}"', f"/d/pictures/review/{split.pk}/progress/")
    shown = [tile.item.row for tile in page.tiles]
    tile = page.tiles[0]
    action = {
        "uuid": "5c6d2b3e-0000-4000-8000-000000000001", "kind": "assign", "at": "2026-03-04T05:06:07+00:00",
        "label": label_named(dataset, "lynx").pk,
        "items": [{"id": tile.item.pk, "seen": tile.item.newest_annotation_id, "shown": json.loads(tile.shown_json)}],
    }  # fmt: skip
    saved = client.post("/d/pictures/annotate/", json.dumps({"actions": [action]}), content_type="application/json")
    assert saved.json()["results"][0]["status"] == "saved"
    assert Annotation.objects.order_by("-pk")[0].queue == "review"
    assert "1 of 6 reviewed" in said(client.get(f"/d/pictures/review/{split.pk}/progress/"))
    again = client.get(page.next_url).context["page"]
    assert again.round_id != page.round_id, "what was decided teaches"
    assert shown[0] not in [tile.item.row for tile in again.tiles]
    decide(dataset, "assign", review_of(dataset, 0).rows.tolist(), "cat", queue="review")
    assert (
        "Every image that the split left open was decided"
        in client.get(f"/d/pictures/grid/?queue=review&split={split.pk}").content.decode()
    )
    close_split(split)
    assert client.get(f"/d/pictures/review/{split.pk}/progress/").status_code == 404
