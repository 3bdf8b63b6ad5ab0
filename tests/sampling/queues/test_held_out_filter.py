"""Filters by what a version had not seen: a cell of its confusion has the images that it counts, to the very one."""

import re

import numpy as np
import pytest
from django.test import Client

from hoshina.jobs.lifecycle import run_now
from labeling.models import Dataset, Item, LabelClass, State
from modeling.models import ModelVersion, RetrainPolicy
from modeling.versions import model_files
from modeling.versions.comparison import shared
from sampling.accuracy.estimate import judge
from sampling.models import Round, ServedPage
from sampling.queues.held_out_filter import Unseen, unseen_from
from sampling.queues.pull import Filters, filters_from
from sampling.queues.strategy import BadParameter
from tests.factories import MakeDataset, assert_contains, not_none, text
from tests.modeling.factories import add_vectors, import_labels

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
N = 160


def clouds(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return three overlapping clouds, so that some are confused."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(N) % 3)
    return (rng.normal(size=(N, 6)) + np.eye(3, 6)[y] * 1.5).astype(np.float32), y


@pytest.fixture
def trained(make_dataset: MakeDataset) -> Dataset:
    """Provide two versions, of 90 and of 120 labels."""
    dataset = make_dataset(N, classes=("cat", "dog", "wolf"))
    X, y = clouds()
    add_vectors(dataset, X)
    for n in (90, 120):
        import_labels(dataset, list(range(n)), y)
        run_now("retrain", dataset_id=dataset.pk)
    return dataset


def rows_shown(client: Client, dataset: Dataset, query: str) -> list[int]:
    answer = client.get(f"/d/{dataset.slug}/grid/?n=200&{query}")
    assert answer.status_code == 200, answer.content.decode()
    return sorted(int(row) for row in re.findall(r'data-row="(\d+)"', answer.content.decode()))


@pytest.mark.parametrize("calibration", ["temperature", "platt", "vector"])
def test_every_cell_has_as_many_images_as_it_counts(
    make_dataset: MakeDataset, client: Client, calibration: str
) -> None:
    dataset = make_dataset(N, classes=("cat", "dog", "wolf"))
    X, y = clouds()
    add_vectors(dataset, X)
    import_labels(dataset, list(range(120)), y)
    RetrainPolicy.objects.update_or_create(dataset=dataset, defaults={"calibration": calibration})
    run_now("retrain", dataset_id=dataset.pk)
    version = ModelVersion.objects.get()
    seen: list[int] = []
    for given, counts in zip(version.class_ids, version.metrics["confusion"], strict=True):
        for said, n in zip(version.class_ids, counts, strict=True):
            rows = rows_shown(client, dataset, f"queue=all&state=any&label={given}&predicted={said}&confused=1")
            assert len(rows) == n
            seen += rows
    assert sorted(seen) == list(range(120)), "every label that was held out is in one cell"


def test_a_cell_keeps_its_images_when_labels_and_classes_change(trained: Dataset, client: Client) -> None:
    version = ModelVersion.objects.get(number=2)
    cat, dog, wolf = version.class_ids
    query = f"queue=all&state=any&label={cat}&predicted={dog}&confused=2"
    before = rows_shown(client, trained, query)
    assert before
    Item.objects.filter(row=before[0]).update(label_id=dog)
    LabelClass.objects.filter(pk=cat).update(is_retired=True, merged_into=wolf)
    LabelClass.objects.filter(pk=dog).update(is_retired=True)
    assert rows_shown(client, trained, query) == before
    Item.objects.filter(row=before[0]).update(is_available=False)
    trained.n_missing = 1
    trained.save()
    assert rows_shown(client, trained, query) == before[1:], "a file that is gone can't be shown"


def test_the_filter_is_that_of_the_version_and_not_of_the_one_in_use(trained: Dataset, client: Client) -> None:
    first = ModelVersion.objects.get(number=1)
    assert len(rows_shown(client, trained, "queue=all&state=any&confused=1")) == first.n_labels == 90
    assert len(rows_shown(client, trained, "queue=all&state=any&confused=2")) == 120


def test_tiles_say_what_the_version_thought_without_having_seen_them(trained: Dataset, client: Client) -> None:
    cat, dog = trained.classes.order_by("pk")[:2]
    answer = client.get(f"/d/{trained.slug}/grid/?n=9&queue=all&state=any&label={cat.pk}&predicted={dog.pk}&confused=1")
    assert re.search(r"Labeled cat; model 1 predicted dog \(0\.\d\d\)", answer.content.decode())
    first = ModelVersion.objects.get(number=1)
    assert {tile.shown.model_version_id for tile in answer.context["page"].tiles} == {first.pk}
    assert ServedPage.objects.get().model_version_id == first.pk


@pytest.mark.parametrize("side", ["first", "second", "neither"])
def test_what_two_versions_differ_on_is_shown_by_side(trained: Dataset, client: Client, side: str) -> None:
    first, second = ModelVersion.objects.order_by("number")
    both = not_none(shared(first, second))
    rows = rows_shown(client, trained, f"queue=all&state=any&differ=1-2&right={side}")
    assert rows == both.side(side).tolist()
    page = client.get(f"/d/{trained.slug}/grid/?n=9&queue=all&state=any&differ=1-2&right={side}").content.decode()
    assert not rows or re.search(r"Labeled \w+; model 1 predicted \w+ \(.*?\); model 2 predicted", page)


def test_the_pages_of_such_a_pull_go_on_with_the_filter(trained: Dataset, client: Client) -> None:
    page = client.get(f"/d/{trained.slug}/grid/?n=50&queue=all&state=any&confused=1").content.decode()
    found: list[str] = []
    while page:
        found += re.findall(r'data-row="(\d+)"', page)
        following = re.search(r'data-next="([^"]+)"', page)
        page = client.get(following[1].replace("&amp;", "&")).content.decode() if following else ""
    assert [int(row) for row in found] == list(range(90))


def test_the_form_says_what_is_shown_and_keeps_it(trained: Dataset, client: Client) -> None:
    cat, dog = trained.classes.order_by("pk")[:2]
    query = f"queue=all&state=any&label={cat.pk}&predicted={dog.pk}&confused=1"
    form = client.get(f"/d/{trained.slug}/queues/?{query}").content.decode()
    assert "Images labeled cat, predicted as dog by model 1 when held out." in form
    for name, value in (("label", cat.pk), ("predicted", dog.pk), ("confused", 1), ("state", "any")):
        assert f'<input type="hidden" name="{name}" value="{value}">' in form
    assert "choice-label" not in form
    form = client.get(f"/d/{trained.slug}/queues/?queue=all&differ=1-2&right=neither").content.decode()
    assert "Images on which models 1 and 2 differ: both are wrong." in form
    assert "choice-label" in client.get(f"/d/{trained.slug}/queues/?queue=all").content.decode()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("confused=9", "There is no model 9"),
        ("confused=two", "Give the number of a model"),
        ("confused=%C2%B2", "Give the number of a model"),
        ("confused=1&label=9999", "Model 1 was not trained on that class"),
        ("differ=1&right=first", "Give the number of a model"),
        ("differ=1-2", "right must be one of first, second, neither"),
        ("differ=1-7&right=first", "There is no model 7"),
    ],
)
def test_what_cannot_be_is_refused_in_words(trained: Dataset, client: Client, query: str, words: str) -> None:
    assert words in text(client.get(f"/d/{trained.slug}/grid/?queue=all&state=any&{query}"), 422)
    assert client.get(f"/d/{trained.slug}/queues/?queue=all&{query}").status_code == 200


