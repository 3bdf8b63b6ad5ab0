"""The job that computes vectors: every image once, changed ones again, nothing lost and nothing done twice."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hoshina.core.errors import Refusal
from hoshina.jobs.errors import Cancelled, Superseded
from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from hoshina.jobs.runner import Run
from labeling.images.composite import Composition
from labeling.images.open_image import open_image
from labeling.ingest import scan as ingest_module
from labeling.ingest.dataset_folder import dataset_for
from labeling.models import Dataset, Frame, Item
from labeling.signals import ingested
from modeling import store as disk
from modeling.apps import forget_frozen_networks
from modeling.backends import Encoder
from modeling.backends.hog import HogEncoder
from modeling.backends.plugins import LoadedEncoder
from modeling.encoders import pipeline as encoder_pipeline
from modeling.models import EmbeddingSet
from tests.factories import assert_contains, call_before, fresh, interrupt_at, new_folder, not_none
from tests.modeling.factories import add_item_with_file
from tests.modeling.weights import hide_lite2
from tests.parts import wait_until

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]

HOG = {"backend": "hog"}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(encoder_pipeline, "CHUNK_ROWS", 4)
    monkeypatch.setattr(encoder_pipeline, "_encoders", {})
    settings.EMBEDDING_BACKEND = "hog"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Provide 22 items with real files: five and a half chunks."""
    made = Dataset.objects.create(name="pictures", slug="pictures", root=str(tmp_path / "pictures"))
    for row in range(22):
        add_item_with_file(made, row)
    return made


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many images each call of the encoder got."""
    calls: list[int] = []
    call_before(monkeypatch, HogEncoder, "encode", lambda _, pixels: calls.append(len(pixels)))
    return calls


def embed(dataset: Dataset) -> dict[str, Any]:
    return run_now("embed", dataset_id=dataset.pk).result


def vectors_of(dataset: Dataset) -> disk.Vectors:
    return not_none(disk.open_vectors(EmbeddingSet.objects.get(dataset=dataset, is_active=True)))


def expected(dataset: Dataset, rows: list[int]) -> np.ndarray:
    """Return the vectors, one by one, with nothing in between."""
    encoder = LoadedEncoder(HogEncoder())
    files = [dataset.data_dir / f"image{row:04d}.png" for row in rows]
    return np.concatenate([encoder.encode([open_image(file, max_side=encoder.decode_side)]) for file in files])


class TestRun:
    def test_every_image_gets_its_own_vector(self, dataset: Dataset) -> None:
        result = embed(dataset)
        found = vectors_of(dataset)
        np.testing.assert_allclose(found.X, expected(dataset, list(range(22))), atol=1e-6)
        assert found.has.all()
        encoder = LoadedEncoder(HogEncoder())
        assert result["seconds"] >= 0
        assert {**result, "seconds": 0} == {
            "encoder": "HOG + color", "fingerprint": encoder.fingerprint, "reason": "HOG + color, as chosen.",
            "items": 22, "dim": 1828, "failed": 0, "computed": 22, "seconds": 0,
        }  # fmt: skip
        (row,) = EmbeddingSet.objects.all()
        assert (row.encoder, row.dim, row.n_vectors, row.n_failed) == ("HOG + color", 1828, 22, 0)
        assert row.reason == result["reason"]

    def test_rows_need_not_come_in_order_of_ids(self, tmp_path: Path) -> None:
        dataset = Dataset.objects.create(name="mixed", slug="mixed", root=str(tmp_path / "mixed"))
        for row in (7, 2, 9, 0, 5, 1, 3, 8, 6, 4):
            add_item_with_file(dataset, row)
        embed(dataset)
        np.testing.assert_allclose(vectors_of(dataset).X, expected(dataset, list(range(10))), atol=1e-6)

    def test_again_does_nothing(self, dataset: Dataset, encoded: list[int]) -> None:
        embed(dataset)
        generation = vectors_of(dataset).generation
        encoded.clear()
        result = embed(dataset)
        assert (result["items"], result["computed"], encoded) == (22, 0, [])
        assert vectors_of(dataset).generation == generation

    def test_only_new_and_changed_images(self, dataset: Dataset, encoded: list[int]) -> None:
        embed(dataset)
        before = np.array(vectors_of(dataset).X)
        encoded.clear()
        add_item_with_file(dataset, 9, colour=200)
        add_item_with_file(dataset, 22)
        assert embed(dataset)["computed"] == sum(encoded) == 2
        found = vectors_of(dataset)
        np.testing.assert_allclose(found.X, expected(dataset, list(range(23))), atol=1e-6)
        same = np.delete(np.arange(22), 9)
        np.testing.assert_array_equal(found.X[same], before[same])
        assert not np.allclose(found.X[9], before[9])

    def test_progress_counts_images(self, dataset: Dataset) -> None:
        seen: list[tuple[str, int, int]] = []
        run_now("embed", dataset_id=dataset.pk, on_progress=lambda job: seen.append((job.stage, job.done, job.total)))
        computing = [(done, total) for stage, done, total in seen if stage == "HOG + color"]
        assert computing[0] == (0, 22)
        assert {total for _, total in computing} == {22}
        assert [done for done, _ in computing] == sorted(done for done, _ in computing)

    def test_first_vectors_are_there_before_the_last(self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes: list[int] = []

        def note(*_: object) -> None:
            active = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).first()
            sizes.append(active.n_vectors if active else 0)

        call_before(monkeypatch, encoder_pipeline, "embed_chunk", note)
        embed(dataset)
        assert sizes == [0, 0, 8, 8, 16, 16]

    def test_images_that_come_meanwhile(self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        def ingest(run: Run, start: int, stop: int) -> None:
            if start == 20 and not Item.objects.filter(row=22).exists():
                add_item_with_file(dataset, 22)
                add_item_with_file(dataset, 23)

        call_before(monkeypatch, encoder_pipeline, "embed_chunk", ingest)
        result = embed(dataset)
        assert (result["items"], result["failed"], result["computed"]) == (24, 0, 24)
        np.testing.assert_allclose(vectors_of(dataset).X, expected(dataset, list(range(24))), atol=1e-6)

    def test_missing_items_keep_their_vector_and_are_not_read(self, dataset: Dataset) -> None:
        embed(dataset)
        Item.objects.filter(dataset=dataset, row=3).update(is_available=False)
        (dataset.data_dir / "image0003.png").unlink()
        result = embed(dataset)
        assert (result["failed"], result["computed"]) == (0, 0)
        assert vectors_of(dataset).has[3]

    def test_of_several_frames_the_first_counts(self, dataset: Dataset, encoded: list[int]) -> None:
        item = Item.objects.get(dataset=dataset, row=5)
        first = item.frames.get()
        Frame.objects.create(
            item=item, dataset=dataset, role="diff", path="other.png", sha256="0" * 64, size=1, mtime_ns=1,
            width=1, height=1, format="PNG",
        )  # fmt: skip
        assert embed(dataset)["failed"] == 0
        assert sum(encoded) == 22
        stamps = disk.open_stamps(EmbeddingSet.objects.get())
        assert int(stamps[5]) == disk.stamp_of(first.sha256)

    def test_empty_dataset(self, tmp_path: Path) -> None:
        dataset = Dataset.objects.create(name="empty", slug="empty", root=str(tmp_path))
        result = embed(dataset)
        assert (result["items"], result["failed"]) == (0, 0)
        assert disk.open_vectors(EmbeddingSet.objects.get()) is None


class TestTrouble:
    def test_unreadable_images_are_counted_and_tried_again(self, dataset: Dataset) -> None:
        broken = [dataset.data_dir / f"image{row:04d}.png" for row in (0, 6, 7)]
        for file in broken:
            file.write_bytes(b"no image")
        result = embed(dataset)
        assert (result["items"], result["failed"], result["computed"]) == (19, 3, 19)
        found = vectors_of(dataset)
        assert (~found.has).nonzero()[0].tolist() == [0, 6, 7]
        assert not found.X[[0, 6, 7]].any()
        assert EmbeddingSet.objects.get().n_failed == 3
        for row in (0, 6, 7):
            add_item_with_file(dataset, row)
        assert embed(dataset)["computed"] == 3
        assert vectors_of(dataset).has.all()

    def test_a_changed_image_that_cannot_be_read_loses_its_vector(self, dataset: Dataset) -> None:
        embed(dataset)
        (dataset.data_dir / "image0004.png").write_bytes(b"no image")
        Frame.objects.filter(item__row=4).update(sha256="e" * 64)
        assert embed(dataset)["failed"] == 1
        assert not vectors_of(dataset).has[4]

    def test_folder_away(self, dataset: Dataset) -> None:
        dataset.data_dir.rename(dataset.data_dir.with_name("moved"))
        with pytest.raises(Refusal, match="does not exist") as raised:
            embed(dataset)
        assert "AL_DATA_DIR" in raised.value.hint

    def test_no_image_readable(self, dataset: Dataset) -> None:
        for file in dataset.data_dir.iterdir():
            file.write_bytes(b"")
        with pytest.raises(Refusal, match="None of the 22 images"):
            embed(dataset)

    def test_encoder_that_cannot_run(
        self, dataset: Dataset, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        settings.EMBEDDING_BACKEND = "efficientnet_lite2"
        hide_lite2(monkeypatch, tmp_path / "hidden")
        with pytest.raises(Refusal, match="EfficientNet-Lite2's weights are not installed") as raised:
            embed(dataset)
        assert "Install them" in raised.value.hint
        assert Job.objects.get().state == Job.State.FAILED

    def test_networks_that_earlier_versions_froze_are_deleted(self, store: Path) -> None:
        folder = store / "encoders"
        folder.mkdir(exist_ok=True)
        names = {
            "resnet50-0123456789abcdef.0123456789abcdef.tflite", "mobilenet_v2-0123456789abcdef.tflite",
            "own-0123456789abcdef-224.0123456789abcdef.tflite",
        }  # fmt: skip
        for name in names:
            (folder / name).write_bytes(b"frozen")
        (folder / "own").mkdir()
        (folder / "own" / "resnet50-mine.tflite").write_bytes(b"of a person")
        forget_frozen_networks()
        left = {file.name for file in folder.rglob("*.tflite")}
        assert left == {"own-0123456789abcdef-224.0123456789abcdef.tflite", "resnet50-mine.tflite"}

    def test_damaged_vectors_are_computed_again(self, dataset: Dataset, store: Path) -> None:
        embed(dataset)
        for file in (store / "vectors").rglob("vectors-*.npy"):
            file.write_bytes(b"")
        assert embed(dataset)["computed"] == 22
        np.testing.assert_allclose(vectors_of(dataset).X, expected(dataset, list(range(22))), atol=1e-6)

    @pytest.mark.parametrize("failing_chunk", [2, 5])
    def test_after_a_stop_only_the_rest_is_done(
        self, failing_chunk: int, dataset: Dataset, encoded: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call_before(monkeypatch, encoder_pipeline, "embed_chunk", interrupt_at(failing_chunk, Cancelled))
        with pytest.raises(Refusal, match="cancelled"):
            embed(dataset)
        done = sum(encoded)
        assert done == (failing_chunk - 1) * 4
        result = embed(dataset)
        assert sum(encoded) == 22  # nothing was computed twice
        assert (result["items"], result["computed"]) == (22, 22 - done)
        np.testing.assert_allclose(vectors_of(dataset).X, expected(dataset, list(range(22))), atol=1e-6)


def test_idle_encoders_are_released_but_not_while_a_job_runs(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_pipeline, "_KEEP_SECONDS", 0.01)
    pause = threading.Event()

    def wait(*_: object) -> None:
        assert not pause.wait(0.2)  # many times as long as an idle encoder stays
        assert encoder_pipeline._encoders

    call_before(monkeypatch, encoder_pipeline, "encode_items", wait)
    embed(dataset)
    wait_until(lambda: not encoder_pipeline._encoders, why="the release of the encoder")


class TestEncoders:
    @pytest.fixture
    def other(self) -> Encoder:
        encoder = LoadedEncoder(HogEncoder())
        encoder.fingerprint = "0123456789abcdef"
        return encoder

    def _use(self, encoder: Encoder) -> None:
        encoder_pipeline._encoders[("hog", None, ())] = encoder

    def test_changing_it_keeps_the_old_vectors(
        self, dataset: Dataset, other: Encoder, settings: Any, encoded: list[int]
    ) -> None:
        settings.WEIGHTS_DIR = None
        embed(dataset)
        old = EmbeddingSet.objects.get()
        self._use(other)
        embed(dataset)
        assert sum(encoded) == 44
        assert EmbeddingSet.objects.get(is_active=True).fingerprint == other.fingerprint
        assert not_none(disk.open_vectors(old)).has.all()
        encoder_pipeline._encoders.clear()
        assert embed(dataset)["computed"] == 0  # and back again costs nothing
        assert fresh(old).is_active
        assert EmbeddingSet.objects.filter(is_active=True).count() == 1

    def test_the_old_one_stays_active_until_the_new_is_whole(
        self, dataset: Dataset, other: Encoder, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.WEIGHTS_DIR = None
        embed(dataset)
        self._use(other)
        active: set[str] = set()
        fingerprints = EmbeddingSet.objects.filter(is_active=True).values_list("fingerprint", flat=True)
        call_before(monkeypatch, encoder_pipeline, "embed_chunk", lambda *_: active.add(fingerprints.get()))
        embed(dataset)
        assert active == {LoadedEncoder(HogEncoder()).fingerprint}

    def test_helper_with_another_encoder_refuses(self, dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
        embed(dataset)
        job = Job.objects.get(kind="embed")
        Job.objects.filter(pk=job.pk).update(
            result={"fingerprint": "of another", "encoder": "MobileNetV2"}, worker="somebody else"
        )
        job.refresh_from_db()
        with pytest.raises(Superseded):
            encoder_pipeline.embed_chunk(Run(job), 0, 4)
        assert_contains(caplog.text, "would compute these embeddings with HOG + color", "AL_EMBEDDING_BACKEND")

    def test_a_fallback_is_reconsidered_by_the_next_job(self, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
        made: list[Encoder] = []

        def choose(backend: str, weights_dir: Path | None, graphs: Path) -> Encoder:
            encoder = LoadedEncoder(HogEncoder())
            encoder.is_fallback = not made
            made.append(encoder)
            return made[-1]

        monkeypatch.setattr(encoder_pipeline, "choose_encoder", choose)
        first = encoder_pipeline.encoder_of("auto", fresh=True)
        assert encoder_pipeline.encoder_of("auto") is first
        second = encoder_pipeline.encoder_of("auto", fresh=True)
        assert second is not first
        assert encoder_pipeline.encoder_of("auto", fresh=True) is second

    def test_running_job_names_the_encoder_and_keeps_what_was_asked(
        self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Any] = []
        facts = Job.objects.values_list("params", "result")
        call_before(monkeypatch, encoder_pipeline, "embed_chunk", lambda *_: seen.append(facts.get()))
        run_now("embed", dataset_id=dataset.pk, params={"backend": "hog"})
        named = {"backend": "hog", "encoder": "HOG + color", "fingerprint": LoadedEncoder(HogEncoder()).fingerprint}
        assert seen == [({"backend": "hog"}, named | {"rendering": {}})] * 6


class TestPlan:
    def test_against_a_plain_comparison(self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(encoder_pipeline, "_PLAN_ROWS", 5)
        Item.objects.filter(dataset=dataset, row__in=(4, 21)).update(is_available=False)
        rng = np.random.default_rng(0)
        stamps = np.zeros(15, np.uint64)
        wanted = []
        for row, sha256 in Frame.objects.filter(item__is_available=True).values_list("item__row", "sha256"):
            if row < 15 and rng.random() < 0.5:
                stamps[row] = int(sha256[:16], 16)
            else:
                wanted.append(row)
        rows, n_available = encoder_pipeline.stale_rows(dataset, stamps)
        assert rows.tolist() == sorted(wanted)
        assert n_available == 20

    def test_queries_do_not_grow_with_what_is_already_done(
        self, dataset: Dataset, django_assert_num_queries: Callable[..., Any]
    ) -> None:
        with django_assert_num_queries(2):
            encoder_pipeline.stale_rows(dataset, np.zeros(0, np.uint64))

    @pytest.mark.parametrize("seed", range(5))
    def test_ranges_hold_every_row_once(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rows = np.flatnonzero(rng.random(100) < rng.random())
        ranges = encoder_pipeline.cut(rows)
        held = [row for start, stop in ranges for row in range(start, stop)]
        assert set(rows.tolist()) <= set(held)
        assert len(held) == len(set(held))
        for start, stop in ranges:
            assert start in rows
            assert stop - 1 in rows
            assert start // 4 == (stop - 1) // 4

    def test_no_rows_no_ranges(self) -> None:
        assert encoder_pipeline.cut(np.empty(0, np.int64)) == []

    def test_batches_double(self) -> None:
        ranges = [(n, n + 1) for n in range(30)]
        fresh = [len(batch) for batch in encoder_pipeline._growing_batches(ranges, 0)]
        assert fresh == [2, 2, 4, 8, 14]
        assert [len(batch) for batch in encoder_pipeline._growing_batches(ranges, 4 * 100)] == [30]


class TestAfterIngest:
    def test_new_images_are_queued(self, dataset: Dataset) -> None:
        ingested.send(sender=None, dataset_id=dataset.pk)
        job = Job.objects.get()
        assert (job.kind, job.queue, job.state, job.dataset_id) == ("embed", "heavy", "queued", dataset.pk)

    def test_nothing_new_nothing_queued(self, dataset: Dataset) -> None:
        embed(dataset)
        ingested.send(sender=None, dataset_id=dataset.pk)
        assert Job.objects.filter(kind="embed").count() == 1
        EmbeddingSet.objects.update(backend="an older one")
        assert encoder_pipeline.has_work(dataset)
        EmbeddingSet.objects.update(backend="hog")
        add_item_with_file(dataset, 3, colour=9)
        ingested.send(sender=None, dataset_id=dataset.pk)
        assert Job.objects.filter(kind="embed", state="queued").count() == 1


class TestSquares:
    """An ingest decodes each file once, for the encoder as well."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Provide photographs worth a square, by item and role."""
        made = new_folder(tmp_path / "night")
        for number in range(6):
            pixels = np.random.default_rng(number).integers(0, 255, (300, 400, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(made / f"sn{number // 2}_{'ab'[number % 2]}.jpg", quality=90)
        return made

    @staticmethod
    def by_path(dataset: Dataset) -> dict[str, np.ndarray]:
        found = vectors_of(dataset)
        return {item.path: found.X[item.row] for item in dataset.items.all()}

    @pytest.mark.parametrize("grouping", ["", "{id}_{role}.jpg"])
    def test_vectors_are_made_without_opening_a_file_again(self, folder: Path, store: Path, grouping: str) -> None:
        dataset = dataset_for(folder)
        run_now("ingest", dataset_id=dataset.pk, params={"grouping": grouping})
        originals = {file: file.read_bytes() for file in folder.iterdir()}
        for file in originals:
            file.write_bytes(b"nothing")
        assert len(list((store / "squares").rglob("*.rgb"))) == 6
        assert embed(dataset)["failed"] == 0
        kept = self.by_path(dataset)
        assert not list((store / "squares").rglob("*.rgb"))
        # The same as from the files.
        for file, content in originals.items():
            file.write_bytes(content)
        for vectors in EmbeddingSet.objects.all():
            disk.delete_vectors(vectors)
            vectors.delete()
        embed(dataset)
        again = self.by_path(dataset)
        assert kept.keys() == again.keys()
        assert len(kept) == (3 if grouping else 6)
        for path, vector in kept.items():
            np.testing.assert_array_equal(vector, again[path])

    def test_none_are_kept_where_that_is_switched_off(self, folder: Path, store: Path, settings: Any) -> None:
        settings.SQUARES_MEGABYTES = 0
        run_now("ingest", dataset_id=dataset_for(folder).pk)
        assert not list((store / "squares").rglob("*.rgb"))

    def test_no_more_are_kept_than_there_is_room_for(
        self, folder: Path, store: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ingest_module, "_SLICE", 1)
        monkeypatch.setattr(ingest_module, "_LARGEST_SLICE", 1)
        monkeypatch.setattr(ingest_module, "_SLICES_AHEAD", 0)
        settings.SQUARES_MEGABYTES = 1
        for number in range(100):  # each takes 12 KB
            file = folder / f"more{number}_a.jpg"
            file.write_bytes((folder / "sn0_a.jpg").read_bytes() + str(number).encode())
        dataset = dataset_for(folder)
        run_now("ingest", dataset_id=dataset.pk)
        n = len(list((store / "squares").rglob("*.rgb")))
        assert 2**20 // (64 * 64 * 3) <= n < 100
        assert embed(dataset)["items"] == 106

    def test_none_are_kept_where_the_disk_is_short_of_room(
        self, folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nearly_full = shutil.disk_usage(store)._replace(free=3 * 2048 * 2**20)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: nearly_full)
        run_now("ingest", dataset_id=dataset_for(folder).pk)
        assert not list((store / "squares").rglob("*.rgb"))

    def test_none_are_kept_for_colour_images_of_several_files(self, folder: Path, store: Path) -> None:
        dataset = dataset_for(folder)
        dataset.composition = Composition(layout="rgb").as_params()
        dataset.save()
        run_now("ingest", dataset_id=dataset.pk, params={"grouping": "{id}_{role}.jpg"})
        assert not list((store / "squares").rglob("*.rgb"))

    def test_they_go_with_their_dataset(self, folder: Path, store: Path) -> None:
        dataset = dataset_for(folder)
        run_now("ingest", dataset_id=dataset.pk)
        assert list((store / "squares").rglob("*.rgb"))
        dataset.delete()
        assert not list((store / "squares").rglob("*.rgb"))
