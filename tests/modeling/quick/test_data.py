"""Labels, their three parts, and pixels: what a quick training learns from."""

import hashlib
import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hoshina.core.errors import Refusal
from hoshina.jobs.models import Job
from labeling.decisions.random_draws import random_draws
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.fields.split_groups import choose, keys_together
from labeling.images.encoder_inputs import squash
from labeling.images.open_image import open_for_resizing
from labeling.images.rendering import Rendering
from labeling.models import Action, Annotation, Dataset, Frame, Item, State
from modeling.assistive.holdout_groups import HoldoutGroups, holdout_groups_of
from modeling.encoders.input_spec import InputSpec
from modeling.encoders.network_input import NetworkInput, inputs_of
from modeling.quick import data as quick_data
from modeling.quick.data import STOPPING, TEST, TRAIN, Labels, split
from modeling.quick.options import QuickOptions
from tests.factories import MakeDataset, fresh, not_none
from tests.modeling.factories import import_labels


def labels_of(y: list[int], groups: list[int] | None = None, audit: list[int] | None = None) -> Labels:
    n = len(y)
    names = groups if groups is not None else list(range(n))
    return Labels(
        rows=np.arange(n),
        y=np.array(y),
        paths=[{"image": f"{at}.png"} for at in range(n)],
        hashes=[(hashlib.sha256(str(name).encode()).hexdigest(),) for name in names],
        is_audit=np.isin(np.arange(n), audit or []),
        class_ids=list(range(max(y) + 1)),
        n_decisions=n,
    )


def parts_of(labels: Labels, options: QuickOptions) -> np.ndarray:
    """Return the split of labels that only their files keep together."""
    keys = keys_together(None, labels.rows, labels.hashes, options.seed)
    return split(labels, HoldoutGroups(keys, None, np.zeros(len(keys), np.bool_)), options)


# -- The split ---------------------------------------------------------------------------------------
def test_each_class_is_split_by_the_share() -> None:
    y = np.repeat([0, 1, 2], [100, 50, 20])
    parts = parts_of(labels_of(y.tolist()), QuickOptions(validation_share=0.2))
    for column, n in enumerate((100, 50, 20)):
        assert np.bincount(parts[y == column], minlength=3).tolist() == [n * 8 // 10, n // 10, n // 10]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=10, max_size=80),
    st.sampled_from([0.1, 0.2, 0.5]),
    st.integers(0, 5),
)
def test_identical_images_never_straddle_and_every_class_is_learnt(
    items: list[tuple[int, int]], share: float, seed: int
) -> None:
    y, groups = [label for label, _ in items], [group for _, group in items]
    options = QuickOptions(validation_share=share, seed=seed)
    held = [{group for label, group in items if label == own} for own in set(y)]
    only_ones = set.union(set(), *(one for one in held if len(one) == 1))
    if len(set(groups)) < 3 or len(only_ones) > len(set(groups)) - 2:
        with pytest.raises(Refusal, match=f"form {len(set(groups))} group"):
            parts_of(labels_of(y, groups), options)
        return
    try:
        parts = parts_of(labels_of(y, groups), options)
    except Refusal:  # two classes may share the groups that could be spared
        return
    assert set(parts.tolist()) == {TRAIN, STOPPING, TEST}
    for group in set(groups):
        assert len({int(part) for part, own in zip(parts, groups, strict=True) if own == group}) == 1
    for label in set(y):
        assert TRAIN in parts[np.array(y) == label]


def test_what_chance_drew_is_tested_first() -> None:
    y = [0, 1] * 100
    audit = list(range(30, 42))
    parts = parts_of(labels_of(y, audit=audit), QuickOptions(validation_share=0.2))
    assert (parts[audit] == TEST).all()
    assert (parts == TEST).sum() == 20
    assert (parts == STOPPING).sum() == 20
    many = list(range(100))
    parts = parts_of(labels_of(y, audit=many), QuickOptions(validation_share=0.2))
    assert set(np.flatnonzero(parts == TEST)) <= set(many), "as many as the share takes"
    assert (parts == TEST).sum() == 20