def test_what_was_given_back_to_the_disk_is_said(trained: Dataset, client: Client) -> None:
    first = ModelVersion.objects.get(number=1)
    model_files.delete_files(first)
    for query in ("confused=1", "differ=1-2&right=first"):
        told = client.get(f"/d/{trained.slug}/grid/?queue=all&state=any&{query}").content.decode()
        assert_contains(told, "No longer stored", "The held-out predictions of model")


def test_another_datasets_versions_are_not_asked(trained: Dataset, make_dataset: MakeDataset, client: Client) -> None:
    other = make_dataset(3, name="other")
    refused = client.get(f"/d/{other.slug}/grid/?queue=all&state=any&confused=1")
    assert "There is no model 1" in refused.content.decode()


def test_a_round_remembers_the_filter_and_others_are_as_before() -> None:
    for unseen in (Unseen(confused=3), Unseen(differ=(3, 7), right="neither")):
        filters = Filters(None, 4, 5, unseen)
        assert filters_from(filters.as_params()) == filters
    assert Filters().as_params() == {"state": "unlabelled", "label": None, "predicted": None}
    assert filters_from(Filters(State.LABELLED, 2).as_params()) == Filters(State.LABELLED, 2)
    assert unseen_from({}) is None
    with pytest.raises(BadParameter):
        unseen_from({"differ": "3-", "right": "first"})


def test_looking_at_confusions_is_no_audit(trained: Dataset, client: Client) -> None:
    rows_shown(client, trained, "queue=all&state=any&confused=1")
    assert Round.objects.latest("pk").params["filters"]["confused"] == 1
    assert not judge(ModelVersion.objects.get(number=2)).is_audit.any()
