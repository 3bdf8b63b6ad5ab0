"""Queues, similar items, accuracy, jobs, models, classes, exports and imports."""

import io
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from hoshina.core.roles import Role
from hoshina.jobs.models import Job
from hoshina.jobs.presence import me
from labeling.models import Dataset, LabelClass, Lease
from modeling.models import ModelVersion
from sampling.queues.dispatch import StillRanking
from sampling.queues.registry import STRATEGIES
from tests.api.clients import Program, problem, read
from tests.factories import command_json, decide, fresh, opened, table
from tests.modeling.factories import add_vectors
from tests.people import account
from tests.sampling.factories import add_model, estimates_at, two_class

pytestmark = pytest.mark.django_db
PULL = "datasets/pictures/queues/{}/pull"


# -- Datasets and classes ---------------------------------------------------------------------------------
def test_datasets_with_their_counts(dataset: Dataset, program: Program) -> None:
    decide(dataset, "assign", [0, 1], "cat")
    decide(dataset, "skip", [2])
    (listed,) = read(program.get("datasets"))
    assert (listed["slug"], listed["n_labelled"], listed["n_skipped"], listed["n_left"]) == ("pictures", 2, 1, 17)
    add_model(dataset, two_class([0.9] * 20))
    detail = read(program.get("datasets/pictures"))
    assert (detail["model_version"], detail["embeddings"], detail["roles"]) == (1, None, [])
    assert "no dataset 'other'" in problem(program.get("datasets/other"), 404)["detail"]


def test_a_dataset_that_is_being_deleted_is_not_found(dataset: Dataset, program: Program) -> None:
    Dataset.objects.update(deleted_at=timezone.now())
    assert read(program.get("datasets")) == []
    problem(program.get("datasets/pictures/items"), 404)


def test_classes_are_listed_and_added(dataset: Dataset, program: Program) -> None:
    decide(dataset, "assign", [0], "dog")
    listed = read(program.get("datasets/pictures/classes"))
    assert [(label["name"], label["key"], label["n_items"]) for label in listed] == [("cat", "1", 0), ("dog", "2", 1)]
    added = read(program.post("datasets/pictures/classes", {"name": " great  tit ", "color": "#112233"}), 201)
    assert (added["name"], added["color"], added["key"]) == ("great tit", "#112233", "3")
    for body in ({"name": "CAT"}, {"name": " "}, {"name": "x", "color": "red"}, {}, {"name": "x", "colour": "#112233"}):
        assert problem(program.post("datasets/pictures/classes", body), 422)["field"]
    assert dataset.classes.count() == 3


def test_classes_are_changed(dataset: Dataset, program: Program) -> None:
    decide(dataset, "assign", [0], "dog")
    cat, dog = read(program.get("datasets/pictures/classes"))
    path = f"datasets/pictures/classes/{dog['id']}"
    changed = read(program.patch(path, {"name": "wolf", "color": "#112233"}))
    assert changed == dog | {"name": "wolf", "color": "#112233"}
    assert read(program.patch(path, {"key": "w"})) == changed | {"key": "w"}
    assert read(program.patch(path, {"key": ""}))["key"] == ""
    taken = problem(program.patch(path, {"key": "1"}), 422)
    assert (taken["field"], taken["detail"]) == ("key", "Key 1 belongs to “cat”.")
    assert read(program.patch(path, {"key": "1", "swap": True}))["key"] == "1"
    assert [label["key"] for label in read(program.get("datasets/pictures/classes"))] == ["", "1"]
    for body in ({"name": "CAT"}, {"name": " "}, {"color": "red"}, {"key": "10"}, {"colour": "#112233"}):
        assert problem(program.patch(path, body), 422)["field"]
    problem(program.patch("datasets/pictures/classes/0", {"name": "x"}), 404)
    LabelClass.objects.filter(pk=cat["id"]).update(is_retired=True)
    problem(program.patch(f"datasets/pictures/classes/{cat['id']}", {"name": "x"}), 404)
    problem(Program(account(Role.LABELER)).patch(path, {"name": "x"}), 403)