def test_the_seed_decides_and_a_new_label_moves_few_others() -> None:
    y = [0, 1, 2] * 50
    one, same, other = (parts_of(labels_of(y), QuickOptions(seed=seed)) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
    more = parts_of(labels_of([*y, 0, 1, 2]), QuickOptions(seed=1))
    assert (more[: len(y)] != one).sum() <= 6


@pytest.mark.django_db(transaction=True)
def test_images_of_one_group_are_on_one_side(make_dataset: MakeDataset, store: Path) -> None:
    dataset = make_dataset(120)
    lines = ["path,night", *(f"image{row:04d}.png,{row // 10}" for row in range(110))]
    import_fields(dataset, io.BytesIO("\n".join(lines).encode()), Wish())
    labels = labels_of([row % 2 for row in range(120)])
    options = QuickOptions(validation_share=0.3, seed=3)
    plain = split(labels, holdout_groups_of(dataset, labels.rows, labels.hashes, 3), options)
    assert len(set(plain[:10].tolist())) > 1
    choose(dataset, "night")
    holdout = holdout_groups_of(dataset, labels.rows, labels.hashes, 3)
    parts = split(labels, holdout, options)
    for night in range(11):
        assert len(set(parts[10 * night : 10 * night + 10].tolist())) == 1
    assert np.bincount(parts).min() >= 10
    told = not_none(holdout.as_json())
    assert (told["field"], told["groups"], told["largest"], told["unknown"]) == ("night", 21, 10, 10)


@pytest.mark.django_db(transaction=True)
def test_too_few_groups_for_three_parts_are_refused_in_words(make_dataset: MakeDataset, store: Path) -> None:
    dataset = make_dataset(40)
    lines = ["path,night", *(f"image{row:04d}.png,{row // 20}" for row in range(40))]
    import_fields(dataset, io.BytesIO("\n".join(lines).encode()), Wish())
    choose(dataset, "night")
    labels = labels_of([row % 2 for row in range(40)])
    with pytest.raises(Refusal, match="by night they form 2 groups") as caught:
        split(labels, holdout_groups_of(dataset, labels.rows, labels.hashes), QuickOptions())
    assert "finer field" in caught.value.hint


# -- From the database ---------------------------------------------------------------------------------
def decide(dataset: Dataset, rows: list[int], queue: str = "") -> None:
    """Return labels in turn, as the named queue would leave them."""
    import_labels(dataset, rows, np.arange(dataset.n_items) % 2)
    is_draw = True if queue in Annotation.AUDIT_QUEUES else None
    Annotation.objects.filter(item__row__in=rows).update(queue=queue, is_random_draw=is_draw)


@pytest.mark.django_db
def test_labels_are_read_with_their_files_by_row(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(30, classes=("cat", "dog", "wolf"))
    decide(dataset, [7, 3, 12, 20], queue="uncertain")
    decide(dataset, [5], queue="audit")
    Item.objects.filter(row=12).update(is_available=False)
    Frame.objects.create(
        item=Item.objects.get(row=3), dataset=dataset, role="ref", path="later.png", sha256="f" * 64, size=1,
        mtime_ns=1, width=1, height=1, format="PNG",
    )  # fmt: skip
    labels = quick_data.read_labels(dataset)
    assert labels.rows.tolist() == [3, 5, 7, 20]
    assert labels.paths == [{"image": f"image{row:04}.png"} for row in (3, 5, 7, 20)]
    assert labels.hashes[1] == (f"{5:064x}",)
    assert labels.is_audit.tolist() == [False, True, False, False]
    assert labels.y.tolist() == [1, 1, 1, 0]
    assert labels.class_ids == [label.pk for label in dataset.classes.all()[:2]], "wolf has no label"
    assert labels.n_decisions == fresh(dataset).n_decisions
    kept = labels.only(np.array([True, False, True, False]))
    assert (kept.rows.tolist(), kept.y.tolist(), kept.is_audit.tolist()) == ([3, 7], [1, 1], [False, False])
    assert (kept.paths, kept.hashes) == (labels.paths[::2], labels.hashes[::2])
    assert kept.class_ids == labels.class_ids


@pytest.mark.django_db
def test_a_label_corrected_from_the_audit_is_still_of_the_audit(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(4)
    decide(dataset, [1], queue="audit")
    first = Annotation.objects.get()
    action = Action.objects.create(uuid="0" * 32, dataset=dataset, kind="assign")
    later = Annotation.objects.create(
        item=first.item, action=action, state=State.LABELLED, label=first.label, previous=first, queue="suspects",
        decided_at=timezone.now(),
    )  # fmt: skip
    Item.objects.filter(pk=first.item_id).update(decision_id=later.pk)
    assert quick_data.read_labels(dataset).is_audit.tolist() == [True]


@pytest.mark.django_db
def test_the_audit_is_the_same_as_for_the_accuracy(make_dataset: MakeDataset) -> None:
    """Not a draw: one from a part of the collection, one that was undone, and one that chance did not make."""
    dataset = make_dataset(8)
    decide(dataset, [1, 2, 3], queue="audit")
    decide(dataset, [4], queue="uncertain")
    Annotation.objects.filter(item__row=2).update(is_random_draw=None)  # as a filtered pull of the audit is saved
    undone = Annotation.objects.get(item__row=3)
    action = Action.objects.create(uuid="0" * 32, dataset=dataset, kind="undo", undoes=undone.action)
    back = Annotation.objects.create(item=undone.item, action=action, state=State.UNLABELLED, decided_at=timezone.now())
    Item.objects.filter(pk=undone.item_id).update(
        decision_id=None, newest_annotation_id=back.pk, label=None, state=State.UNLABELLED
    )
    decide(dataset, [3])
    labels = quick_data.read_labels(dataset)
    assert dict(zip(labels.rows.tolist(), labels.is_audit.tolist(), strict=True)) == {
        1: True, 2: False, 3: False, 4: False,
    }  # fmt: skip
    assert sorted(random_draws(dataset.pk).labeled) == [1]


@pytest.mark.django_db
def test_nothing_labelled(make_dataset: MakeDataset) -> None:
    labels = quick_data.read_labels(make_dataset(3))
    assert (len(labels.rows), len(labels.y), labels.class_ids) == (0, 0, [])


@pytest.mark.django_db
def test_facts_and_the_usual_choice(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(40, classes=("cat", "dog", "wolf"))
    assert quick_data.facts_of(dataset).n_labelled == 0
    decide(dataset, list(range(30)))
    facts = quick_data.facts_of(dataset)
    assert (facts.n_labelled, sorted(facts.per_class), facts.median_side) == (30, [15, 15], 24)
    assert facts.memory_free > 0
    assert quick_data.usual_options(dataset).image_side == 96
    chosen = QuickOptions(epochs=3, rotate=True, image_side=64)
    for params in (asdict(chosen), {"finish": "some job"}, {"epochs": "of another version"}):
        Job.objects.create(
            kind="quick_train", queue="heavy", dataset_id=dataset.pk, params=params, key="k", state="lost"
        )
    assert quick_data.usual_options(dataset) == chosen


@pytest.mark.django_db
def test_image_files_are_those_that_are_there(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_data, "_BATCH", 3)
    dataset = make_dataset(10)
    Item.objects.filter(row=4).update(is_available=False)
    found = list(quick_data.image_files(dataset, 8, InputSpec.of(dataset)))
    assert [row for row, _ in found] == [0, 1, 2, 3, 5, 6, 7]
    assert found[0][1] == {"image": dataset.data_dir / "image0000.png"}
    assert quick_data.n_rows_of(dataset) == 10


# -- Pixels ------------------------------------------------------------------------------------------
def test_pixels_come_in_order_and_unreadable_ones_say_why(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = []
    for number in range(150):
        file = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(file)
        files.append(file)
    files[70].write_bytes(b"no image")
    files[149].unlink()
    found = list(inputs_of(({"image": file} for file in files), 16, NetworkInput()))
    assert [at for at, one in enumerate(found) if one.pixels is None] == [70, 149]
    assert found[70].problem == "This is not an image but text."
    for at in (0, 69, 71, 148):
        np.testing.assert_array_equal(found[at].pixels, squash(open_for_resizing(files[at], 256), 16))


def test_pixels_are_those_that_a_person_sees(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 4000, 900).reshape(30, 30).astype(np.uint16)).save(tmp_path / "deep.png")
    usual, other = (
        not_none(NetworkInput(InputSpec(rendering)).prepare({"image": tmp_path / "deep.png"}, 16).pixels)
        for rendering in (Rendering(), Rendering(stretch="log", is_inverted=True))
    )
    assert usual[0, 0, 0] < 10
    assert other[0, 0, 0] > 150
    assert other[-1, -1, 0] < 10


def test_many_pixels_lie_in_a_file_which_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with quick_data.room_for_pixels(tmp_path, 4, 8) as pixels:
        assert pixels.shape == (4, 8, 8, 3)
        assert not list(tmp_path.iterdir())
    monkeypatch.setattr(quick_data, "IN_MEMORY_BYTES", 100)
    with quick_data.room_for_pixels(tmp_path, 4, 8) as pixels:
        pixels[2] = 7
        assert isinstance(pixels, np.memmap)
        assert (tmp_path / "pixels.npy").exists()
    assert not list(tmp_path.iterdir())
