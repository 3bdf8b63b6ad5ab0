"""Decisions in batches: saved once, in order, with conflicts and provenance."""

import uuid
from typing import Any

import pytest

from hoshina.core.roles import Role
from labeling.models import Annotation, Dataset, State
from tests.api.clients import Program, problem, read
from tests.factories import decide
from tests.people import account

pytestmark = pytest.mark.django_db
PATH = "datasets/pictures/annotations"


def action(*ids: int, kind: str = "assign", **more: Any) -> dict[str, Any]:
    named = {"class_name": "cat"} if kind == "assign" and "class_id" not in more else {}
    return {"uuid": str(uuid.uuid4()), "kind": kind, "items": [{"id": pk} for pk in ids]} | named | more


def ids(dataset: Dataset, *rows: int) -> list[int]:
    return [dataset.items.get(row=row).pk for row in rows]


def states(dataset: Dataset) -> list[str]:
    return [State(state).label for state in dataset.items.order_by("row").values_list("state", flat=True)]


def test_a_batch_is_saved_in_order(dataset: Dataset, program: Program) -> None:
    first, second, third = ids(dataset, 0, 1, 2)
    cat = dataset.classes.get(name="cat")
    actions = [
        action(first, second, class_name="dog"), action(second, class_id=cat.pk), action(third, kind="unsure"),
        action(first, kind="clear"),
    ]  # fmt: skip
    saved = read(program.post(PATH, {"actions": actions}))
    assert [result["status"] for result in saved["results"]] == ["saved"] * 4
    assert saved["counts"] == {"labelled": 1, "unsure": 1, "skipped": 0, "left": 18, "items": 20}
    assert states(dataset)[:3] == ["unlabelled", "labelled", "unsure"]
    assert dataset.items.get(row=1).label == cat
    assert {decision.annotator for decision in Annotation.objects.all()} == {program.token.user}


def test_an_action_that_is_sent_again_is_not_repeated(dataset: Dataset, program: Program) -> None:
    (pk,) = ids(dataset, 0)
    body = {"actions": [action(pk)]}
    first = read(program.post(PATH, body))
    again = read(program.post(PATH, body))
    assert again["results"][0]["status"] == "repeated"
    assert again["results"][0]["items"] == first["results"][0]["items"]
    assert Annotation.objects.count() == 1


def test_a_decision_of_somebody_else_is_a_conflict_and_the_rest_is_saved(dataset: Dataset, program: Program) -> None:
    taken, free = ids(dataset, 0, 1)
    decide(dataset, "assign", [0], "dog", user=account(Role.LABELER, "eva"), holder="browser of eva")
    conflict = problem(program.post(PATH, {"actions": [action(taken, free)]}), 409)
    assert [(shown["id"], shown["by"], shown["state"]) for shown in conflict["conflicts"]] == [
        (taken, "eva", "labelled")
    ]
    (result,) = conflict["results"]
    assert [shown["id"] for shown in result["items"]] == [free]
    assert conflict["counts"]["labelled"] == 2
    assert dataset.items.get(row=0).label.name == "dog"  # type: ignore[union-attr]
    assert dataset.items.get(row=1).label.name == "cat"  # type: ignore[union-attr]


def test_overwrite_and_knowing_the_newest_decision_avoid_the_conflict(dataset: Dataset, program: Program) -> None:
    pk, other = ids(dataset, 0, 1)
    decide(dataset, "assign", [0, 1], "dog", holder="another browser")
    seen = dataset.items.get(row=0).newest_annotation_id
    known = action(pk)
    known["items"][0]["seen"] = seen
    read(program.post(PATH, {"actions": [known, action(other, overwrite=True)]}))
    assert {item.label.name for item in dataset.items.filter(row__lt=2)} == {"cat"}  # type: ignore[union-attr]


