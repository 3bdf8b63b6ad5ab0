"""Queues that rank by vectors: Diverse, Oddities, Band, Auto, Audit and Similar, from the database to a round."""

from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from unittest.mock import Mock

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from hoshina.core.errors import Refusal
from hoshina.jobs.lifecycle import cancel, claim, enqueue, execute, run_now
from hoshina.jobs.models import Job
from hoshina.jobs.presence import me
from labeling.models import Dataset
from modeling.algorithms import neighbors
from modeling.encoders import neighbor_cache as shared
from sampling.algorithms import outliers
from sampling.models import Round
from sampling.queues import dispatch, outlier_cache, registry
from sampling.queues import pull as pull_module
from sampling.queues.deal import deal
from sampling.queues.pull import Filters, Order, pull, ranked_rows
from sampling.queues.registry import (
    STRATEGIES,
    BandParams,
    DiverseParams,
    OdditiesParams,
    UncertainParams,
)
from sampling.queues.similar import SimilarParams
from sampling.queues.strategy import BadParameter, NoParams
from tests.factories import MakeDataset, assert_contains, command_json, command_output, fresh, not_none
from tests.modeling.factories import add_vectors, import_labels
from tests.sampling.factories import add_model, two_class

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
N = 60


def clouds() -> np.ndarray:
    """Return vectors in three clouds, and one far from all."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(3, 6)) * 8
    X = (centres[np.arange(N) % 3] + rng.normal(size=(N, 6))).astype(np.float32)
    X[17] = 60
    return X


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    dataset = make_dataset(N)
    add_vectors(dataset, clouds())
    return dataset


def label(dataset: Dataset, rows: list[int]) -> None:
    import_labels(dataset, rows, np.arange(N) % 2)


def test_diverse_starts_far_from_what_is_labelled(dataset: Dataset) -> None:
    label(dataset, [0, 3, 6])
    rows = ranked_rows(pull(dataset, STRATEGIES["diverse"], DiverseParams(), Filters(), seed=0)).tolist()
    assert rows[0] == 17
    assert {row % 3 for row in rows[1:3]} == {1, 2}, "one of each cloud without labels comes next"
    assert sorted(rows) == sorted(set(range(N)) - {0, 3, 6})


def test_diverse_compares_the_principal_components_of_a_large_dataset(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(dataset, [0, 3, 6])
    small = pull(dataset, STRATEGIES["diverse"], DiverseParams(), Filters(), seed=0)
    monkeypatch.setattr(registry, "AT_ONCE", N - 1)
    # Components of which the first alone tells the rows apart: the farthest is the last one.
    line = np.outer(np.arange(N), [1, 0]).astype(np.float32)
    monkeypatch.setattr(pull_module, "principal_components_of", lambda *_: line)
    large = pull(dataset, STRATEGIES["diverse"], DiverseParams(), Filters(), seed=0)
    assert ranked_rows(small)[0] == 17
    assert ranked_rows(large)[:2].tolist() == [59, 32]


def test_diverse_by_typical_begins_inside_of_each_cloud(dataset: Dataset) -> None:
    pulls = [pull(dataset, STRATEGIES["diverse"], DiverseParams("typical"), Filters(), seed=4, k=4) for _ in range(2)]
    rows = ranked_rows(pulls[0]).tolist()
    assert {row % 3 for row in rows} == {0, 1, 2}
    assert 17 not in rows, "what stands out is not typical"
    assert ranked_rows(pulls[1]).tolist() == rows
    assert pulls[0].reasons == [["", "Typical of its part of the dataset"]]


@pytest.mark.parametrize("method", ["local outlier factor", "isolation forest"])
def test_oddities_finds_what_stands_out(dataset: Dataset, method: str) -> None:
    params = OdditiesParams(method=method)  # type: ignore[arg-type]
    first, again = (pull(dataset, STRATEGIES["oddities"], params, Filters(), seed=3) for _ in range(2))
    assert ranked_rows(first)[0] == 17
    assert ranked_rows(first).tolist() == ranked_rows(again).tolist()


def test_uncertain_does_not_fill_a_page_with_near_copies(make_dataset: MakeDataset) -> None:
    n = 240
    rng = np.random.default_rng(2)
    X = (rng.normal(size=(n, 5)) * 10).astype(np.float32)
    X[:120] = X[0] + rng.normal(size=(120, 5)) / 1000
    chances = rng.uniform(0.6, 0.9, n)
    chances[:120] = np.linspace(0.5, 0.51, 120)  # the least sure are all alike
    dataset = make_dataset(n)
    add_vectors(dataset, X)
    add_model(dataset, two_class(chances.tolist()))
    round_ = pull(dataset, STRATEGIES["uncertain"], UncertainParams(), Filters(), seed=0)
    page = ranked_rows(round_)[:40]
    assert page[0] < 120, "the least sure come first"
    assert (page < 120).sum() < 10
    scores = np.frombuffer(round_.scores, "<f4")
    assert (np.diff(scores[:40]) <= 0).all(), "and each page by doubt"
    assert sorted(ranked_rows(round_).tolist()) == list(range(n))
    assert round_.is_complete
    few = pull(dataset, STRATEGIES["uncertain"], UncertainParams(), Filters(), seed=0, k=7)
    assert ranked_rows(few).tolist() == page[:7].tolist()
    assert not few.is_complete


def test_band_holds_only_what_is_in_it(dataset: Dataset) -> None:
    chances = np.linspace(0, 1, N)
    chances[5] = np.nan
    add_model(dataset, two_class(chances.tolist()))
    cat, dog = dataset.classes.all()
    params = BandParams(low=0.25, high=0.5, of=cat.pk)
    rows = ranked_rows(pull(dataset, STRATEGIES["band"], params, Filters(), seed=0))
    assert rows.tolist() == [row for row in range(N - 1, -1, -1) if 0.25 <= np.float32(chances[row]) <= 0.5]
    mirrored = ranked_rows(pull(dataset, STRATEGIES["band"], BandParams(0.5, 0.75, dog.pk), Filters(), seed=0))
    assert set(mirrored.tolist()) == {row for row in range(N) if 0.5 <= 1 - np.float32(chances[row]) <= 0.75}
    top = ranked_rows(pull(dataset, STRATEGIES["band"], BandParams(0.9, 1.0), Filters(), seed=0))
    assert {int(row) for row in top} == {r for r in range(N) if max(chances[r], 1 - chances[r]) >= 0.9}
    with pytest.raises(BadParameter, match="low below high"):
        pull(dataset, STRATEGIES["band"], BandParams(0.8, 0.2), Filters(), seed=0)
    with pytest.raises(BadParameter, match="was not trained on this class"):
        pull(dataset, STRATEGIES["band"], BandParams(of=10**6), Filters(), seed=0)


def test_similar_is_exact_cosine_without_the_examples(dataset: Dataset) -> None:
    X = clouds()
    label(dataset, [6])
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    cosine = np.maximum(unit @ unit[3], unit @ unit[9])
    expected = [row for row in np.argsort(-cosine, kind="stable").tolist() if row not in {3, 9}]
    params = SimilarParams(to="3,9")
    every = pull(dataset, STRATEGIES["similar"], params, Filters(state=None), seed=0)
    assert ranked_rows(every)[:20].tolist() == expected[:20]
    unlabelled = pull(dataset, STRATEGIES["similar"], params, Filters(), seed=0)
    assert ranked_rows(unlabelled)[:19].tolist() == [row for row in expected if row != 6][:19]
    near = pull(dataset, STRATEGIES["similar"], SimilarParams("3", at_least=0.9), Filters(), seed=0)
    assert set(ranked_rows(near).tolist()) == {r for r in range(N) if unit[r] @ unit[3] >= 0.9} - {3, 6}


def test_auto_begins_typical_with_a_share_of_chance(dataset: Dataset) -> None:
    round_ = pull(dataset, STRATEGIES["auto"], NoParams(), Filters(), seed=5)
    tiles = deal(round_, 0, N, holder="", is_continued=False).tiles
    sources = Counter(tile.shown.queue for tile in tiles)
    assert set(sources) == {"auto/typical", "auto/diverse", "auto/audit"}
    assert sources["auto/typical"] > 2 * sources["auto/diverse"]
    assert 1 <= sources["auto/audit"] <= 15
    assert {tile.item.row % 3 for tile in tiles[:12]} == {0, 1, 2}, "every cloud is seen early"
    chances = [tile.shown.selection_probability for tile in tiles]
    assert all(0 < chance <= 1 for chance in chances)
    assert "Typical" in tiles[0].reason or "at random" in tiles[0].reason


def test_auto_follows_the_models_doubts_once_there_is_one(dataset: Dataset) -> None:
    chances = np.full(N, 0.99)
    doubtful = [4, 11, 23, 30, 44]
    chances[doubtful] = 0.5
    add_model(dataset, two_class(chances.tolist()))
    label(dataset, list(range(12)))
    round_ = pull(dataset, STRATEGIES["auto"], NoParams(), Filters(), seed=5)
    tiles = deal(round_, 0, 8, holder="", is_continued=False).tiles
    unsure = [tile.item.row for tile in tiles if tile.shown.queue == "auto/unsure"]
    assert {23, 30, 44} <= set(unsure[:5])


def test_auto_deals_what_stands_out_and_of_very_many_only_what_was_compared(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    chances = np.full(N, 0.8)
    chances[17] = 1  # no doubt about it, so it comes because it is odd
    add_model(dataset, two_class(chances.tolist()))
    label(dataset, list(range(12)))

    def odd() -> list[int]:
        round_ = pull(dataset, STRATEGIES["auto"], NoParams(), Filters(), seed=5)
        tiles = deal(round_, 0, N, holder="", is_continued=False).tiles
        return [tile.item.row for tile in tiles if tile.shown.queue == "auto/odd"]

    monkeypatch.setattr("sampling.queues.outlier_cache.AT_ONCE", 10)
    assert odd() == []
    monkeypatch.undo()
    assert odd()[:1] == [17]
    monkeypatch.setattr("sampling.queues.outlier_cache.AT_ONCE", 10)
    assert odd()[:1] == [17], "it is kept"


def test_auto_without_vectors_is_chance_and_says_so(make_dataset: MakeDataset, client: Client) -> None:
    make_dataset(5)
    page = client.get("/d/pictures/grid/?queue=auto").context["page"]
    assert len(page.tiles) == 5
    assert page.tiles[0].reason.startswith("Random, until there is a ranking")
    assert "random sample" in page.note


@pytest.mark.parametrize("queue", ["diverse", "oddities", "similar"])
def test_without_vectors_they_say_so(make_dataset: MakeDataset, client: Client, queue: str) -> None:
    make_dataset(3)
    assert "No embeddings yet" in client.get(f"/d/pictures/grid/?queue={queue}&to=1").content.decode()


def order(queue: str, **params: object) -> dict[str, object]:
    given = asdict(STRATEGIES[queue].params(**params))
    return asdict(Order(queue, given, Filters().as_params(), seed=1))


def rank(dataset: Dataset, job: Job) -> Round:
    """Pull what a job asks for, as a worker does."""
    made = Order(**job.params["order"]).pull(dataset)
    Job.objects.filter(pk=job.pk).update(
        state=Job.State.SUCCEEDED, result={"round": made.pk}, finished_at=job.created_at
    )
    return made


def test_a_worker_ranks_what_is_heavy(dataset: Dataset) -> None:
    job = run_now("rank", dataset_id=dataset.pk, params={"order": order("diverse"), "fingerprint": "x"})
    assert ranked_rows(Round.objects.get(pk=job.result["round"]))[1] == 17


@pytest.mark.parametrize(("queue", "state"), [("auto", Job.State.CANCELLED), ("diverse", Job.State.SUCCEEDED)])
def test_a_ranking_that_nobody_waits_for_ends_when_a_training_waits(
    dataset: Dataset, queue: str, state: Job.State
) -> None:
    params = {"order": order(queue, **({"by": "typical"} if queue == "diverse" else {})), "fingerprint": "x"}
    job = enqueue("rank", dataset_id=dataset.pk, params=params)
    enqueue("retrain", dataset_id=dataset.pk)
    execute(not_none(claim(job.pk)))
    assert fresh(job).state == state


def test_a_worker_says_what_cannot_be(dataset: Dataset) -> None:
    bad = {"order": order("similar", to="none"), "fingerprint": "x"}
    with pytest.raises(Refusal) as refused:
        run_now("rank", dataset_id=dataset.pk, params=bad)
    assert "choose images to compare with" in refused.value.hint


def test_a_page_without_a_worker_says_so_and_asks_once(
    dataset: Dataset, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "PATIENCE", 0.1)
    for _ in range(2):
        assert_contains(client.get("/d/pictures/grid/?queue=diverse"), "No worker is running", "data-waiting")
    assert Job.objects.filter(kind="rank").count() == 1


def test_auto_deals_by_chance_until_its_ranking_is_there(
    dataset: Dataset, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "PATIENCE_OF_AUTO", 0.05)
    first = client.get("/d/pictures/grid/?queue=auto&n=5").context["page"]
    assert {tile.shown.queue for tile in first.tiles} == {"auto/random"}
    assert "random sample" in first.note
    job = Job.objects.get(kind="rank")
    made = rank(dataset, job)
    # The worker's order came from a fresh page; the page that continues asks for its own.
    second = client.get(first.next_url).context["page"]
    assert second.round_id == made.pk
    assert second.note == ""
    assert "auto/typical" in {tile.shown.queue for tile in second.tiles}
    assert not {t.item.pk for t in first.tiles} & {t.item.pk for t in second.tiles}


def test_a_ranking_that_became_ready_meanwhile_is_shown(
    dataset: Dataset, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "PATIENCE", 0.1)
    client.get("/d/pictures/grid/?queue=diverse")
    job = Job.objects.get(kind="rank")
    made = rank(dataset, job)
    page = client.get("/d/pictures/grid/?queue=diverse&n=5").context["page"]
    assert page.round_id == made.pk
    assert page.tiles[1].item.row == 17
    assert Job.objects.filter(kind="rank").count() == 1


def test_similar_command(dataset: Dataset) -> None:
    item = dataset.items.get(row=3)
    told = command_json("similar", str(item.pk), "-k", "4")
    assert told["item_id"] == item.pk
    assert len(told["items"]) == 4
    assert set(told["items"][0]) == {"item_id", "path", "similarity"}
    assert command_json("similar", item.path, "-k", "4") == told
    with pytest.raises(CommandError, match="There is no image"):
        call_command("similar", "nothing.png")


def test_rankings_need_something_to_rank(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    for queue in ("uncertain", "band", "diverse", "oddities"):
        strategy = STRATEGIES[queue]
        with pytest.raises(Refusal):
            pull(dataset, strategy, strategy.params(), Filters(), seed=0)


# -- Oddities among very many images --------------------------------------------------------------------
@pytest.fixture
def many(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Make a dataset count as very large."""
    for module in (shared, outlier_cache, dispatch):
        monkeypatch.setattr(module, "AT_ONCE", N - 1)
    return dataset