# -- Queues -----------------------------------------------------------------------------------------------
def test_pages_of_a_queue_follow_each_other_and_reserve_their_items(dataset: Dataset, program: Program) -> None:
    first = read(program.post(PULL.format("random"), {"n": 8, "seed": 4}))
    second = read(
        program.post(PULL.format("random"), {"n": 8, "round": first["round"], "offset": first["next_offset"]})
    )
    ranks = [item["rank"] for page in (first, second) for item in page["items"]]
    assert ranks == list(range(16))
    assert Lease.objects.count() == 16
    other = Program(account(Role.LABELER))
    assert len(read(other.post(PULL.format("random"), {"n": 20}))["items"]) == 4
    # A new pull releases what the program had.
    assert len(read(program.post(PULL.format("random"), {"n": 20}))["items"]) == 16


def test_the_same_seed_gives_the_same_page(dataset: Dataset, program: Program) -> None:
    pulls = [read(program.post(PULL.format("random"), {"n": 5, "seed": 9})) for _ in range(2)]
    assert [item["id"] for item in pulls[0]["items"]] == [item["id"] for item in pulls[1]["items"]]


def test_two_windows_of_a_program_get_different_items(dataset: Dataset, program: Program) -> None:
    pages = [read(program.post(PULL.format("random"), {"n": 10, "window": name})) for name in ("a", "b")]
    assert not {item["id"] for item in pages[0]["items"]} & {item["id"] for item in pages[1]["items"]}


def test_band_with_its_bounds_and_filters(dataset: Dataset, program: Program) -> None:
    add_model(dataset, two_class(np.linspace(0, 1, 20).tolist()))
    decide(dataset, "assign", [13], "cat")
    cat = dataset.classes.get(name="cat")
    body = {"params": {"low": 0.6, "high": 0.8, "of": cat.pk}}
    page = read(program.post(PULL.format("band"), body))
    assert [item["row"] for item in page["items"]] == [15, 14, 12]
    assert page["items"][0]["prediction"]["class_name"] == "cat"
    body["filters"] = {"path": "0014", "predicted_name": "cat"}
    assert [item["row"] for item in read(program.post(PULL.format("band"), body))["items"]] == [14]


@pytest.mark.usefixtures("ranked_at_once")
def test_every_queue_answers_with_a_page_or_with_what_it_lacks(dataset: Dataset, program: Program) -> None:
    listed = {queue["name"]: queue for queue in read(program.get("datasets/pictures/queues"))}
    assert list(listed) == list(STRATEGIES)
    assert listed["uncertain"]["unavailable"] == "Needs a model."
    assert {"name": "measure", "default": "margin"}.items() <= listed["uncertain"]["parameters"][0].items()
    for name, queue in listed.items():
        response = program.post(PULL.format(name), {"params": {"to": "0"} if name == "similar" else {}})
        if queue["unavailable"]:
            assert problem(response, 409)["hint"]
        elif response.status_code != 409:
            assert read(response)["queue"] == name


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("nowhere", {}, 404), ("random", {"round": 999}, 404), ("random", {"n": 0}, 422), ("random", {"n": 241}, 422),
        ("band", {"params": {"lowest": 1}}, 422), ("band", {"params": {"low": "x"}}, 422), ("random", {"m": 3}, 422),
        ("band", {"params": {"low": 0.9, "high": 0.1}}, 422), ("random", {"filters": {"state": "x"}}, 422),
        ("random", {"filters": {"filter": ["mass=2"]}}, 422), ("random", {"filters": {"class_name": "bird"}}, 422),
        ("random", {"window": "a b"}, 422), ("random", {"seed": -1}, 422),
    ],
)  # fmt: skip
def test_a_pull_that_cannot_be_done_is_refused(
    dataset: Dataset, program: Program, name: str, body: dict[str, Any], status: int
) -> None:
    add_model(dataset, two_class([0.7] * 20))
    problem(program.post(PULL.format(name), body), status)
    assert not Lease.objects.exists()


