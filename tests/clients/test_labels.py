"""Labels by the Python client: with provenance, in batches, against other people, and undone."""

import numpy as np
import pytest
from hoshina_client import Conflict, Dataset, Refused, Server, connect

from tests.clients.conftest import N_IMAGES, Running
from tests.factories import assert_contains

pytestmark = pytest.mark.slow


def test_a_queue_becomes_labels_with_how_they_were_selected(galaxies: Dataset) -> None:
    items = galaxies.queue("random", 5, seed=3)
    assert len(items) == 5
    saved = galaxies.label(items[0], "spiral")
    assert (saved.n_items, saved.n_actions) == (1, 1)
    assert (items[0].state, items[0].label) == ("labeled", "spiral")
    decision = galaxies.history(items[0])[0]
    assert (decision["queue"], decision["round"], decision["rank"]) == ("random", items.round, items[0].rank)
    assert decision["selection_probability"] is not None
    # A class for each item: one action for each class.
    saved = galaxies.label(items[1:], ["spiral", "elliptical", "spiral", "elliptical"], suggestion_shown=False)
    assert (saved.n_items, saved.n_actions) == (4, 2)
    found = {item.id: item.label for item in galaxies.labels()}
    assert found == {item.id: item.label for item in items}
    assert sorted(label or "" for label in found.values()) == ["elliptical"] * 2 + ["spiral"] * 3
    assert not galaxies.history(items[2])[0]["suggestion_shown"]  # None as long as there is no model
    galaxies.undo(saved.n_actions)
    assert [item.id for item in galaxies.labels()] == [items[0].id]


def test_other_decisions(galaxies: Dataset) -> None:
    first, second, third = galaxies.queue("random", 3)
    galaxies.unsure(first)
    galaxies.skip([second, third])
    assert [first.state, second.state, third.state] == ["unsure", "skipped", "skipped"]
    assert {item.id for item in galaxies.items(state="skipped")} == {second.id, third.id}
    galaxies.clear(second)
    assert galaxies.item(second.id).state == "unlabeled"
    assert galaxies.item(first.path).state == "unsure"


def test_items_by_ids_of_pandas(galaxies: Dataset) -> None:
    table = galaxies.queue("random", 4).to_pandas()
    assert list(table.columns[:4]) == ["item_id", "path", "state", "label"]
    saved = galaxies.label(table.item_id, np.array(["spiral"] * 4).tolist())
    assert saved.n_items == 4
    assert list(galaxies.labels().to_pandas().label) == ["spiral"] * 4


def test_someone_else_was_faster(galaxies: Dataset, eva: Dataset) -> None:
    mine = [galaxies.item(item.id) for item in galaxies.queue("random", 3, seed=1)]
    eva.label(eva.item(mine[1].id), "elliptical")
    with pytest.raises(Conflict) as caught:
        galaxies.label(mine, "spiral")
    [conflict] = caught.value.conflicts
    assert (conflict.item_id, conflict.label, conflict.by) == (mine[1].id, "elliptical", "eva")
    assert caught.value.saved.n_items == 2
    assert_contains(str(caught.value), f"item {mine[1].id} is 'elliptical' by eva", "overwrite=True")
    assert eva.item(mine[1].id).label == "elliptical"
    assert mine[1].label is None
    galaxies.label(mine[1], "spiral", overwrite=True)
    assert eva.item(mine[1].id).label == mine[1].label == "spiral"


def test_more_items_than_a_request_takes(server: Server) -> None:
    digits = server.dataset("digits")
    ids = [item.id for item in digits.items(include=(), page=1000)]
    assert len(ids) == 1797
    saved = digits.skip([*ids, *ids, *ids], overwrite=True)
    assert saved.n_actions == 3
    assert digits.info()["n_skipped"] == 1797
    assert len(digits.queue("random", 300)) == 0
    digits.clear(ids)
    items = digits.queue("random", 300)
    assert len({item.id for item in items}) == 300, "two pages of one round"
    assert len({item.rank for item in items}) == 300


def test_refusals_say_what_to_do(galaxies: Dataset, running: Running) -> None:
    item = galaxies.queue("random", 1)[0]
    with pytest.raises(Refused) as caught:
        galaxies.label(item, "irregular")
    assert_contains(str(caught.value), "There is no class with the name 'irregular'", "spiral, elliptical")
    assert (caught.value.status, caught.value.field) == (422, "class_name")
    with pytest.raises(ValueError, match="2 items and 1 labels"):
        galaxies.label([1, 2], ["spiral"])
    with pytest.raises(ValueError, match="two labels"):
        galaxies.label([item, item], ["spiral", "elliptical"])
    with pytest.raises(TypeError, match="names are text"):
        galaxies.label([item], [3])  # type: ignore[list-item]
    with pytest.raises(Refused, match="no queue 'nonsense'"):
        galaxies.queue("nonsense")
    with pytest.raises(Refused, match="no parameter 'x'"):
        galaxies.queue("random", params={"x": 1})
    with connect(running.url, running.tokens["ann"]) as reader:
        assert reader.scope == "read"
        with pytest.raises(Refused, match="may only read") as read_only:
            reader.dataset("galaxies").label(item.id, "spiral")
        assert "Read and write" in read_only.value.hint
    with connect(running.url, running.tokens["tom"]) as labeler, pytest.raises(Refused) as role:
        labeler.dataset("galaxies").add_class("new")
    assert role.value.status == 403
    assert galaxies.labels() == []


def test_items_are_iterated_in_pages(galaxies: Dataset) -> None:
    paths = [item.path for item in galaxies.items(page=7)]
    assert paths == [f"image{number:03d}.png" for number in range(N_IMAGES)]
    with pytest.raises(Refused):
        list(galaxies.items(state="labelled or not"))
    with pytest.raises(Refused, match="There is no item with the path"):
        galaxies.item("nowhere.png")


def test_classes_and_all_decisions(galaxies: Dataset) -> None:
    try:
        changed = galaxies.edit_class("spiral", name="barred", color="#112233", key="b")
        assert (changed.name, changed.color, changed.key) == ("barred", "#112233", "b")
        assert "barred" in {label.name for label in galaxies.classes}
        with pytest.raises(Refused, match="no class 'spiral'"):
            galaxies.edit_class("spiral", name="x")
    finally:
        galaxies.edit_class(next(label for label in galaxies.classes if label.key == "b"), name="spiral", key="1")
    last = max([decision["id"] for decision in galaxies.decisions()], default=0)
    items = galaxies.queue("random", 2)
    galaxies.label(items, "spiral")
    found = list(galaxies.decisions(after=last))
    assert [decision["item_id"] for decision in found] == [item.id for item in items]
    assert {(decision["class_name"], decision["queue"]) for decision in found} == {("spiral", "random")}
