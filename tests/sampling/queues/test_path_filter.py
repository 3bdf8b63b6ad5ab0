"""Find images by a part of their path."""

import json
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client

from labeling.models import Dataset, Item, State
from sampling.models import Round
from sampling.queues.pull import filters_from, rows_by_path
from tests.factories import MakeDataset, text
from tests.sampling.factories import add_model, two_class

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    dataset = make_dataset(40)
    for row, path in ((3, "Night 1/M31_a.fits"), (7, "night 2/m31_b.fits"), (9, "night 2/100%_é.png")):
        Item.objects.filter(dataset=dataset, row=row).update(path=path)
    return dataset


def found(client: Client, query: str) -> set[int]:
    return {tile.item.row for tile in client.get(f"/d/pictures/grid/?n=30&{query}").context["page"].tiles}


@pytest.mark.parametrize("queue", ["all", "random", "uncertain", "auto", "band"])
def test_every_queue_shows_only_images_whose_path_contains_the_text(
    dataset: Dataset, client: Client, queue: str
) -> None:
    add_model(dataset, two_class(np.linspace(0.5, 0.7, 40).tolist()))
    assert found(client, f"queue={queue}&path=m31") == {3, 7}
    assert not Round.objects.get().is_unfiltered
    assert filters_from(Round.objects.get().params["filters"]).path == "m31"


def test_the_text_is_taken_literally(dataset: Dataset, client: Client) -> None:
    assert rows_by_path(dataset, "0%_é").tolist() == [9]
    for path in ("%25", "_"):
        assert found(client, f"queue=all&path={path}") <= {3, 7, 9}
    assert found(client, "queue=all&path=%00m31%20") == {3, 7}


def test_labeled_images_are_found_too(dataset: Dataset, client: Client) -> None:
    cat = dataset.classes.get(name="cat")
    Item.objects.filter(row=3).update(state=State.LABELLED, label=cat)
    assert found(client, "queue=all&path=m31") == {3, 7}
    assert found(client, "queue=all&path=m31&state=unlabelled") == {7}
    empty = client.get("/d/pictures/grid/?queue=all&path=night 1&state=unlabelled")
    assert "No image whose path contains “night 1” matches the other filters." in text(empty)
    assert "state=any&amp;path=night+1" in text(empty)
    assert "No path contains “venus”." in text(client.get("/d/pictures/grid/?queue=all&path=venus"))
    assert "characters. Use at most 200" in text(client.get("/d/pictures/grid/?queue=all&path=" + "x" * 201))


def test_the_form_keeps_the_text(dataset: Dataset, client: Client) -> None:
    page = text(client.get("/d/pictures/queues/?queue=all&path=<m31>"))
    assert 'name="path" type="search" maxlength="200" value="&lt;m31&gt;"' in page
    assert '<option value="any" selected>' in page


def test_the_command(dataset: Dataset, capsys: Any) -> None:
    call_command("queue", "all", "--path", "m31", "--json")
    items = json.loads(capsys.readouterr().out)["items"]
    assert [item["path"] for item in items] == ["Night 1/M31_a.fits", "night 2/m31_b.fits"]