def test_a_ranking_that_takes_long_is_waited_for(
    dataset: Dataset, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def still_ranking(*_: Any) -> None:
        raise StillRanking("This takes a moment.")

    monkeypatch.setattr("sampling.queues.serve.get_or_rank_round", still_ranking)
    response = program.post(PULL.format("random"), {})
    assert read(response, 202) == {"detail": "This takes a moment."}
    assert response["Retry-After"] == "1"


def test_a_queue_without_items_says_why(dataset: Dataset, program: Program) -> None:
    decide(dataset, "assign", range(20), "cat")
    page = read(program.post(PULL.format("random"), {}))
    assert (page["items"], page["next_offset"]) == ([], None)
    assert page["note"]


@pytest.mark.usefixtures("ranked_at_once")
def test_similar_items_reserve_nothing(dataset: Dataset, program: Program) -> None:
    X = np.eye(20, 8, dtype=np.float32) + 0.1
    X[1:4, 0] = [5, 3, 1]
    add_vectors(dataset, X)
    item = dataset.items.get(row=0)
    held = read(program.post(PULL.format("random"), {"n": 3}))
    page = read(program.get(f"datasets/pictures/items/{item.pk}/similar", k=3))
    assert [shown["row"] for shown in page["items"]] == [1, 2, 3]
    assert page["items"][0]["score"] > page["items"][1]["score"]
    assert Lease.objects.count() == len(held["items"])


def test_accuracy_is_that_of_the_command(dataset: Dataset, program: Program) -> None:
    assert read(program.get("datasets/pictures/accuracy"))["accuracy"] is None
    estimates_at(dataset, [(60, 0.6, 12), (240, 0.8, 30)])
    reported = read(program.get("datasets/pictures/accuracy"))
    assert reported["accuracy"] == 0.8
    assert reported["interval"][0] < 0.8 < reported["interval"][1]
    assert reported == command_json("accuracy")


# -- Jobs and models --------------------------------------------------------------------------------------
def test_a_job_is_started_once_watched_and_cancelled(dataset: Dataset, program: Program) -> None:
    started = read(program.post("datasets/pictures/jobs", {"kind": "embed"}), 202)
    again = read(program.post("datasets/pictures/jobs", {"kind": "embed"}), 202)
    assert started["id"] == again["id"]
    assert (started["state"], started["dataset"], started["is_active"]) == ("queued", "pictures", True)
    runs = {"state": "running", "worker": me(), "started_at": timezone.now(), "heartbeat_at": timezone.now()}
    Job.objects.filter(pk=started["id"]).update(stage="Encoding", done=3, total=9, **runs)
    seen = read(program.get(f"jobs/{started['id']}"))
    assert (seen["stage"], seen["done"], seen["total"]) == ("Encoding", 3, 9)
    read(program.post(f"jobs/{started['id']}/cancel"))
    assert Job.objects.get(pk=started["id"]).cancel_requested
    Job.objects.filter(pk=started["id"]).update(state="failed", error="Disk full", hint="Make room.")
    failed = read(program.get(f"jobs/{started['id']}"))
    assert (failed["error"], failed["hint"], failed["is_active"]) == ("Disk full", "Make room.", False)
    retried = read(program.post(f"jobs/{started['id']}/retry"))
    assert retried["id"] != started["id"]
    assert [job["id"] for job in read(program.get("jobs"))] == [retried["id"], started["id"]]
    assert [job["id"] for job in read(program.get("jobs", state="failed"))] == [started["id"]]
    older = read(program.get("jobs", before=retried["created_at"]))
    assert [job["id"] for job in older] == [started["id"]]
    problem(program.get("jobs/00000000-0000-4000-8000-000000000000"), 404)


def test_jobs_with_options(dataset: Dataset, program: Program) -> None:
    add_vectors(dataset, np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32))
    body = {"kind": "map", "options": {"method": "tsne", "perplexity": 3.0, "name": "mine"}}
    job = Job.objects.get(pk=read(program.post("datasets/pictures/jobs", body), 202)["id"])
    assert (job.kind, job.params["method"], job.params["perplexity"]) == ("project_map", "tsne", 3.0)
    assert job.created_by == program.token.user
    for options in ({"perplexity": 1e9}, {"method": "x"}, {"colour": 1}):
        problem(program.post("datasets/pictures/jobs", {"kind": "map", "options": options}), 422)
    refused = problem(program.post("datasets/pictures/jobs", {"kind": "quick_train"}), 422)
    assert "Label more images" in refused["detail"]
    problem(program.post("datasets/pictures/jobs", {"kind": "embed", "options": {"a": 1}}), 422)
    problem(program.post("datasets/pictures/jobs", {"kind": "delete_dataset"}), 422)
    assert read(program.post("datasets/pictures/jobs", {"kind": "scan"}), 202)["kind"] == "ingest"


