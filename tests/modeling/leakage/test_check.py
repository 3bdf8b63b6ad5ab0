"""Test the check for near-duplicates: with real files, from the job to the certificate of an export."""

from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError
from django.test import Client
from PIL import Image

from hoshina.core.errors import Refusal
from hoshina.jobs.lifecycle import cancel, enqueue
from hoshina.jobs.models import Job
from labeling.exporting import Options, refusal
from labeling.exporting.near_duplicates import near_duplicates_of
from labeling.models import Action, Dataset, Item
from modeling.algorithms.near_duplicates import LARGE
from modeling.leakage import files, pipeline, signatures
from modeling.leakage.schedule import check_if_due
from modeling.models import EmbeddingSet, LeakageCheck
from tests.factories import (
    MakeDataset,
    archive_bytes,
    call_before,
    command_json,
    decide,
    interrupt_at,
    manifest,
    opened,
    table,
)
from tests.modeling.factories import add_vectors
from tests.modeling.leakage.pictures import add_pictures, copies, dataset_of, picture, write_picture

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]
N = 30
EVEN = {"splits": (34, 33, 33)}


@pytest.fixture
def dataset(make_dataset: MakeDataset, settings: Any) -> Dataset:
    """Make thirty pictures, the first three with six copies each, which come last. Checks begin by themselves."""
    settings.AUTOMATIC_LEAKAGE_CHECKS = True
    originals = [picture(seed) for seed in range(N)]
    dataset = dataset_of(make_dataset, originals + [copy for image in originals[:3] for copy in copies(image)])
    decide(dataset, "assign", range(dataset.n_items), "cat")
    dataset.refresh_from_db()
    return dataset


def groups_of(dataset: Dataset) -> list[list[int]]:
    near = near_duplicates_of(dataset)
    assert near is not None
    return sorted(np.flatnonzero(near.groups == row).tolist() for row in set(near.groups[near.pairs[:, 0]].tolist()))


PLANTED = [[i, *range(N + 6 * i, N + 6 * i + 6)] for i in range(3)]


def test_copies_are_found_and_share_a_split(dataset: Dataset) -> None:
    result = command_json("check_leakage")
    assert (result["images"], result["groups"], result["largest_group"]) == (48, 3, 7)
    assert groups_of(dataset) == PLANTED
    archive = opened(archive_bytes(dataset, **EVEN))
    split = {row["path"]: row["split"] for row in table(archive, "splits.csv")}
    for group in PLANTED:
        assert len({split[f"image{row:04d}.png"] for row in group}) == 1
    certificate = manifest(archive)["leakage"]
    assert certificate["checked"]
    assert (certificate["groups"], certificate["largest_group"], certificate["images"]) == (3, 7, 48)
    assert certificate["labeled"]["crossed_before"] > 0
    assert certificate["labeled"]["crossing"] == certificate["labeled"]["not_checked"] == 0
    pairs = table(archive, "leakage.csv")
    assert len(pairs) == certificate["pairs"] == certificate["labeled"]["pairs"]
    assert all(pair["split"] == pair["other_split"] for pair in pairs)
    assert sum(int(pair["crossed_before"]) for pair in pairs) == certificate["labeled"]["crossed_before"]


def test_every_layout_is_certified(dataset: Dataset) -> None:
    command_json("check_leakage")
    archive = opened(archive_bytes(dataset, layout="imagefolder", **EVEN))
    split = {row["path"]: row["split"] for row in table(archive, "items.csv")}
    for group in PLANTED:
        assert len({split[f"image{row:04d}.png"] for row in group}) == 1
    assert manifest(archive)["leakage"]["labeled"]["crossing"] == 0
    assert table(archive, "leakage.csv")


def test_the_same_images_give_the_same_result(dataset: Dataset) -> None:
    assert command_json("check_leakage")["unchanged"] is False
    first = archive_bytes(dataset)
    again = command_json("check_leakage")
    assert (again["unchanged"], again["images"], again["groups"]) == (True, 48, 3)
    LeakageCheck.objects.update(source="")
    assert command_json("check_leakage")["unchanged"] is False
    assert archive_bytes(dataset) == first


def test_a_check_that_is_turned_off_or_was_not_run_is_recorded(dataset: Dataset) -> None:
    without = manifest(opened(archive_bytes(dataset)))
    assert without["leakage"]["checked"] is False
    assert "hoshina check_leakage" in without["leakage"]["reason"]
    command_json("check_leakage")
    off = opened(archive_bytes(dataset, checks_leakage=False, **EVEN))
    assert manifest(off)["leakage"] == {"checked": False, "reason": "The check was turned off by an option."}
    assert manifest(off)["options"]["leakage_check"] is False
    assert "leakage.csv" not in off.namelist()