def test_own_decisions_are_no_conflicts_and_undo_takes_the_last_one_back(dataset: Dataset, program: Program) -> None:
    (pk,) = ids(dataset, 0)
    read(program.post(PATH, {"actions": [action(pk)]}))
    read(program.post(PATH, {"actions": [action(pk, class_name="dog")]}))
    read(program.post(PATH, {"actions": [action(kind="undo")]}))
    assert dataset.items.get(row=0).label.name == "cat"  # type: ignore[union-attr]
    # A program undoes only what was done with its own token.
    other = Program(program.token.user, name="another")
    assert "nothing left to undo" in problem(other.post(PATH, {"actions": [action(kind="undo")]}), 422)["detail"]


def test_a_decision_keeps_the_round_and_the_rank_that_were_served(dataset: Dataset, program: Program) -> None:
    pulled = read(program.post("datasets/pictures/queues/audit/pull", {"n": 3}))
    shown = pulled["items"][1]
    right = action(shown["id"], items=[{"id": shown["id"], "round": shown["round"], "rank": shown["rank"]}])
    wrong = pulled["items"][2]
    false = action(wrong["id"], items=[{"id": wrong["id"], "round": shown["round"], "rank": 19}])
    saved = read(program.post(PATH, {"actions": [right, false]}))
    assert [result["unconfirmed"] for result in saved["results"]] == [[], [wrong["id"]]]
    assert saved["results"][1]["hint"]
    decision = Annotation.objects.get(item=shown["id"])
    assert (decision.queue, decision.rank, decision.is_random_draw) == ("audit", 1, True)
    assert decision.selection_probability == pytest.approx(1 / 19, abs=1e-5)
    assert Annotation.objects.get(item=wrong["id"]).queue == ""


def test_a_refused_action_is_reported_and_the_others_are_saved(dataset: Dataset, program: Program) -> None:
    first, second = ids(dataset, 0, 1)
    actions = [action(first, class_id=999_999), action(second), action(888_888)]
    refused = problem(program.post(PATH, {"actions": actions}), 422)
    assert [result["status"] for result in refused["results"]] == ["refused", "saved", "refused"]
    assert "no longer exists" in refused["results"][0]["error"]
    assert states(dataset)[:2] == ["unlabelled", "labelled"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"uuid": "x"}, "uuid"), ({"kind": "merge"}, "kind"), ({"items": []}, "items"), ({"at": "yesterday"}, "at"),
        ({"class_name": None}, "class_id"), ({"class_name": "bird"}, "class_name"), ({"colour": 1}, "colour"),
        ({"items": [{"id": -1}]}, "id"), ({"items": [{"id": 2**63}]}, "id"), ({"class_name": "\x00"}, "class_name"),
        ({"items": [{"id": 1, "seconds": "nan"}]}, "seconds"), ({"items": [{"id": 1, "rank": 0.5}]}, "rank"),
    ],
)  # fmt: skip
def test_a_malformed_action_is_refused_before_anything_is_saved(
    dataset: Dataset, program: Program, change: dict[str, Any], field: str
) -> None:
    (pk,) = ids(dataset, 0)
    refused = problem(program.post(PATH, {"actions": [action(pk), action(pk) | change]}), 422)
    assert field in refused["field"]
    assert not Annotation.objects.exists()


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '{"actions": 1}', '{"actions": [1]}', '{"other": []}'])
def test_a_body_that_is_no_batch_is_refused(dataset: Dataset, program: Program, body: str) -> None:
    response = program.client.generic(
        "POST", f"/api/v1/{PATH}", body, content_type="application/json", headers=program.headers
    )
    assert response.status_code in (400, 422)
    problem(response, response.status_code)


def test_a_batch_has_limits(dataset: Dataset, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    (pk,) = ids(dataset, 0)
    problem(program.post(PATH, {"actions": [action(pk) for _ in range(201)]}), 422)
    monkeypatch.setattr("hoshina.api.endpoints.decisions.MOST_ITEMS", 2)
    assert "several requests" in problem(program.post(PATH, {"actions": [action(pk, pk, pk)]}), 422)["hint"]
    assert not Annotation.objects.exists()


def test_a_time_in_the_future_counts_as_now(dataset: Dataset, program: Program) -> None:
    (pk,) = ids(dataset, 0)
    read(program.post(PATH, {"actions": [action(pk, at="2999-01-01T00:00:00Z")]}))
    decision = Annotation.objects.get()
    assert decision.decided_at <= decision.action.created_at
