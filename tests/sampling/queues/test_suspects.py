"""Suspects: labels that the model doubts without having learnt from them, on the page and in the command."""

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from hoshina.jobs.lifecycle import run_now
from labeling.decisions.save import Decision, record_import
from labeling.models import Annotation, Dataset, Item, LabelClass, Lease, State
from modeling.models import ModelVersion
from sampling.queues.registry import STRATEGIES
from tests.factories import MakeDataset, assert_contains, command_json, command_output, decide, not_none
from tests.modeling.factories import add_vectors, import_labels, two_clouds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
GRID = "/d/pictures/grid/?queue=suspects"
WRONG = [7, 20, 33]


def tiles(client: Client, url: str = GRID) -> list[int]:
    return [tile.item.row for tile in client.get(url).context["page"].tiles]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    """Provide sixty of eighty images labelled by a clear rule, three of them wrongly, and a model of it."""
    dataset = make_dataset(80)
    X, y = two_clouds(80)
    X += 3 * y[:, None]
    given = y.copy()
    given[WRONG] = 1 - given[WRONG]
    add_vectors(dataset, X)
    import_labels(dataset, list(range(60)), given)
    run_now("retrain", dataset_id=dataset.pk)
    return dataset


def name_of(dataset: Dataset, row: int) -> str:
    return not_none(Item.objects.get(dataset=dataset, row=row).label).name


def test_the_wrong_labels_are_shown_with_what_the_model_thinks(dataset: Dataset, client: Client) -> None:
    page = client.get(GRID)
    shown = page.context["page"].tiles
    assert sorted(tile.item.row for tile in shown) == WRONG
    for tile in shown:
        given = name_of(dataset, tile.item.row)
        other = {"cat": "dog", "dog": "cat"}[given]
        assert tile.reason.startswith(f"Labeled {given}; the model predicts {other} (")
        assert tile.shown.queue == "suspects"
        assert (tile.label.name, tile.suggestion.label.name) == (given, other)
    scores = [tile.shown.score for tile in shown]
    assert scores == sorted(scores, reverse=True)
    assert all(score > 0.5 for score in scores)
    assert not any("(1.00)" in tile.reason for tile in shown)
    assert "Labeled cat; the model predicts dog" in page.content.decode()
    assert not Lease.objects.exists(), "labelled images are not dealt to one person alone"


def test_the_page_of_queues_shows_labelled_ones(dataset: Dataset, client: Client) -> None:
    def state(query: str) -> str:
        return str(client.get(f"/d/pictures/queues/{query}").context["chosen"]["state"])

    assert state("?queue=suspects") == "labelled"
    assert '<option value="labelled" selected>' in client.get("/d/pictures/queues/?queue=suspects").content.decode()
    assert state("?queue=all") == "any"
    assert state("?queue=random") == state("") == "unlabelled"
    assert state("?queue=random&label=1") == "any"
    assert state("?queue=suspects&state=any") == "any"


def test_who_corrects_or_confirms_a_label_is_not_asked_again(dataset: Dataset, client: Client) -> None:
    decide(dataset, "assign", [7], {"cat": "dog", "dog": "cat"}[name_of(dataset, 7)], queue="suspects")
    assert sorted(tiles(client)) == [20, 33]
    decide(dataset, "assign", [20], name_of(dataset, 20), queue="suspects")
    assert tiles(client) == [33]
    run_now("retrain", dataset_id=dataset.pk)
    assert 20 not in tiles(client), "confirmed in this queue: not asked again by the next model either"
    decide(dataset, "undo")
    assert 20 in tiles(client)


def test_a_label_changed_since_in_any_queue_is_no_suspect(dataset: Dataset, client: Client) -> None:
    decide(dataset, "assign", [33], {"cat": "dog", "dog": "cat"}[name_of(dataset, 33)], queue="all")
    assert sorted(tiles(client)) == [7, 20]


def test_the_only_label_of_a_class_is_no_suspect(dataset: Dataset, client: Client) -> None:
    bird = LabelClass.objects.create(dataset=dataset, name="bird", colour="#009E73", order=9)
    record_import(dataset, [Decision(dataset.items.get(row=2).pk, State.LABELLED, bird.pk)], None)
    run_now("retrain", dataset_id=dataset.pk)
    assert 2 not in tiles(client)


def test_disagreements_that_are_not_suspect_are_counted(dataset: Dataset, client: Client) -> None:
    for row in WRONG:
        decide(dataset, "assign", [row], name_of(dataset, row), queue="suspects")
    shown = client.get(GRID).content.decode()
    assert_contains(shown, "No suspect labels", "model 1 differ from 3 of 60 labels", 'href="/d/pictures/results/"')


def test_nothing_suspect_and_too_few_labels_are_said(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(60)
    X, y = two_clouds(60)
    add_vectors(dataset, X + 5 * y[:, None])
    assert "No model yet" in client.get(GRID).content.decode()
    import_labels(dataset, list(range(12)), y)
    run_now("retrain", dataset_id=dataset.pk)
    assert "20 labels of two classes" in client.get(GRID).content.decode()
    with pytest.raises(CommandError, match="20 labels of two classes"):
        call_command("queue", "suspects")
    import_labels(dataset, list(range(40)), y)
    run_now("retrain", dataset_id=dataset.pk)
    assert "No suspect labels" in client.get(GRID).content.decode()
    assert "No suspect labels" in command_output("queue", "suspects")


def test_the_command_lists_labelled_images(dataset: Dataset) -> None:
    told = command_json("queue", "suspects")
    rows = dict(Item.objects.filter(dataset=dataset).values_list("pk", "row"))
    assert sorted(rows[one["item_id"]] for one in told["items"]) == WRONG
    assert all(one["reason"].startswith("Labeled ") for one in told["items"])


def test_without_its_file_it_asks_for_a_retrain(dataset: Dataset, client: Client) -> None:
    from modeling.versions import model_files

    model_files.delete_files(ModelVersion.objects.get())
    assert tiles(client) == []
    assert "press" in client.get(GRID).content.decode()


def test_it_is_listed_and_its_decisions_are_kept_apart(dataset: Dataset, client: Client) -> None:
    assert STRATEGIES["suspects"].is_listed
    assert "Suspects" in client.get("/d/pictures/queues/").content.decode()
    decide(dataset, "assign", [7], "cat", queue="suspects")
    assert Annotation.objects.filter(queue="suspects").count() == 1