def test_models_are_listed_and_activated(dataset: Dataset, program: Program) -> None:
    first = add_model(dataset, two_class([0.9] * 20))
    second = add_model(dataset, two_class([0.6] * 20))
    ModelVersion.objects.filter(pk=second.pk).update(is_active=True)
    listed = read(program.get("datasets/pictures/models"))
    assert [(version["number"], version["is_active"]) for version in listed] == [(2, True), (1, False)]
    assert [version["number"] for version in read(program.get("datasets/pictures/models", before=2))] == [1]
    detail = read(program.get("datasets/pictures/models/1"))
    assert [label["class_name"] for label in detail["classes"]] == ["cat", "dog"]
    activated = read(program.post("datasets/pictures/models/1/activate"))
    assert (activated["model"]["is_chosen"], activated["job"]) == (True, None)
    assert fresh(first).is_active
    assert program.post("datasets/pictures/models/release").status_code == 204
    assert not fresh(first).is_chosen
    problem(program.get("datasets/pictures/models/9"), 404)
    problem(program.post("datasets/pictures/models/9/activate"), 404)


# -- Export and import ------------------------------------------------------------------------------------
def test_the_export_has_the_options_of_the_command(dataset: Dataset, program: Program) -> None:
    decide(dataset, "assign", range(10), "cat")
    response = program.get("datasets/pictures/export", val=20, test=30, seed=3)
    assert response["Content-Type"] == "application/zip"
    assert "pictures.zip" in response["Content-Disposition"]
    archive = opened(b"".join(response.streaming_content))
    assert [row["label"] for row in table(archive, "labels.csv")] == ["cat"] * 10
    splits = [row["split"] for row in table(archive, "splits.csv")]
    assert (splits.count("val"), splits.count("test")) == (2, 3)


@pytest.mark.parametrize(
    "query", [{"layout": "nothing"}, {"val": 60, "test": 60}, {"val": -1}, {"group_by": "night"}, {"extra": "x"}]
)  # fmt: skip
def test_an_export_that_is_not_possible_is_refused(dataset: Dataset, program: Program, query: dict[str, Any]) -> None:
    assert problem(program.get("datasets/pictures/export", **query), 422)["field"]


def upload(name: str, content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


def send(program: Program, path: str, **fields: Any) -> Any:
    return program.client.post(f"/api/v1/datasets/pictures/{path}", fields, headers=program.headers)


def test_labels_are_imported_with_a_report(dataset: Dataset, program: Program) -> None:
    content = b"path,label\nimage0000.png,cat\nimage0001.png,bird\nnowhere.png,cat\n"
    report = read(send(program, "labels", file=upload("labels.csv", content)))
    assert (report["applied"], report["unknown_classes"], report["unknown_paths"]) == (1, ["bird"], ["nowhere.png"])
    report = read(send(program, "labels", file=upload("labels.csv", content), create_classes="true"))
    assert (report["applied"], report["unchanged"], report["created_classes"]) == (1, 1, ["bird"])
    assert dataset.classes.filter(name="bird").exists()


def test_other_formats_are_recognized(dataset: Dataset, program: Program) -> None:
    lines = b'{"path": "image0002.png", "label": "dog"}\n{"path": "image0003.png", "label": "cat"}\n'
    assert read(send(program, "labels", file=upload("labels.jsonl", lines)))["applied"] == 2


def test_a_bad_table_is_refused_and_changes_nothing(dataset: Dataset, program: Program) -> None:
    for content in (b"", b"a,b\n1,2\n", b"\x89PNG\r\n"):
        assert problem(send(program, "labels", file=upload("labels.csv", content)), 422)["detail"]
    problem(send(program, "labels"), 422)
    problem(send(program, "labels", file=upload("x.csv", b"path,label\n"), same_numbers="maybe"), 422)
    assert fresh(dataset).n_labelled == 0


def test_embeddings_and_predictions_are_imported_by_jobs(dataset: Dataset, program: Program) -> None:
    stream = io.BytesIO()
    np.savez(stream, embeddings=np.ones((20, 4), np.float32), path=[f"image{row:04d}.png" for row in range(20)])
    job = read(send(program, "embeddings", file=upload("dino.npz", stream.getvalue()), name="dino", use="false"), 202)
    queued = Job.objects.get(pk=job["id"])
    assert (queued.kind, queued.params["name"], queued.params["use"]) == ("import_embeddings", "dino", False)
    csv = b"path,label,score\nimage0000.png,cat,0.9\n"
    job = read(send(program, "predictions", file=upload("mine.csv", csv), create="true"), 202)
    assert Job.objects.get(pk=job["id"]).params["create"] is True
    assert "Another import" in problem(send(program, "predictions", file=upload("mine.csv", csv)), 409)["detail"]
    problem(send(program, "embeddings", file=upload("empty.npy", b"")), 422)
    problem(send(program, "embeddings"), 422)