def words_of(client: Client, queue: str = "oddities") -> str:
    return str(client.get(f"/d/pictures/grid/?queue={queue}").content.decode())


def test_many_images_are_compared_by_a_job_once_and_the_page_says_how_far(many: Dataset, client: Client) -> None:
    assert "hoshina worker heavy" in words_of(client)
    assert "data-waiting" in words_of(client)
    job = Job.objects.get(kind="oddness")
    assert (job.queue, job.params) == ("heavy", {"method": "local outlier factor"})
    began = timezone.now() - timedelta(minutes=2)
    Job.objects.filter(pk=job.pk).update(
        state=Job.State.RUNNING, done=40, total=100, stage_started_at=began, worker=me(), heartbeat_at=timezone.now()
    )
    assert "40 % done, about 3 min left." in words_of(client)
    assert not Job.objects.filter(kind="rank").exists(), "nothing is ranked before"
    Job.objects.filter(pk=job.pk).update(state=Job.State.QUEUED)
    seen: list[tuple[str, int, int]] = []
    done = run_now(
        "oddness", dataset_id=many.pk, params=job.params,
        on_progress=lambda job: seen.append((job.stage, job.done, job.total)),
    )  # fmt: skip
    assert done.pk == job.pk
    assert done.result["images"] == N
    assert done.result["recall"] >= 0.95
    assert ("Finding the nearest neighbors of each image", 0, N) in seen
    client.get("/d/pictures/grid/?queue=oddities")
    assert Job.objects.filter(kind="rank").count() == 1, "now it is ranked"
    assert ranked_rows(pull(many, STRATEGIES["oddities"], OdditiesParams(), Filters(), seed=0))[0] == 17