def test_embeddings_give_the_neighbors(dataset: Dataset) -> None:
    X = np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32)
    kinds = np.concatenate([X, np.repeat(X[:3], 6, axis=0)])
    add_vectors(dataset, kinds, np.arange(48) != 47)
    result = command_json("check_leakage")
    assert result["groups"] == 3
    certificate = manifest(opened(archive_bytes(dataset)))["leakage"]
    assert (certificate["encoder"], certificate["without_neighbors"]) == ("abc", 1)


def test_only_new_and_changed_images_are_read(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    command_json("check_leakage")
    add_pictures(dataset, [picture(3).resize((50, 50))])
    # A copy becomes a picture of its kind no longer.
    write_picture(dataset, Item.objects.get(dataset=dataset, row=N), picture(99))
    near = near_duplicates_of(dataset)
    assert near is not None
    assert near.count_unchecked(np.arange(49)) == (2, 1)
    decide(dataset, "assign", [48], "cat")
    certificate = manifest(opened(archive_bytes(dataset)))["leakage"]
    assert (certificate["labeled"]["not_checked"], certificate["labeled"]["changed"]) == (2, 1)
    read: list[int] = []
    call_before(monkeypatch, signatures, "signature_of", lambda image: read.append(image.width))
    command_json("check_leakage")
    assert len(read) == 2
    assert groups_of(dataset) == [[0, *range(N + 1, N + 6)], *PLANTED[1:], [3, 48]]


def test_unreadable_and_blank_images_are_counted(dataset: Dataset) -> None:
    add_pictures(dataset, [Image.new("RGB", (40, 40), "red")] * 2 + [picture(50)])
    (dataset.data_dir / "image0050.png").write_bytes(b"no image")
    result = command_json("check_leakage")
    assert (result["blank"], result["unreadable"], result["images"]) == (2, 1, 48)
    decide(dataset, "assign", [48, 49, 50], "cat")
    assert manifest(opened(archive_bytes(dataset)))["leakage"]["labeled"]["not_checked"] == 3


def test_merely_similar_images_are_no_copies(make_dataset: MakeDataset) -> None:
    """Bright spots in the middle, as in surveys of galaxies: each is like some others, and chains connect all."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:64, :64] - 31.5
    spots = []
    for _ in range(120):
        a, b, angle = *rng.uniform(4, 14, 2), rng.uniform(0, np.pi)
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        light = 220 * np.exp(-((u / a) ** 2) - (v / b) ** 2) + rng.normal(0, 4, x.shape)
        spots.append(Image.fromarray(light.clip(0, 255).astype(np.uint8)))
    dataset_of(make_dataset, [*spots, spots[0].resize((48, 48))])
    result = command_json("check_leakage")
    assert result["largest_group"] < 2 * LARGE
    assert LeakageCheck.objects.get().facts["dropped_chain_pairs"] > 0


def test_impossible_splits_are_refused(make_dataset: MakeDataset) -> None:
    original = picture(1)
    dataset = dataset_of(make_dataset, [original, *copies(original), picture(2), picture(3)])
    command_json("check_leakage")
    decide(dataset, "assign", range(9), "cat")
    dataset.refresh_from_db()
    assert refusal(dataset, Options()) == ""
    assert refusal(dataset, Options(splits=(50, 25, 25))) == (
        "7 labeled images are near-duplicates of each other, directly or through others. The largest split has only 5 "
        "of 9 labeled images. Clear the labels of some of them, label more images, or turn off the check for "
        "near-duplicates."
    )
    assert refusal(dataset, Options(splits=(50, 25, 25), checks_leakage=False)) == ""
    decide(dataset, "clear", [8])
    dataset.refresh_from_db()
    assert "form only 2 groups" in refusal(dataset, Options(splits=(90, 5, 5)))
    assert refusal(dataset, Options(splits=(90, 10, 0))) == ""


def test_an_earlier_export_is_possible_or_not_by_the_labels_of_its_time(make_dataset: MakeDataset) -> None:
    original = picture(1)
    dataset = dataset_of(make_dataset, [*(picture(seed) for seed in range(2, 14)), original, *copies(original)])
    command_json("check_leakage")
    decide(dataset, "assign", range(12, 19), "cat")
    then = Action.objects.latest("pk").created_at.isoformat()
    decide(dataset, "assign", range(12), "cat")
    dataset.refresh_from_db()
    assert refusal(dataset, Options(splits=(50, 25, 25))) == ""
    assert "The largest split has only 4 of 7 labeled" in refusal(dataset, Options(splits=(50, 25, 25), as_of=then))
    decide(dataset, "clear", range(12))
    dataset.refresh_from_db()
    now = Action.objects.filter(kind="assign").latest("pk").created_at.isoformat()
    assert "has only 4 of 7 labeled" in refusal(dataset, Options(splits=(50, 25, 25)))
    assert refusal(dataset, Options(splits=(50, 25, 25), as_of=now)) == ""


def test_signatures_come_from_the_decoding_for_embeddings(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.EMBEDDING_BACKEND = "hog"
    command_json("embed")
    assert Job.objects.get(kind="check_leakage").state == Job.State.QUEUED
    read: list[int] = []
    call_before(monkeypatch, signatures, "signature_of", lambda image: read.append(image.width))
    result = command_json("check_leakage")
    assert (result["images"], result["groups"], result["unreadable"], read) == (48, 3, 0, [])
    assert groups_of(dataset) == PLANTED
    assert not files.has_parts(dataset.pk)
    write_picture(dataset, Item.objects.get(dataset=dataset, row=N), picture(99))
    command_json("check_leakage")
    assert len(read) == 1
    assert groups_of(dataset) == [[0, *range(N + 1, N + 6)], *PLANTED[1:]]


def test_a_check_that_was_killed_goes_on(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_PART_ROWS", 20)
    read: list[int] = []
    call_before(monkeypatch, signatures, "signature_of", lambda image: read.append(image.width))
    with monkeypatch.context() as killed:
        call_before(killed, pipeline, "save_part", interrupt_at(3))
        with pytest.raises(CommandError, match="was stopped"):
            command_json("check_leakage")
    read.clear()
    first, _ = sorted((files.files_of(dataset.pk).folder / "parts").iterdir())
    first.write_bytes(b"damaged")
    assert command_json("check_leakage")["groups"] == 3
    assert len(read) == 48 - 20


def test_it_starts_when_embeddings_are_complete_and_images_are_labeled(dataset: Dataset, settings: Any) -> None:
    def started(*, is_embedded: bool = True) -> bool:
        check_if_due(dataset.pk, is_embedded=is_embedded)
        return bool(Job.objects.filter(kind="check_leakage", state=Job.State.QUEUED).delete()[0])

    assert not started()  # without embeddings
    embeddings = add_vectors(dataset, np.random.default_rng(0).normal(size=(48, 8)).astype(np.float32))
    assert started()
    embedding = Job.objects.create(kind="embed", queue="heavy", dataset_id=dataset.pk, key="e", state=Job.State.RUNNING)
    assert not started(is_embedded=False)
    embedding.delete()
    assert started(is_embedded=False)  # as after a retrain
    command_json("check_leakage")
    assert not started()
    EmbeddingSet.objects.filter(pk=embeddings.pk).update(generation=embeddings.generation + 1)
    assert started()
    settings.AUTOMATIC_LEAKAGE_CHECKS = False
    assert not started()
    settings.AUTOMATIC_LEAKAGE_CHECKS = True
    # A large dataset is not compared again for a few images.
    EmbeddingSet.objects.update(n_vectors=30_100)
    LeakageCheck.objects.update(n_images=30_000)
    assert not started()
    EmbeddingSet.objects.update(n_vectors=30_300)
    assert started()
    decide(dataset, "clear", range(47))
    assert not started()
    decide(dataset, "assign", range(47), "cat")
    Job.objects.all().delete()
    stopped = enqueue("check_leakage", dataset_id=dataset.pk)
    cancel(stopped)
    check_if_due(dataset.pk)
    assert list(Job.objects.filter(kind="check_leakage")) == [stopped]


def test_it_says_why_nothing_can_be_compared(make_dataset: MakeDataset) -> None:
    dataset = dataset_of(make_dataset, [picture(1)])
    (dataset.data_dir / "image0000.png").write_bytes(b"no image")
    with pytest.raises(CommandError, match="No image of this dataset could be read"):
        command_json("check_leakage")
    assert near_duplicates_of(dataset) is None


def test_files_that_are_gone_count_as_no_check(dataset: Dataset) -> None:
    command_json("check_leakage")
    for file in files.files_of(dataset.pk).folder.glob("*.np[yz]"):
        file.unlink()
    assert manifest(opened(archive_bytes(dataset)))["leakage"]["checked"] is False
    assert command_json("check_leakage")["groups"] == 3
    (pairs,) = files.files_of(dataset.pk).folder.glob("pairs-*.npz")
    pairs.write_bytes(b"damaged")
    with pytest.raises(Refusal, match="check_leakage again"):
        near_duplicates_of(dataset)
    assert "check_leakage again" in refusal(dataset, Options())


def test_the_page_of_exports_says_what_was_checked_and_starts_it(dataset: Dataset, client: Client) -> None:
    address = "/d/pictures/leakage/"
    assert f'hx-get="{address}"' in client.get("/d/pictures/export/").content.decode()
    assert "were not looked for yet" in client.get(address).content.decode()
    assert "check for near-duplicates is queued" in client.post(address).content.decode()
    Job.objects.update(state=Job.State.RUNNING)
    assert "Looking for near-duplicates" in client.get(address).content.decode()
    assert Job.objects.filter(kind="check_leakage", dataset_id=dataset.pk).count() == 1
    Job.objects.all().delete()
    command_json("check_leakage")
    assert "3 groups of near-duplicates found among 48 images" in client.get(address).content.decode()
    Dataset.objects.update(n_items=50)
    assert "2 images were not compared" in client.get(address).content.decode()
