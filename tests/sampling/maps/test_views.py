"""What the map's script asks for: points, colours, legends, changes and words, and what is said when it can't be."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.decisions.classes import merge
from labeling.decisions.save import Decision, record_import
from labeling.fields.columns import Draft, save_column
from labeling.models import Annotation, Dataset, Field, Item, LabelClass, State
from modeling.maps.coordinates import save_coordinates
from modeling.models import Projection
from modeling.predictions import active_predictions
from modeling.versions import model_files
from sampling.algorithms.uncertainty import margin
from sampling.maps.colors import HIGHEST
from sampling.models import Check, Round
from tests.factories import MakeDataset, assert_contains, count_queries, not_none, text
from tests.modeling.factories import add_vectors
from tests.sampling.factories import add_model
from tests.sampling.maps.factories import add_map

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
N = 60


def places() -> np.ndarray:
    """Return two clouds, and row 5 without a place."""
    rng = np.random.default_rng(1)
    found = rng.normal(size=(N, 2)) + 8 * (np.arange(N) % 2)[:, None]
    found[5] = np.nan
    return found


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset(N, classes=("cat", "dog", "wolf"))


@pytest.fixture
def drawn_map(dataset: Dataset) -> Projection:
    return add_map(dataset, places())


def label(dataset: Dataset, rows: list[int], state: State = State.LABELLED) -> None:
    """Return of the class of the row's number."""
    ids = dict(dataset.items.values_list("row", "pk"))
    classes = list(dataset.classes.filter(is_retired=False).values_list("pk", flat=True))
    given = [classes[row % 2] if state == State.LABELLED else None for row in rows]
    record_import(dataset, [Decision(ids[row], state, one) for row, one in zip(rows, given, strict=True)], None)


def ask(what: str, projection: Projection, query: str = "", client: Client | None = None, **headers: str) -> object:
    address = f"/d/{projection.dataset.slug}/map/{projection.pk}/{what}/?{query}"
    return (client or Client()).get(address, headers=headers)


def plane(projection: Projection, by: str) -> np.ndarray:
    answer = ask("colours", projection, f"by={by}")
    assert answer.status_code == 200, answer.content
    return np.frombuffer(answer.content, np.uint8)


def train(dataset: Dataset) -> None:
    rng = np.random.default_rng(2)
    add_vectors(dataset, rng.normal(size=(N, 4)) + 3 * (np.arange(N) % 2)[:, None])
    label(dataset, list(range(30)))
    run_now("retrain", dataset_id=dataset.pk)


# -- Points ---------------------------------------------------------------------------------------
def test_points_are_the_places_to_the_nearest_step_and_keep_their_shape(drawn_map: Projection) -> None:
    answer = ask("points", drawn_map)
    assert answer["Content-Type"] == "application/octet-stream"
    assert len(answer.content) == 4 * N
    xy = np.frombuffer(answer.content, "<u2").reshape(-1, 2)
    assert xy[5].tolist() == [65535, 65535]
    x0, y0, x1, y1 = map(float, answer["X-Bounds"].split())
    assert x1 - x0 == pytest.approx(y1 - y0)
    has = np.arange(N) != 5
    back = np.array([x0, y0]) + xy[has] * (x1 - x0) / 65534
    np.testing.assert_allclose(back, places()[has], atol=(x1 - x0) / 65534)
    spread = xy[has].max(axis=0).astype(int) - xy[has].min(axis=0)
    assert spread.max() == pytest.approx(65534 * 0.96, abs=2)
    assert xy[has].min() > 0
    assert xy[has].max() < 65534


@pytest.mark.parametrize(
    "odd", [np.full((N, 2), 3.0), np.full((N, 2), np.nan), np.full((N, 2), np.inf), np.full((N, 2), 1e30)]
)
def test_odd_places_are_points_too(dataset: Dataset, odd: np.ndarray) -> None:
    xy = np.frombuffer(ask("points", add_map(dataset, odd)).content, "<u2").reshape(-1, 2)
    expected = 32767 if np.isfinite(odd).all() else 65535
    np.testing.assert_allclose(xy, expected, atol=1)


