"""Pictures made ahead: in the queue's order, for whoever came last, and never of files that are not to be shown."""

import os
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from labeling.display import prefetch
from labeling.images.decoder_pool import pictures
from labeling.ingest.dataset_folder import dataset_for
from labeling.ingest.scan import ingest
from labeling.models import Dataset, Frame
from tests.factories import MakeFolder, call_before
from tests.labeling.factories import Steps
from tests.parts import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


@pytest.fixture
def dataset(picture_folder: MakeFolder) -> Dataset:
    dataset = dataset_for(picture_folder(8))
    ingest(dataset, Steps())  # type: ignore[arg-type]
    return dataset


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, settings: Any) -> list[int]:
    """Provide the rows whose pictures were made, without a thread: what was asked for waits for ``work``."""
    settings.MAKE_AHEAD = True
    monkeypatch.setattr(prefetch.threading, "Thread", _Never)
    monkeypatch.setattr(prefetch, "_thread", None)
    monkeypatch.setattr(prefetch, "_AT_ONCE", 2)
    prefetch._waiting.clear()
    rows: list[int] = []
    call_before(monkeypatch, prefetch, "_make", lambda frame: rows.append(frame.item.row))
    return rows


class _Never:
    def __init__(self, **kwargs: Any) -> None: ...
    def start(self) -> None: ...
    def is_alive(self) -> bool:
        return True


def work() -> None:
    while prefetch._waiting:
        prefetch._make_next()


def test_pictures_are_made_in_the_order_of_the_queue(dataset: Dataset, made: list[int]) -> None:
    prefetch.make_ahead(dataset.pk, [5, 0, 3, 1], "a")
    work()
    assert made == [5, 0, 3, 1]
    kept = {frame.item.row for frame in Frame.objects.select_related("item") if pictures().find(frame.sha256, 256)}
    assert kept == {0, 1, 3, 5}


def test_who_turned_the_page_last_goes_first_and_forgets_the_page_before(dataset: Dataset, made: list[int]) -> None:
    prefetch.make_ahead(dataset.pk, [0, 1, 2], "a")
    prefetch.make_ahead(dataset.pk, [3], "b")
    prefetch.make_ahead(dataset.pk, [6, 7], "a")
    work()
    assert made == [6, 7, 3]
    prefetch.make_ahead(dataset.pk, [], "a")
    assert not prefetch._waiting


def test_changed_files_and_those_outside_of_the_folder_are_left_alone(
    dataset: Dataset, made: list[int], tmp_path: Path
) -> None:
    changed, linked = Frame.objects.order_by("pk")[:2]
    changed.file.write_bytes(changed.file.read_bytes() + b"more")
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes(linked.file.read_bytes())
    linked.file.unlink()
    try:
        linked.file.symlink_to(elsewhere)
    except OSError:
        pytest.skip("no symbolic links here")
    os.utime(elsewhere, ns=(linked.mtime_ns, linked.mtime_ns))
    prefetch.make_ahead(dataset.pk, [0, 1], "a")
    work()
    assert made == [0, 1]
    assert pictures().find(changed.sha256, 256) is None
    assert pictures().find(linked.sha256, 256) is None


def test_a_dealt_page_asks_for_its_pictures_and_the_next_ones(
    dataset: Dataset, made: list[int], client: Client
) -> None:
    client.get(f"/d/{dataset.slug}/grid/?queue=all&n=3")
    work()
    assert made == [0, 1, 2, 3, 4, 5]


def test_the_thread_makes_them(dataset: Dataset, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MAKE_AHEAD = True
    frame = Frame.objects.select_related("dataset", "item").get(item__row=4)
    # The thread's own connection would not see the test's database, which lives in memory.
    monkeypatch.setattr(prefetch, "_make_all", lambda dataset_id, rows: prefetch._make(frame))
    prefetch.make_ahead(dataset.pk, [4], "a")
    wait_until(lambda: pictures().find(frame.sha256, 256))
