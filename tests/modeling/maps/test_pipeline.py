"""Maps: made by a job, kept, named, brought up to new vectors; and words where there can be none."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness

from hoshina.core.errors import Refusal
from hoshina.jobs import registry
from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.exporting import Options, refusal
from labeling.models import Dataset, Frame, Item
from modeling import store as arrays
from modeling.maps import coordinates, projections
from modeling.maps import pipeline as map_pipeline
from modeling.maps.options import MapOptions
from modeling.models import EmbeddingSet, Projection
from tests.factories import (
    MakeDataset,
    archive_bytes,
    call_before,
    command_json,
    command_output,
    fresh,
    manifest,
    opened,
    table,
)
from tests.modeling.factories import add_vectors, import_labels

# Slow, because each process that lays out by UMAP first compiles umap-learn.
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store"), pytest.mark.slow]
N = 150
COORDINATES = frozenset({"coordinates"})


@pytest.fixture
def digits(make_dataset: MakeDataset) -> Dataset:
    dataset = make_dataset(N)
    add_vectors(dataset, load_digits().data[:N].astype(np.float32))
    return dataset


def grow(dataset: Dataset, X: np.ndarray, has: np.ndarray | None = None) -> EmbeddingSet:
    """Add items with embeddings, as an ingest and an embedding job leave them."""
    first = dataset.n_items
    items = Item.objects.bulk_create(
        [Item(dataset=dataset, row=first + i, path=f"more{first + i}.png") for i in range(len(X))]
    )
    frames = [
        Frame(item=item, dataset=dataset, path=item.path, sha256="0" * 64, size=100, mtime_ns=1, width=8, height=8)
        for item in items
    ]
    Frame.objects.bulk_create(frames)
    dataset.n_items += len(X)
    dataset.save()
    vectors = EmbeddingSet.objects.get(dataset=dataset, is_active=True)
    rows = first + np.arange(len(X))
    stamps = np.where(np.ones(len(X), bool) if has is None else has, np.uint64(7), np.uint64(0))
    arrays.save_part(vectors, first, first + len(X), rows, stamps.astype(np.uint64), X.astype(np.float32))
    arrays.merge_parts(vectors, dataset.n_items)
    return vectors


def made(dataset: Dataset, method: str = "umap", **params: object) -> Projection:
    options = projections.checked(dataset, method, params)
    job = run_now("project_map", dataset_id=dataset.pk, params=asdict(options))
    return Projection.objects.get(pk=job.result["projection"])


# -- Making them -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("method", "least"), [("umap", 0.92), ("tsne", 0.95), ("pca", 0.75)])
def test_each_method_makes_a_map_that_is_as_true_as_it_says(digits: Dataset, method: str, least: float) -> None:
    projection = made(digits, method, seed=4)
    places = coordinates.coordinates_of(projection)
    assert places.shape == (N, 2)
    assert np.isfinite(places).all()
    true = trustworthiness(load_digits().data[:N], places, n_neighbors=15)
    assert true >= least
    assert projection.quality["trustworthiness"] == pytest.approx(true, abs=0.01)
    assert (projection.method, projection.seed, projection.n_points, projection.n_placed) == (method, 4, N, 0)
    assert projection.vectors_generation == projection.embedding_set.generation
    assert sum(projection.quality["seconds"].values()) <= projection.seconds + 0.1


def test_umap_learn_makes_the_same_true_map_twice_with_the_old_option_or_without(digits: Dataset) -> None:
    first, second = made(digits, seed=4, by_library=True), made(digits, seed=4)
    places = coordinates.coordinates_of(first)
    assert trustworthiness(load_digits().data[:N], places, n_neighbors=15) >= 0.95
    np.testing.assert_array_equal(places, coordinates.coordinates_of(second))
    assert (first.name, second.name) == ("UMAP", "UMAP 2")
    assert first.params["by_library"] is second.params["by_library"] is True


def test_its_stages_are_told_and_the_same_seed_makes_the_same_map(digits: Dataset) -> None:
    seen: list[tuple[str, int, int]] = []
    job = run_now(
        "project_map", dataset_id=digits.pk, params=asdict(MapOptions(seed=2)),
        on_progress=lambda job: seen.append((job.stage, job.done, job.total)),
    )  # fmt: skip
    stages = list(dict.fromkeys(stage for stage, _, _ in seen if stage))
    assert stages[:2] == ["Loading the embeddings", "Computing principal components"]
    assert "Laying out the map" in stages
    assert stages[-1] == "Saving the map"
    first = Projection.objects.get(pk=job.result["projection"])
    second, third = made(digits, seed=2), made(digits, seed=3)
    assert [first.name, second.name, third.name] == ["UMAP", "UMAP 2", "UMAP 3"]
    a, b, c = (np.array(coordinates.coordinates_of(one)) for one in (first, second, third))
    assert a.tobytes() == b.tobytes()
    assert (a != c).any()


def test_cosine_does_not_mind_lengths(make_dataset: MakeDataset) -> None:
    X = load_digits().data[:N].astype(np.float32)
    lengths = np.random.default_rng(0).uniform(0.1, 10, (N, 1)).astype(np.float32)
    places = []
    for name, vectors in (("plain", X), ("scaled", X * lengths)):
        dataset = make_dataset(N, name=name)
        add_vectors(dataset, vectors)
        places.append(np.array(coordinates.coordinates_of(made(dataset, "pca", metric="cosine"))))
    np.testing.assert_allclose(np.abs(places[0]), np.abs(places[1]), atol=1e-3)


def test_more_neighbours_than_the_shared_graph_has_are_looked_for(digits: Dataset) -> None:
    assert made(digits, n_neighbors=60).quality["trustworthiness"] > 0.9


def test_labels_have_a_say_if_asked(digits: Dataset) -> None:
    with pytest.raises(Refusal, match="two classes"):
        projections.checked(digits, "umap", {"is_supervised": True})
    y = (load_digits().target[:N] >= 5).astype(int)
    import_labels(digits, list(range(0, N, 2)), y)
    projection = made(digits, is_supervised=True)
    assert projection.name == "Supervised UMAP"
    assert projection.params["is_supervised"] is True
    plain = made(digits)
    assert (np.array(coordinates.coordinates_of(projection)) != np.array(coordinates.coordinates_of(plain))).any()


def test_images_without_a_vector_have_no_place(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(N)
    has = np.arange(N) % 7 != 0
    add_vectors(dataset, load_digits().data[:N], has)
    for method in ("umap", "pca"):
        projection = made(dataset, method)
        assert (np.isfinite(coordinates.coordinates_of(projection)[:, 0]) == has).all()
        assert projection.n_points == has.sum()


def test_very_many_are_laid_out_by_a_sample(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made(digits)
    monkeypatch.setitem(map_pipeline.FIT_AT_MOST, "umap", 100)
    monkeypatch.setattr(map_pipeline, "PLACE_BY", 80)
    projection = made(digits)
    assert (projection.n_points, projection.n_placed) == (N, 50)
    assert projection.quality["fitted"] == 100
    assert np.isfinite(coordinates.coordinates_of(projection)).all()
    assert projection.quality["trustworthiness"] >= 0.95 * whole.quality["trustworthiness"]


# -- New images --------------------------------------------------------------------------------------------
def test_new_images_are_placed_without_a_refit(digits: Dataset) -> None:
    first, pca = made(digits), made(digits, "pca")
    before = np.array(coordinates.coordinates_of(first))
    X = load_digits().data
    has = np.array([True, True, False, True])
    vectors = grow(digits, np.concatenate([X[[5]], X[N : N + 3]]), has)
    projections.maps_after_embedding(digits.pk)
    job = Job.objects.get(kind="place_on_maps")
    assert (job.queue, job.dataset_id) == ("heavy", digits.pk)
    assert run_now("place_on_maps", dataset_id=digits.pk).result == {"placed": 6}
    for projection in (first, pca):
        projection.refresh_from_db()
        places = coordinates.coordinates_of(projection)
        assert places.shape == (N + 4, 2)
        assert np.isfinite(places[N:, 0]).tolist() == has.tolist()
        assert (projection.n_points, projection.n_placed) == (N + 3, 3)
        assert projection.vectors_generation == vectors.generation
    places = coordinates.coordinates_of(first)
    np.testing.assert_array_equal(places[:N], before)
    np.testing.assert_allclose(places[N], before[5], atol=1e-3, err_msg="a copy lies on its original")
    Job.objects.all().delete()
    projections.maps_after_embedding(digits.pk)
    assert not Job.objects.exists(), "nothing is left to do"


def test_vectors_that_came_while_a_map_was_made_are_placed_after_it(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_before(monkeypatch, map_pipeline, "_measured", lambda *_: grow(digits, load_digits().data[N : N + 2]))
    made(digits)
    assert Job.objects.filter(kind="place_on_maps", state=Job.State.QUEUED).count() == 1


def test_after_the_first_vectors_a_quick_look_is_made_and_replaced_with_the_vectors(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(N)
    projections.maps_after_embedding(dataset.pk)
    assert not Job.objects.exists(), "nothing to look at"
    first = add_vectors(dataset, load_digits().data[:N])
    projections.maps_after_embedding(dataset.pk)
    job, _ = Job.objects.filter(kind="project_map").order_by("created_at")
    made_now = run_now("project_map", dataset_id=dataset.pk, params=job.params)
    look = Projection.objects.get(pk=made_now.result["projection"])
    assert (look.name, look.method) == ("Quick look", "pca")
    umap = made(dataset)
    assert list(projections.maps_of(dataset)) == [umap, look], "what was asked for comes first"
    EmbeddingSet.objects.update(is_active=False)
    second = EmbeddingSet.objects.create(dataset=dataset, fingerprint="other", encoder="other", dim=64, is_active=True)
    rows = np.arange(N)
    arrays.save_part(second, 0, N, rows, np.full(N, 9, np.uint64), load_digits().data[:N].astype(np.float32))
    arrays.merge_parts(second, N)
    projections.maps_after_embedding(dataset.pk)
    run_now("project_map", dataset_id=dataset.pk, params=job.params)
    again = Projection.objects.get(name="Quick look")
    assert again.embedding_set == second
    assert list(projections.maps_of(dataset)) == [again, umap]
    assert first.pk != second.pk


def queued() -> list[tuple[str, str]]:
    """Return the jobs that wait, in order: kind and method."""
    jobs = Job.objects.filter(state=Job.State.QUEUED).order_by("created_at")
    return [(job.kind, job.params.get("method", "")) for job in jobs]


def run_queued() -> None:
    for job in Job.objects.filter(state=Job.State.QUEUED).order_by("created_at"):
        run_now(job.kind, dataset_id=job.dataset_id, params=job.params)


def test_after_the_first_vectors_a_quick_look_is_made_and_then_umap(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(N)
    add_vectors(dataset, load_digits().data[:N])
    projections.maps_after_embedding(dataset.pk)
    assert queued() == [("project_map", "pca"), ("project_map", "umap")]
    assert set(Job.objects.values_list("queue", flat=True)) == {"heavy"}, "no retrain waits for a map"
    projections.maps_after_embedding(dataset.pk)
    assert len(queued()) == 2, "each once"
    run_queued()
    umap, look = projections.maps_of(dataset)
    assert (umap.name, umap.method, umap.params["is_automatic"]) == ("UMAP", "umap", True)
    assert (look.name, look.method) == ("Quick look", "pca")
    assert queued() == []
    projections.maps_after_embedding(dataset.pk)
    assert queued() == []


def test_few_new_images_are_placed_and_twice_as_many_get_a_new_map(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(40)
    add_vectors(dataset, load_digits().data[:40])
    projections.maps_after_embedding(dataset.pk)
    run_queued()
    first = Projection.objects.get(name="UMAP")
    grow(dataset, load_digits().data[40:60])
    projections.maps_after_embedding(dataset.pk)
    assert queued() == [("place_on_maps", "")]
    run_queued()
    grow(dataset, load_digits().data[60:80])
    projections.maps_after_embedding(dataset.pk)
    assert queued() == [("place_on_maps", ""), ("project_map", "umap")]
    run_queued()
    second = Projection.objects.get(name="UMAP 2")
    assert (second.n_points, second.n_placed) == (80, 0)
    assert projections.maps_of(dataset)[0] == second, "the page opens with the new one"
    grow(dataset, load_digits().data[80:160])
    projections.maps_after_embedding(dataset.pk)
    run_queued()
    assert not Projection.objects.filter(pk=first.pk).exists(), "of the automatic ones, the last two stay"
    assert [one.name for one in projections.maps_of(dataset)] == ["UMAP 3", "UMAP 2", "Quick look"]


def test_an_automatic_map_that_was_deleted_or_is_not_wanted_does_not_come_back(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(60)
    add_vectors(dataset, load_digits().data[:60])
    projections.maps_after_embedding(dataset.pk)
    Job.objects.filter(params__method="umap").update(state=Job.State.CANCELLED)
    run_queued()
    grow(dataset, load_digits().data[60:63])
    projections.maps_after_embedding(dataset.pk)
    assert queued() == [("place_on_maps", "")]


def test_a_map_that_a_person_made_before_counts(digits: Dataset) -> None:
    made(digits)
    projections.maps_after_embedding(digits.pk)
    assert queued() == []


def test_a_person_who_asks_for_tsne_gets_a_quick_look_meanwhile_and_no_umap(digits: Dataset) -> None:
    projections.start(digits, projections.checked(digits, "tsne", {}))
    assert queued() == [("project_map", "pca"), ("project_map", "tsne")]


def test_a_person_who_asks_for_the_automatic_map_gets_that_one(digits: Dataset) -> None:
    projections.maps_after_embedding(digits.pk)
    assert projections.start(digits, projections.checked(digits, "umap", {})) == Job.objects.get(params__method="umap")
    assert projections.start(digits, projections.checked(digits, "umap", {"seed": 3})).params["is_automatic"] is False


def test_a_command_may_make_the_map_first(digits: Dataset) -> None:
    projections.maps_after_embedding(digits.pk)
    command_output("project_map")
    run_queued()
    assert sorted(Projection.objects.values_list("name", flat=True)) == ["Quick look", "UMAP"], "not made twice"


def test_a_map_that_a_stopped_worker_left_is_begun_again() -> None:
    assert registry.get("project_map").restartable


# -- Keeping them --------------------------------------------------------------------------------------------
def test_maps_are_begun_renamed_and_deleted(digits: Dataset, store: Path) -> None:
    job = projections.start(digits, projections.checked(digits, "umap", {"seed": 1, "n_neighbors": None}))
    again = projections.start(digits, projections.checked(digits, "umap", {"seed": 1}))
    assert again == job, "asked for twice, it is one job"
    look = Job.objects.exclude(pk=job.pk).get()
    assert (look.params["name"], look.created_at < job.created_at) == ("Quick look", True), "to look at meanwhile"
    other = projections.start(digits, projections.checked(digits, "tsne", {"seed": 1}))
    assert other != job
    assert list(projections.jobs_of(digits)) == [other, job, look]
    assert job.params["n_neighbors"] == 15
    first, second = made(digits, "pca", name="Birds"), made(digits, "pca")
    with pytest.raises(Refusal, match="map called 'Birds'"):
        projections.rename(second, "Birds")
    with pytest.raises(Refusal, match="map called 'Birds'"):
        projections.checked(digits, "pca", {"name": "Birds"})
    with pytest.raises(Refusal, match="at most 80"):
        projections.rename(second, "  ")
    projections.rename(second, "Other  birds")
    assert Projection.objects.get(pk=second.pk).name == "Other birds"
    folder = store / "maps" / str(first.pk)
    assert folder.is_dir()
    projections.delete(first)
    assert not folder.exists()
    assert list(projections.maps_of(digits)) == [second]


def test_a_name_that_was_taken_meanwhile_costs_no_map(digits: Dataset) -> None:
    params = asdict(projections.checked(digits, "pca", {"name": "Mine"}))
    names = [run_now("project_map", dataset_id=digits.pk, params=params).result["name"] for _ in range(2)]
    assert names == ["Mine", "PCA"]


def test_a_map_that_was_deleted_while_images_were_placed_leaves_nothing(
    digits: Dataset, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = made(digits, "pca"), made(digits, "pca")
    grow(digits, load_digits().data[N : N + 2])
    second_map = Projection.objects.filter(pk=second.pk)
    call_before(monkeypatch, map_pipeline, "_place", lambda *_: second_map.delete())
    run_now("place_on_maps", dataset_id=digits.pk)
    assert not (store / "maps" / str(second.pk)).exists()
    assert fresh(first).n_placed == 2


def test_a_cancelled_map_leaves_nothing(digits: Dataset, store: Path) -> None:
    def cancel(job: Job) -> None:
        if job.stage == "Laying out the map":
            Job.objects.filter(pk=job.pk).update(cancel_requested=True)

    with pytest.raises(Refusal, match="was cancelled"):
        run_now("project_map", dataset_id=digits.pk, params=asdict(MapOptions()), on_progress=cancel)
    assert not Projection.objects.exists()
    assert not (store / "maps").exists()


# -- Words -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("isomap", {}, "umap, tsne or pca"),
        ("umap", {"n_neighbors": 1}, "from 2 to 200"),
        ("umap", {"n_neighbors": N}, f"at most {N - 1} neighbors"),
        ("umap", {"n_neighbors": "15"}, "whole number"),
        ("umap", {"min_dist": 1.5}, "from 0 to 0.99"),
        ("umap", {"min_dist": float("nan")}, "from 0 to 0.99"),
        ("umap", {"metric": "manhattan"}, "euclidean or cosine"),
        ("umap", {"seed": -1}, "whole number"),
        ("umap", {"name": "x" * 81}, "at most 80"),
        ("umap", {"colour": "red"}, "no such option"),
        ("tsne", {"perplexity": 60}, "at most 49"),
        ("tsne", {"is_supervised": True}, "Only UMAP"),
        ("tsne", {"by_library": True}, "only UMAP"),
    ],
)
def test_what_can_not_be_is_said(digits: Dataset, method: str, params: dict[str, object], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        projections.start(digits, projections.checked(digits, method, params))
    assert not Job.objects.exists()


def test_without_vectors_or_with_few_images_it_says_so(make_dataset: MakeDataset) -> None:
    nothing = make_dataset(6, name="nothing")
    assert "no embeddings" in projections.why_not(nothing)
    with pytest.raises(Refusal, match="These images have no embeddings yet"):
        run_now("project_map", dataset_id=nothing.pk, params=asdict(MapOptions()))
    few = make_dataset(6, name="few")
    add_vectors(few, np.eye(6), np.arange(6) < 3)
    assert "so far there are 3" in projections.why_not(few)
    with pytest.raises(Refusal, match="needs 4 images"):
        run_now("project_map", dataset_id=few.pk, params=asdict(MapOptions(n_neighbors=2)))


@pytest.mark.parametrize("method", ["umap", "tsne", "pca"])
def test_four_images_make_a_map_and_copies_make_none(make_dataset: MakeDataset, method: str) -> None:
    four = make_dataset(4, name="four")
    add_vectors(four, np.random.default_rng(0).standard_normal((4, 80)))
    assert np.isfinite(coordinates.coordinates_of(made(four, method))).all()
    copies = make_dataset(20, name="copies")
    add_vectors(copies, np.full((20, 80), 0.5))
    with pytest.raises(Refusal, match="the same embedding"):
        made(copies, method)


@pytest.mark.parametrize("method", ["umap", "tsne"])
def test_many_copies_of_few_images_still_make_a_map(make_dataset: MakeDataset, method: str) -> None:
    dataset = make_dataset(90)
    add_vectors(dataset, np.repeat(load_digits().data[:2], 45, axis=0))
    places = coordinates.coordinates_of(made(dataset, method))
    assert np.isfinite(places).all()


def test_vectors_that_were_deleted_meanwhile_are_told(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    call_before(monkeypatch, map_pipeline, "_measured", lambda *_: EmbeddingSet.objects.all().delete())
    with pytest.raises(Refusal, match="deleted in the meantime"):
        made(digits, "pca")
    assert not Projection.objects.exists()


# -- The export ------------------------------------------------------------------------------------------
def test_coordinates_are_exported_on_request(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(40)
    assert "There is no map yet" in refusal(dataset, Options(extras=COORDINATES))
    has = np.arange(40) != 3
    add_vectors(dataset, load_digits().data[:40], has)
    made(dataset, "pca", name="Flat")
    projection = made(dataset, seed=5)
    grow(dataset, load_digits().data[40:42])
    archive = opened(archive_bytes(dataset, extras=COORDINATES))
    lines = table(archive, "coordinates.csv")
    places = coordinates.coordinates_of(projection)
    items = list(Item.objects.filter(dataset=dataset, row__lt=40).exclude(row=3).order_by("row"))
    assert [(line["item_id"], line["path"]) for line in lines] == [(str(item.pk), item.path) for item in items]
    got = np.array([[float(line["x"]), float(line["y"])] for line in lines])
    np.testing.assert_allclose(got, places[has], rtol=1e-5)
    told = manifest(archive)
    assert told["seeds"]["map"] == 5
    assert (told["map"]["name"], told["map"]["method"], told["map"]["points"]) == ("UMAP", "umap", 39)
    assert told["map"]["params"]["n_neighbors"] == 15
    assert told["map"]["quality"]["trustworthiness"] == projection.quality["trustworthiness"]
    assert "seconds" not in told["map"]["quality"]
    assert "map" not in manifest(opened(archive_bytes(dataset)))
    coordinates.forget_projection(projection)
    assert "is missing" in refusal(dataset, Options(extras=COORDINATES))


# -- The command -------------------------------------------------------------------------------------------
def test_the_command_prints_what_was_made(digits: Dataset) -> None:
    told = command_json("project_map", "--method", "umap", "--seed", "7", "--neighbours", "9")
    projection = Projection.objects.get(pk=told["projection"])
    assert {"projection", "method", "points", "seconds"} <= told.keys()
    assert (told["method"], told["points"], told["name"], told["seed"]) == ("umap", N, "UMAP", 7)
    assert projection.params["n_neighbors"] == 9
    assert command_output("project_map", "--method", "pca", "--name", "Flat").startswith(f"Map 'Flat': {N} images, in ")
    with pytest.raises(CommandError, match=r"--neighbours: There are 150 images") as wrong:
        call_command("project_map", "--neighbours", "180")
    assert wrong.value.returncode == 2


def test_maps_only_on_request(make_dataset: MakeDataset, settings: Any) -> None:
    settings.AUTOMATIC_MAPS = False
    dataset = make_dataset(N)
    add_vectors(dataset, load_digits().data[:N])
    projections.maps_after_embedding(dataset.pk)
    assert not Job.objects.exists()
    settings.AUTOMATIC_MAPS = True
    projections.maps_after_embedding(dataset.pk)
    assert Job.objects.filter(kind="project_map").count() == 2