def test_points_are_kept_for_ever_under_the_address_of_their_generation(drawn_map: Projection) -> None:
    named = ask("points", drawn_map, "g=1")
    assert "immutable" in named["Cache-Control"]
    assert ask("points", drawn_map)["Cache-Control"] == "private, no-cache"
    again = ask("points", drawn_map, "g=1", **{"If-None-Match": named["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    save_coordinates(drawn_map, places()[::-1])
    newer = ask("points", drawn_map, "g=1", **{"If-None-Match": named["ETag"]})
    assert (newer.status_code, newer["X-Generation"]) == (200, "2")
    assert "immutable" not in newer["Cache-Control"], "what g=1 named is another one"


# -- Colours --------------------------------------------------------------------------------------
def test_labels_states_and_what_is_gone(dataset: Dataset, drawn_map: Projection) -> None:
    label(dataset, [0, 1, 2])
    label(dataset, [3], State.UNSURE)
    label(dataset, [4], State.SKIPPED)
    Item.objects.filter(row__in=[2, 9]).update(is_available=False)
    Dataset.objects.filter(pk=dataset.pk).update(n_missing=2)
    labels, states = plane(drawn_map, "label"), plane(drawn_map, "state")
    assert labels[:6].tolist() == [1, 2, 255, 0, 0, 0]
    assert states[:6].tolist() == [1, 1, 255, 2, 3, 0]
    assert labels[9] == states[9] == 255
    assert not labels[10:].any()


def test_predictions_and_uncertainty_are_the_models(dataset: Dataset, drawn_map: Projection) -> None:
    train(dataset)
    predictions = not_none(active_predictions(dataset))
    P = np.asarray(predictions.probabilities)
    np.testing.assert_array_equal(plane(drawn_map, "predicted"), 1 + P.argmax(axis=1))
    unsure = plane(drawn_map, "uncertainty").astype(float)
    np.testing.assert_allclose((unsure - 1) / (HIGHEST - 1), margin(P), atol=0.003)


def test_classes_that_were_merged_are_predicted_as_one(dataset: Dataset, drawn_map: Projection) -> None:
    train(dataset)
    cat, dog, wolf = dataset.classes.order_by("pk")
    user = User.objects.create(username="someone")
    merge(dog, wolf, user=user)
    told = plane(drawn_map, "predicted")
    P = np.asarray(active_predictions(dataset).probabilities)  # type: ignore[union-attr]
    # Today's list is cat, wolf.
    np.testing.assert_array_equal(told, np.where(P.argmax(axis=1) == 0, 1, 2))
    LabelClass.objects.filter(pk=cat.pk).update(is_retired=True)
    assert set(plane(drawn_map, "predicted").tolist()) == {1}, "a class that is gone is nobody's prediction"


def test_the_order_of_labelling_goes_from_first_to_last(dataset: Dataset, drawn_map: Projection) -> None:
    for row in (7, 3, 11):
        label(dataset, [row])
    told = plane(drawn_map, "time")
    assert (told[7], told[11]) == (1, HIGHEST)
    assert 100 < told[3] < 150
    assert np.count_nonzero(told) == 3


def test_fields_of_numbers_and_of_words(dataset: Dataset, drawn_map: Projection) -> None:
    number = Field.objects.create(dataset=dataset, name="Seeing", kind=Field.Kind.NUMBER, source="csv")
    values = np.linspace(0, 1, N)
    values[8], values[9] = np.nan, 1e9
    save_column(number, Draft(Field.Kind.NUMBER, values, []))
    told = plane(drawn_map, f"field:{number.pk}")
    assert (told[8], told[0], told[9]) == (0, 1, HIGHEST)
    assert told[N // 2] == pytest.approx(1 + 0.5 * (HIGHEST - 1), abs=15), "one extreme doesn't take all colours"
    page = ask("legend", drawn_map, f"by=field:{number.pk}").content.decode()
    names = re.findall(r'class="name">([^<]+)', page)
    assert re.fullmatch(r"up to 0\.\d+", names[0])
    assert re.fullmatch(r"0\.\d+ to 0\.\d+", names[1])
    assert re.fullmatch(r"over 0\.\d+", names[4])
    words = Field.objects.create(dataset=dataset, name="Night", kind=Field.Kind.TEXT, source="csv")
    codes = np.array([-1, 0, *[1] * (N - 2)], np.int32)
    save_column(words, Draft(Field.Kind.TEXT, codes, ["first", "second"]))
    told = plane(drawn_map, f"field:{words.pk}")
    assert told[:3].tolist() == [0, 2, 1], "the most frequent comes first"
    page = ask("legend", drawn_map, f"by=field:{words.pk}").content.decode()
    assert page.index(">second<") < page.index(">first<")


def test_oddity_is_computed_by_a_job_first(dataset: Dataset, drawn_map: Projection) -> None:
    assert "no embeddings yet" in ask("colours", drawn_map, "by=oddity").content.decode()
    train(dataset)
    waiting = ask("colours", drawn_map, "by=oddity")
    assert waiting.status_code == 409
    assert Job.objects.filter(kind="oddness").count() == 1
    assert "data-waiting" in ask("legend", drawn_map, "by=oddity").content.decode()
    Job.objects.filter(kind="oddness").update(state=Job.State.FAILED, finished_at=timezone.now(), error="No memory.")
    assert "No memory. Retry it" in ask("legend", drawn_map, "by=oddity").content.decode()
    assert Job.objects.filter(kind="oddness").count() == 1, "what failed is not begun again unasked"
    run_now("oddness", dataset_id=dataset.pk, params={"method": "local outlier factor"})
    told = plane(drawn_map, "oddity")
    assert told.min() >= 1
    assert told.max() == HIGHEST


def test_a_plane_is_sent_again_only_when_it_changed(dataset: Dataset, drawn_map: Projection) -> None:
    first = ask("colours", drawn_map, "by=label")
    same = ask("colours", drawn_map, "by=label", **{"If-None-Match": first["ETag"]})
    assert same.status_code == 304
    label(dataset, [1])
    newer = ask("colours", drawn_map, "by=label", **{"If-None-Match": first["ETag"]})
    assert newer.status_code == 200
    assert newer["X-Version"] == first["X-Version"], "the legend is the same"
    LabelClass.objects.filter(name="cat").update(colour="#123456")
    assert ask("colours", drawn_map, "by=label")["X-Version"] != first["X-Version"]


def test_predictions_that_were_made_again_are_sent_again(dataset: Dataset, drawn_map: Projection) -> None:
    version = add_model(dataset, np.tile(np.array([[0.9, 0.1, 0]], np.float32), (N, 1)))
    before = ask("colours", drawn_map, "by=predicted")
    unsure = plane(drawn_map, "uncertainty")
    with model_files.save_probabilities(version, N, 3) as written:
        written[:] = [0.4, 0.6, 0]
    after = ask("colours", drawn_map, "by=predicted", **{"If-None-Match": before["ETag"]})
    assert after.status_code == 200
    assert (set(before.content), set(after.content)) == ({1}, {2})
    assert after["X-Version"] != before["X-Version"]
    assert plane(drawn_map, "uncertainty")[0] > unsure[0]


# -- Changes --------------------------------------------------------------------------------------
def test_what_was_labelled_since_is_told_and_nothing_else(dataset: Dataset, drawn_map: Projection) -> None:
    before = ask("colours", drawn_map, "by=label")
    told = json.loads(ask("changes", drawn_map, f"by=label&since={before['X-Newest']}").content)
    assert told == {"newest": 0, "version": before["X-Version"], "is_stale": False, "rows": []}
    label(dataset, [4, 7])
    told = json.loads(ask("changes", drawn_map, f"by=label&since={before['X-Newest']}").content)
    assert told["rows"] == [[4, 1, 1], [7, 1, 2]]
    after = json.loads(ask("changes", drawn_map, f"by=label&since={told['newest']}").content)
    assert after["rows"] == []
    label(dataset, [4], State.UNSURE)
    told = json.loads(ask("changes", drawn_map, f"by=label&since={told['newest']}").content)
    assert [4, 2, 0] in told["rows"]


def test_very_many_changes_are_told_by_the_whole_plane(
    dataset: Dataset, drawn_map: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampling.maps.views.MAX_CHANGES", 5)
    label(dataset, list(range(8)))
    told = json.loads(ask("changes", drawn_map, "since=0").content)
    assert told["is_stale"]
    assert told["rows"] == []
    assert told["newest"] == Annotation.objects.latest("pk").pk


# -- Legend, points and thumbnails -------------------------------------------------------------------
def test_the_legend_counts_the_points_of_each_class(dataset: Dataset, drawn_map: Projection) -> None:
    label(dataset, [0, 1, 2, 5])  # 5 has no place
    page = ask("legend", drawn_map, "by=label").content.decode()
    entries = re.findall(r'data-index="(\d+)".*?class="name">([^<]*)</span><b>(\d+)', page, re.S)
    assert entries == [("1", "cat", "2"), ("2", "dog", "1"), ("3", "wolf", "0"), ("0", "No label", "56")]
    ramp = ask("legend", drawn_map, "by=time").content.decode()
    bands = [(int(a), int(b)) for a, b in re.findall(r'data-first="(\d+)" data-last="(\d+)"', ramp)]
    assert bands[0][0] == 1
    assert bands[-2][1] == HIGHEST
    assert all(one[1] + 1 == two[0] for one, two in pairwise(bands[:-1]))
    assert 'data-ramp="#' in ramp
    assert len(re.findall(r'class="name">from \d\d ', ramp)) == 5


def test_a_point_tells_what_it_is(dataset: Dataset, drawn_map: Projection) -> None:
    train(dataset)
    page = ask("at", drawn_map, "row=3").content.decode()
    assert_contains(page, "image0003.png", "dog")
    assert re.search(r"<b>\d+ %|<b>over 99 %", page)
    for bad in ("", "x", "999", "-1", "1" * 30):
        assert ask("at", drawn_map, f"row={bad}").status_code == 404


def test_thumbnails_by_row_in_one_query(dataset: Dataset, drawn_map: Projection) -> None:
    Item.objects.filter(row=2).update(is_available=False)
    told = json.loads(ask("thumbs", drawn_map, "rows=1,2,3,4000").content)["thumbs"]
    assert set(told) == {"1", "3"}
    assert re.fullmatch(r"/api/thumb/\d+\?v=\w+", told["1"])
    for bad in ("", "a", "1,,2", ",".join(["1"] * 401)):
        assert ask("thumbs", drawn_map, f"rows={bad}").status_code == 422


# -- The page and what can't be --------------------------------------------------------------------
def test_the_page_says_what_is_missing(dataset: Dataset, client: Client) -> None:
    assert "no embeddings yet" in client.get("/d/pictures/map/").content.decode()
    rng = np.random.default_rng(0)
    has = np.arange(N) < 3
    vectors = add_vectors(dataset, rng.normal(size=(N, 4)), has)
    assert "A map needs 4 readable images" in client.get("/d/pictures/map/").content.decode()
    vectors.n_vectors = N
    vectors.save()
    assert "map/list/" in client.get("/d/pictures/map/").content.decode(), "the form of the first one"


def test_the_page_shows_the_newest_map_or_the_one_asked_for(dataset: Dataset, client: Client) -> None:
    first, second = add_map(dataset, places()), add_map(dataset, places(), name="UMAP 2")
    assert client.get("/d/pictures/map/").context["projection"] == second
    assert client.get(f"/d/pictures/map/?projection={first.pk}&row=3").context["projection"] == first
    for gone in ("999", "x"):
        assert "Map not found" in client.get(f"/d/pictures/map/?projection={gone}").content.decode()


def test_another_datasets_map_and_one_without_points_are_not_found(
    dataset: Dataset, drawn_map: Projection, make_dataset: MakeDataset, client: Client
) -> None:
    make_dataset(3, name="other")
    empty = Projection.objects.create(
        dataset=dataset, embedding_set=drawn_map.embedding_set, name="being made", method="umap"
    )
    for what in ("points", "colours", "changes", "legend", "at", "thumbs"):
        assert client.get(f"/d/other/map/{drawn_map.pk}/{what}/").status_code == 404
        assert client.get(f"/d/pictures/map/{empty.pk}/{what}/").status_code == 404


@pytest.mark.parametrize("by", ["weight", "field:99", "field:x", "'"])
def test_what_cannot_colour_is_refused_in_words(drawn_map: Projection, by: str) -> None:
    for what in ("colours", "legend"):
        assert "There is no color" in text(ask(what, drawn_map, f"by={by}"), 422)
    assert ask("changes", drawn_map, f"by={by}&since=0").status_code == 422
    assert ask("changes", drawn_map, "since=yesterday").status_code == 422


def test_without_a_model_or_labels_there_are_words(drawn_map: Projection) -> None:
    for by, words in (("predicted", "no model yet"), ("uncertainty", "no model yet"), ("time", "Nothing is labeled")):
        assert words in text(ask("colours", drawn_map, f"by={by}"), 409)
        assert words in ask("legend", drawn_map, f"by={by}").content.decode()


def test_a_file_of_coordinates_that_is_gone_is_said(drawn_map: Projection, settings: object) -> None:
    for file in (settings.STORE_DIR / "maps").rglob("*.npy"):  # type: ignore[attr-defined]
        file.unlink()
    for what in ("points", "legend"):
        assert "Compute the map again" in ask(what, drawn_map).content.decode()


def test_what_a_page_asks_the_database_does_not_grow(make_dataset: MakeDataset) -> None:
    counts = {}
    for n in (20, 200):
        dataset = make_dataset(n, name=f"of{n}")
        projection = add_map(dataset, np.random.default_rng(0).normal(size=(n, 2)))
        label(dataset, list(range(0, n, 2)))
        for what, query in (
            ("colours", "by=label"), ("colours", "by=state"), ("legend", "by=label"), ("points", ""),
            ("changes", "since=0"), ("at", "row=3"), ("thumbs", "rows=" + ",".join(map(str, range(n)))),
        ):  # fmt: skip
            ask(what, projection, query, client := Client())
            n_queries = count_queries(ask, what, projection, query, client)
            counts.setdefault((what, query if what != "thumbs" else ""), set()).add(n_queries)
    assert all(len(found) == 1 for found in counts.values()), counts


# -- Checks of sweeps -----------------------------------------------------------------------------
def await_check(dataset: Dataset, row: int) -> Check:
    """Record that a sweep accepted the page that hid the image of that row."""
    swept = dataset.classes.first()
    page = Round.objects.create(dataset=dataset, queue="sweep", seed=1)
    item = dataset.items.get(row=row)
    words = {"probability": 0.9, "labels": 10.0, "promised": 0.01, "outcome": Check.Outcome.WAITING}
    return Check.objects.create(dataset=dataset, item=item, round=page, label=swept, **words)


@pytest.mark.parametrize("by", ["label", "predicted", "uncertainty", "time", "state"])
def test_no_colour_gives_away_what_waits_for_its_check(dataset: Dataset, drawn_map: Projection, by: str) -> None:
    train(dataset)
    before = ask("colours", drawn_map, f"by={by}")
    told = np.frombuffer(before.content, np.uint8)
    assert told[4]
    check = await_check(dataset, 4)
    hidden = plane(drawn_map, by)
    assert hidden[4] == 0
    assert (np.delete(hidden, 4) == np.delete(told, 4)).all()
    legend = ask("legend", drawn_map, f"by={by}").content.decode()
    assert sum(map(int, re.findall(r"<b>(\d+)</b>", legend))) == N - 1  # row 5 has no place
    # Whoever asks with the tag of before gets the new plane, and whoever follows the changes is told of it.
    assert ask("colours", drawn_map, f"by={by}", **{"if-none-match": before["ETag"]}).status_code == 200
    changes = json.loads(ask("changes", drawn_map, f"by={by}&since=0").content)
    assert changes["version"] != before["X-Version"]
    assert [row[1:] for row in changes["rows"] if row[0] == 4] == [[0, 0]]
    check.outcome = Check.Outcome.RIGHT
    check.save()
    assert (plane(drawn_map, by) == told).all()


def test_how_odd_an_image_is_gives_nothing_away(dataset: Dataset, drawn_map: Projection) -> None:
    train(dataset)
    run_now("oddness", dataset_id=dataset.pk, params={"method": "local outlier factor"})
    told = plane(drawn_map, "oddity")
    await_check(dataset, 4)
    assert (plane(drawn_map, "oddity") == told).all()
