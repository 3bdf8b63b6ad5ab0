"""Test watched folders: new files are ingested automatically, unless they are still being written."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.ingest import folder_watch
from labeling.ingest.dataset_folder import dataset_for
from labeling.ingest.folder_watch import check_due_folders, pause_after, take_snapshot
from labeling.models import Dataset, Frame, Item, Problem
from tests.factories import MakeDataset, MakeFolder, assert_contains, fresh
from tests.labeling.factories import counts_of, ingest_folder, write_png
from tests.parts import free_port, wait_until
from tests.processes import Up

PNG = [".png"]


def age(file: Path, seconds: float) -> None:
    """Set the modification time of a file to that many seconds ago."""
    moment = time.time() - seconds
    os.utime(file, (moment, moment))


def settle(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        age(file, 60)


# -- One look ---------------------------------------------------------------------------------------
@pytest.mark.usefixtures("store")
class TestLook:
    def test_the_same_folder_looks_the_same_and_any_change_is_seen(self, picture_folder: MakeFolder) -> None:
        folder = picture_folder(4)
        settle(folder)
        seen = [take_snapshot(folder, PNG)]
        assert (seen[0].n, seen[0]) == (4, take_snapshot(folder, PNG))

        write_png(folder / "deep" / "new.png", seed=9)
        age(folder / "deep" / "new.png", 30)
        seen.append(take_snapshot(folder, PNG))
        (folder / "deep" / "new.png").rename(folder / "deep" / "other.png")
        seen.append(take_snapshot(folder, PNG))
        age(folder / "image0000.png", 100)  # edited in place: only the time changed
        seen.append(take_snapshot(folder, PNG))
        (folder / "image0001.png").unlink()
        seen.append(take_snapshot(folder, PNG))
        assert [snapshot.n for snapshot in seen] == [4, 5, 5, 5, 4]
        assert len({snapshot.digest for snapshot in seen}) == len(seen)
        (folder / "notes.txt").touch()
        assert take_snapshot(folder, PNG) == seen[-1]

    def test_what_is_still_being_written_is_not_seen_yet(self, picture_folder: MakeFolder) -> None:
        folder = picture_folder(3)
        settle(folder)
        before = take_snapshot(folder, PNG)
        write_png(folder / "new.png")
        assert take_snapshot(folder, PNG) == before
        age(folder / "new.png", folder_watch.SETTLED + 1)
        assert take_snapshot(folder, PNG).n == 4

    def test_a_clock_that_is_ahead_hides_nothing(self, picture_folder: MakeFolder) -> None:
        folder = picture_folder(1)
        age(folder / "image0000.png", -3600)
        assert take_snapshot(folder, PNG).n == 1

    def test_looking_takes_a_twentieth_of_the_time_at_most(self) -> None:
        for seconds in (0.0, 0.001, 0.1, 5.0, 300.0):
            pause = pause_after(seconds)
            assert pause >= folder_watch.SHORTEST_PAUSE
            assert seconds / (seconds + pause) <= 0.05 + 1e-9


# -- What an ingest leaves alone ----------------------------------------------------------------------
@pytest.mark.django_db
@pytest.mark.usefixtures("store")
class TestSettled:
    def test_a_file_that_was_just_written_is_left_for_the_next_time(self, picture_folder: MakeFolder) -> None:
        folder = picture_folder(3)
        settle(folder)
        (folder / "half.png").write_bytes((folder / "image0000.png").read_bytes()[:100])
        result = ingest_folder(folder, settled=30.0)
        assert (counts_of(result), result["waiting"]) == ({"items": 3, "new": 3}, 1)
        assert not Problem.objects.exists()
        write_png(folder / "half.png", seed=8)
        age(folder / "half.png", 31)
        result = ingest_folder(folder, settled=30.0)
        assert (counts_of(result), result["waiting"]) == ({"items": 4, "new": 1, "unchanged": 3}, 0)

    def test_a_known_file_that_is_written_again_keeps_its_item_as_it_is(self, picture_folder: MakeFolder) -> None:
        folder = picture_folder(2)
        settle(folder)
        ingest_folder(folder)
        before = Frame.objects.get(path="image0000.png").sha256
        (folder / "image0000.png").write_bytes(b"the first bytes of")
        result = ingest_folder(folder, settled=30.0)
        assert (counts_of(result), result["waiting"]) == ({"items": 2, "unchanged": 1}, 1)
        assert Item.objects.get(path="image0000.png").is_available
        assert Frame.objects.get(path="image0000.png").sha256 == before

    def test_a_folder_where_all_is_being_written_is_not_empty(self, picture_folder: MakeFolder) -> None:
        result = ingest_folder(picture_folder(2), settled=30.0)
        assert (result["items"], result["waiting"], result["n_failed"]) == (0, 2, 0)


# -- Looking when it is time ----------------------------------------------------------------------------
@pytest.mark.django_db
@pytest.mark.usefixtures("store")
class TestDue:
    @pytest.fixture
    def dataset(self, picture_folder: MakeFolder) -> Dataset:
        folder = picture_folder(3)
        settle(folder)
        dataset = dataset_for(folder)
        Dataset.objects.update(is_watched=True)
        return dataset

    def look(self) -> None:
        Dataset.objects.update(next_look_at=timezone.now() - timedelta(seconds=1))
        check_due_folders()

    def finish(self) -> dict[str, Any]:
        """Run the job as a worker would."""
        [job] = Job.objects.filter(kind="ingest", state__in=Job.ACTIVE)
        return dict(run_now("ingest", dataset_id=job.dataset_id, params=job.params).result)

    def test_what_is_new_is_read_once(self, dataset: Dataset) -> None:
        check_due_folders()
        assert self.finish()["new"] == 3
        self.look()
        assert not Job.objects.filter(kind="ingest", state__in=Job.ACTIVE).exists()
        write_png(dataset.data_dir / "new.png")
        age(dataset.data_dir / "new.png", 10)
        self.look()
        assert self.finish()["new"] == 1
        # The state is in the database, so that another process continues there.
        self.look()
        assert Job.objects.filter(kind="ingest").count() == 2

    def test_only_watched_folders_whose_time_has_come_are_looked_at(self, dataset: Dataset) -> None:
        Dataset.objects.update(next_look_at=timezone.now() + timedelta(seconds=60))
        check_due_folders()
        Dataset.objects.update(next_look_at=None, is_watched=False)
        check_due_folders()
        assert not Job.objects.exists()
        Dataset.objects.update(is_watched=True)
        check_due_folders()
        assert fresh(dataset).next_look_at is not None
        assert dataset.next_look_at > timezone.now()
        assert Job.objects.count() == 1

    def test_an_ingest_that_runs_may_have_passed_by_and_another_follows(self, dataset: Dataset) -> None:
        check_due_folders()
        write_png(dataset.data_dir / "new.png")
        age(dataset.data_dir / "new.png", 10)
        self.look()
        assert Job.objects.count() == 1
        dataset.refresh_from_db()
        before = dataset.last_look
        Job.objects.update(state=Job.State.SUCCEEDED)
        self.look()
        assert fresh(dataset).last_look != before
        assert Job.objects.count() == 2

    def test_a_disk_that_is_away_makes_nothing_missing(self, dataset: Dataset, tmp_path: Path) -> None:
        check_due_folders()
        self.finish()
        folder = dataset.data_dir
        folder.rename(tmp_path / "away")
        self.look()
        folder.mkdir()  # the empty mount point of a disk
        self.look()
        assert Job.objects.filter(kind="ingest").count() == 1
        assert Item.objects.filter(is_available=True).count() == 3
        assert fresh(dataset).next_look_at is not None

    def test_the_endings_of_the_last_ingest_are_looked_for(self, dataset: Dataset) -> None:
        (dataset.data_dir / "image0000.png").rename(dataset.data_dir / "one.pic")
        run_now("ingest", dataset_id=dataset.pk, params={"extensions": [".pic"]})
        check_due_folders()
        assert self.finish()["items"] == 1

    def test_the_thread_outlives_a_database_that_is_away(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from django.db import OperationalError

        stopped, looked = threading.Event(), []

        def fail_first() -> None:
            looked.append(1)
            if len(looked) == 1:
                raise OperationalError("database is locked")
            stopped.set()

        monkeypatch.setattr(folder_watch, "_TICK", 0.01)
        monkeypatch.setattr(folder_watch, "check_due_folders", fail_first)
        folder_watch.start(stopped).join(timeout=20)
        assert len(looked) == 2
        assert "trying again" in caplog.text


# -- The page -------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_the_buttons_of_the_page(client: Client, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    Job.objects.create(
        kind="ingest", queue="heavy", dataset_id=dataset.pk, key="old", state="succeeded",
        params={"extensions": [".pic"]},
    )  # fmt: skip
    assert_contains(client.get("/datasets/"), "Rescan<span", 'aria-pressed="false"')
    assert client.post(f"/d/{dataset.slug}/look-again/").headers["Location"] == "/datasets/"
    assert Job.objects.get(state="queued").params == {"extensions": [".pic"]}

    client.post(f"/d/{dataset.slug}/watch/", {"on": "1"})
    assert Dataset.objects.get().is_watched
    assert_contains(client.get("/datasets/"), 'aria-pressed="true"', ">watched<")
    client.post(f"/d/{dataset.slug}/watch/", {"on": "0"})
    assert not Dataset.objects.get().is_watched
    for url in ("look-again", "watch"):
        assert client.get(f"/d/{dataset.slug}/{url}/").status_code == 405
        assert client.post(f"/d/nowhere/{url}/").status_code == 404


# -- For real ---------------------------------------------------------------------------------------------
def test_up_watch_picks_up_a_growing_folder(up: Callable[..., Up], picture_folder: MakeFolder, tmp_path: Path) -> None:
    folder = picture_folder(6)
    more = picture_folder(30, name="more")
    server = up(str(folder), "--watch", "--port", str(free_port()))
    server.wait_for(r"pictures: 6 items")
    server.wait_until_well()
    (folder / "night 2").mkdir()
    whole = (more / "image0025.png").read_bytes()
    eighth = len(whole) // 8
    with (folder / "slow.png").open("wb") as slow:  # written to until the others are ingested
        for number in range(20, 24):
            slow.write(whole[(number - 20) * eighth : (number - 19) * eighth])
            slow.flush()
            shutil.copyfile(more / f"image{number:04d}.png", folder / "night 2" / f"{number}.png")
            time.sleep(0.5)
        slow.write(whole[4 * eighth :])

    def items() -> int:
        return int(server.query("select count(*) from labeling_item")[0][0])

    wait_until(lambda: items() == 11, why="the new files to become items")
    assert server.query("select count(*) from labeling_problem") == [(0,)]
    embedded = (
        "select count(*) from jobs_job where kind = 'embed' and state = 'succeeded' "
        "and finished_at > (select max(finished_at) from jobs_job where kind = 'ingest')"
    )
    wait_until(lambda: server.query(embedded)[0][0] >= 1, why="their vectors")
    assert server.query("select max(n_items), min(is_watched) from labeling_dataset") == [(11, 1)]

    # After a restart it continues automatically, and finds files added in the meantime.
    row = server.query("select row from labeling_item where path = 'slow.png'")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=60) == 0
    shutil.copyfile(more / "image0029.png", folder / "meanwhile.png")
    (folder / "slow.png").rename(folder / "renamed.png")
    other = up("--port", str(free_port()))
    other.wait_until_well()
    wait_until(
        lambda: other.query("select count(*) from labeling_item")[0][0] == 12, why="the file that came meanwhile"
    )
    assert other.query("select row from labeling_item where path = 'renamed.png'") == row