def test_a_comparison_that_was_cancelled_is_not_begun_again_unasked(many: Dataset, client: Client) -> None:
    words_of(client)
    cancel(Job.objects.get(kind="oddness"))
    assert "Retry the job on the Jobs page" in words_of(client)
    assert "data-waiting" not in words_of(client)
    assert Job.objects.filter(kind="oddness").count() == 1
    Job.objects.update(finished_at=timezone.now() - timedelta(hours=1))
    assert "data-waiting" in words_of(client)
    assert Job.objects.filter(kind="oddness").count() == 2


def test_the_command_compares_first_and_the_second_pull_reads_what_was_kept(
    many: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = command_json("queue", "oddities", "-n", "5", "--seed", "1")
    assert Job.objects.get(kind="oddness").state == Job.State.SUCCEEDED
    again = Mock(side_effect=AssertionError("computed twice"))
    for module, name in (
        (outliers, "local_outlier_factor"), (outliers, "isolation"), (neighbors, "project"), (neighbors, "knn_graph"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, again)
    assert command_json("queue", "oddities", "-n", "5", "--seed", "1")["items"] == first["items"]
    assert Job.objects.filter(kind="oddness").count() == 1


def test_a_comparison_without_vectors_says_so(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    with pytest.raises(Refusal, match="no embeddings yet"):
        run_now("oddness", dataset_id=dataset.pk, params={"method": "isolation forest"})


def test_similar_refuses_what_it_does_not_understand(dataset: Dataset, client: Client) -> None:
    with pytest.raises(Refusal, match="No example chosen"):
        pull(dataset, STRATEGIES["similar"], SimilarParams(), Filters(), seed=0)
    for params in (SimilarParams("1,x"), SimilarParams("3", 2), SimilarParams("3", float("nan"))):
        with pytest.raises(BadParameter, match="Similar: "):
            pull(dataset, STRATEGIES["similar"], params, Filters(), seed=0)
    form = client.get("/d/pictures/queues/?queue=similar&to=3,3,999,5&back=queue%3Dband%26low%3D0.1").content.decode()
    assert_contains(form, "Similar to any of these <b>2</b> images", "Back to Band", "?queue=band&amp;low=0.1")
    form = client.get("/d/pictures/queues/?queue=similar&to=3&back=queue%3Dnone").content.decode()
    assert "Similar to this image" in form


def test_similar_to_several_by_the_command(dataset: Dataset) -> None:
    X = clouds()
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    alike = np.maximum(unit @ unit[3], unit @ unit[8])
    ids = dict(dataset.items.values_list("row", "pk"))
    told = command_json("similar", str(ids[3]), "image0008.png", "-k", "99", "--at-least", "0.5")
    assert (told["item_id"], told["like"]) == (ids[3], [ids[3], ids[8]])
    expected = {ids[row] for row in range(N) if alike[row] >= 0.5 and row not in {3, 8}}
    assert {item["item_id"] for item in told["items"]} == expected
    assert "No other image is this similar" in command_output("similar", str(ids[17]), "--at-least", "1")


# -- Rare and new classes -------------------------------------------------------------------------------
def test_similar_to_a_class_needs_one_label_and_avoids_the_others(dataset: Dataset) -> None:
    X = clouds()
    classes = list(dataset.classes.values_list("pk", flat=True))
    with pytest.raises(BadParameter, match="no labels yet"):
        pull(dataset, STRATEGIES["similar"], SimilarParams(of=classes[0]), Filters(), seed=0)
    import_labels(dataset, [0, 1, 2, 4], np.array([0, 1, 1, 0, 1] + [0] * N))
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    scores = unit @ unit[0] - np.maximum.reduce([unit @ unit[row] for row in (1, 2, 4)])
    expected = [row for row in np.argsort(-scores, kind="stable").tolist() if row not in {0, 1, 2, 4}]
    round_ = pull(dataset, STRATEGIES["similar"], SimilarParams(of=classes[0]), Filters(), seed=0)
    assert ranked_rows(round_)[:15].tolist() == expected[:15]
    assert {row % 3 for row in ranked_rows(round_)[:15].tolist()} == {0}


@pytest.mark.usefixtures("ranked_at_once")
def test_similar_to_a_class_follows_its_labels(dataset: Dataset, client: Client) -> None:
    label(dataset, [0, 1])
    of = dataset.classes.values_list("pk", flat=True)[0]
    first = client.get(f"/d/pictures/grid/?queue=similar&of={of}&n=5").context["page"]
    second = client.get(first.next_url).context["page"]
    assert second.round_id == first.round_id
    label(dataset, [2])
    third = client.get(second.next_url).context["page"]
    assert third.round_id != first.round_id, "a new label of the class ranks anew"
    form = client.get(f"/d/pictures/queues/?queue=similar&of={of}").content.decode()
    assert_contains(form, "2 labels of <b>cat</b>", f'name="of" value="{of}"')


@pytest.mark.usefixtures("ranked_at_once")
def test_unlike_shows_the_cloud_without_labels_and_its_groups(dataset: Dataset, client: Client) -> None:
    assert "No labels yet" in client.get("/d/pictures/grid/?queue=unlike").content.decode()
    label(dataset, [row for row in range(36) if row % 3])
    page = client.get("/d/pictures/grid/?queue=unlike&n=8").context["page"]
    assert {tile.item.row % 3 for tile in page.tiles} == {0}
    assert page.tiles[0].reason.startswith("Unlike all classes, group 1 of")
    assert page.tiles[0].shown.queue == "unlike/1"
    sizes = Round.objects.get(pk=page.round_id).params["facts"]["groups"]
    groups = client.get("/d/pictures/queues/unlike/").content.decode()
    assert_contains(groups, f"{sizes[0]} image", "Group 1", 'aria-current="true"')
    beyond = client.get(f"/d/pictures/grid/?queue=unlike&group={len(sizes) + 1}").context["page"]
    assert not beyond.tiles
    shown = client.get(f"/d/pictures/grid/?queue=unlike&group={len(sizes) + 1}").content.decode()
    assert_contains(shown, "No further groups", lacks=["embeddings"])
    assert "group must be 1 or more" in client.get("/d/pictures/grid/?queue=unlike&group=0").content.decode()
    label(dataset, [row for row in range(36) if row % 3 == 0][:3])
    shown = client.get("/d/pictures/grid/?queue=unlike").content.decode()
    assert_contains(shown, "No such groups", lacks=["embeddings"])
