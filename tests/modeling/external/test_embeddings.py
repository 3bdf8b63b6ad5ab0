"""Embeddings of another program: matching, what is refused, what a second import does, and how they are used."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from numpy.typing import NDArray

from hoshina.backup.contents import store_files
from hoshina.core.errors import Refusal
from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.models import Dataset, Frame
from modeling import store as arrays
from modeling.encoders import choice as encoder_choice
from modeling.external import embeddings as importing
from modeling.external.embeddings import Request, import_embeddings
from modeling.models import EmbeddingSet, EncoderChoice
from tests.factories import MakeDataset, archive_bytes, assert_contains, command_json, manifest, not_none, opened, said
from tests.modeling.factories import import_labels

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]

Array = NDArray[Any]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset(8, classes=("cat", "dog"))


@pytest.fixture
def X() -> Array:
    return np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)


def paths_of(dataset: Dataset) -> list[str]:
    return list(dataset.items.order_by("row").values_list("path", flat=True))


def npz(folder: Path, X: Array, name: str = "dinov2.npz", **keys: Any) -> Path:
    np.savez(folder / name, embeddings=X, **{key: np.array(values) for key, values in keys.items()})
    return folder / name


def vectors_of(dataset: Dataset, name: str) -> tuple[Array, Array]:
    embedding_set = not_none(encoder_choice.imported_set(dataset, f"import:{name}"))
    vectors = not_none(arrays.open_vectors(embedding_set))
    return np.array(vectors.X), np.array(vectors.has)


def keys_of(dataset: Dataset, kind: str) -> list[Any]:
    if kind == "sha256":
        return list(Frame.objects.filter(dataset=dataset).order_by("item__row").values_list("sha256", flat=True))
    if kind == "item_id":
        return list(dataset.items.order_by("row").values_list("pk", flat=True))
    return [path if kind == "path" else Path(path).stem for path in paths_of(dataset)]


class TestMatching:
    @pytest.mark.parametrize("kind", ["path", "item_id", "sha256", "file_name"])
    def test_rows_in_another_order(self, dataset: Dataset, tmp_path: Path, X: Array, kind: str) -> None:
        order = np.random.default_rng(1).permutation(8)
        keys = [keys_of(dataset, kind)[place] for place in order]
        report = import_embeddings(dataset, Request(npz(tmp_path, X[order], **{kind: keys})))
        found, has = vectors_of(dataset, "dinov2")
        assert np.array_equal(found, X)
        assert has.all()
        assert (report.added, report.permuted, report.without_embedding) == (8, True, 0)

    @pytest.mark.parametrize("kind", ["path", "item_id", "sha256"])
    def test_keys_without_a_name_are_found_from_their_content(
        self, dataset: Dataset, tmp_path: Path, X: Array, kind: str
    ) -> None:
        np.save(tmp_path / "X.npy", X)
        (tmp_path / "ids.txt").write_text("\n".join(map(str, keys_of(dataset, kind))))
        report = import_embeddings(dataset, Request(tmp_path / "X.npy", tmp_path / "ids.txt", name="mine"))
        assert np.array_equal(vectors_of(dataset, "mine")[0], X)
        assert (report.rows, report.added, report.permuted) == (8, 8, False)

    def test_a_csv_file_of_keys(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        np.save(tmp_path / "X.npy", X[::-1])
        lines = [f"{number},{path}" for number, path in enumerate(reversed(paths_of(dataset)))]
        (tmp_path / "ids.csv").write_text("\n".join(["number,path", *lines]))
        import_embeddings(dataset, Request(tmp_path / "X.npy", tmp_path / "ids.csv"))
        assert np.array_equal(vectors_of(dataset, "X")[0], X)

    def test_identical_files_share_an_embedding(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        Frame.objects.filter(dataset=dataset, item__row__in=(2, 5)).update(sha256="ab" * 32)
        report = import_embeddings(dataset, Request(npz(tmp_path, X[:1], sha256=["AB" * 32])))
        found, has = vectors_of(dataset, "dinov2")
        assert np.flatnonzero(has).tolist() == [2, 5]
        assert np.array_equal(found[[2, 5]], X[[0, 0]])
        assert (report.items, report.without_embedding) == (2, 6)

    @pytest.mark.parametrize("layout", ["list", "fixed", "columns"])
    def test_parquet(self, dataset: Dataset, tmp_path: Path, X: Array, layout: str) -> None:
        columns: dict[str, Any] = {"path": paths_of(dataset)[::-1]}
        if layout == "columns":
            columns |= {f"f{place}": X[::-1, place] for place in range(5)}
        elif layout == "list":
            columns["embedding"] = [list(map(float, row)) for row in X[::-1]]
        else:
            columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(X[::-1].ravel()), 5)
        pq.write_table(pa.table(columns), tmp_path / "e.parquet", row_group_size=3)
        import_embeddings(dataset, Request(tmp_path / "e.parquet"))
        assert np.array_equal(vectors_of(dataset, "e")[0], X)

    def test_a_missing_vector_in_parquet(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        vectors = [None if row == 2 else list(map(float, X[row])) for row in range(8)]
        pq.write_table(pa.table({"path": paths_of(dataset), "embedding": vectors}), tmp_path / "e.parquet")
        report = import_embeddings(dataset, Request(tmp_path / "e.parquet"))
        assert np.flatnonzero(~vectors_of(dataset, "e")[1]).tolist() == [2]
        assert list(report.not_finite.names) == ["row 3"]

    def test_an_item_of_several_frames_has_one(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        Dataset.objects.filter(pk=dataset.pk).update(grouping={"by": "x"}, roles=["image", "ref"])
        dataset.refresh_from_db()
        item = dataset.items.get(row=0)
        frame = Frame.objects.get(item=item)
        frame.pk, frame.path, frame.role, frame.sha256 = None, "other.png", "ref", "cd" * 32
        frame.save()
        import_embeddings(dataset, Request(npz(tmp_path, X[:1], path=["other.png"])))
        assert np.array_equal(vectors_of(dataset, "dinov2")[0][0], X[0])
        with pytest.raises(Refusal, match="items of several frames have one in all"):
            import_embeddings(dataset, Request(npz(tmp_path, X[:2], "b.npz", path=["other.png", item.path])))


class TestReport:
    def test_everything_that_is_left_out_is_counted(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        dataset.items.filter(row=7).update(is_available=False)
        X = X.astype(np.float16)
        X[1, 0], X[2, 3] = np.nan, np.inf
        paths = [*paths_of(dataset), paths_of(dataset)[0], "elsewhere.png"]
        report = import_embeddings(dataset, Request(npz(tmp_path, np.concatenate([X, X[:2]]), path=paths)))
        found, has = vectors_of(dataset, "dinov2")
        assert has.tolist() == [True, False, False, True, True, True, True, False]
        assert not found[~has].any()
        assert found.dtype == np.float32
        facts = report.as_json()
        assert (facts["items"], facts["not_finite"], facts["duplicates"], facts["unavailable"]) == (5, 2, 1, 1)
        assert (facts["dtype"], facts["unknown_names"]) == ("float16", ["elsewhere.png"])
        assert facts["without_embedding"] == 3

    def test_values_beyond_float32_are_not_finite(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        wide = X.astype(np.float64)
        wide[4, 1] = 1e300
        report = import_embeddings(dataset, Request(npz(tmp_path, wide, path=paths_of(dataset))))
        assert list(report.not_finite.names) == ["row 5"]


def refused(dataset: Dataset, message: str, request: Request) -> None:
    """Assert that an import is refused with a message, and leaves neither a row nor a file."""
    before = set(EmbeddingSet.objects.values_list("pk", "generation"))
    with pytest.raises(Refusal, match=message):
        import_embeddings(dataset, request)
    assert set(EmbeddingSet.objects.values_list("pk", "generation")) == before


class TestRefusals:
    def test_different_embeddings_of_one_image(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        paths = [*paths_of(dataset)[:7], paths_of(dataset)[0]]
        refused(dataset, "1 image occur more than once with different", Request(npz(tmp_path, X, path=paths)))

    def test_an_array_without_keys(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        np.save(tmp_path / "X.npy", X)
        refused(dataset, "does not say which image.*--ids FILE", Request(tmp_path / "X.npy"))
        refused(dataset, "No array names the images", Request(npz(tmp_path, X)))

    def test_too_few_keys(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        refused(dataset, "7 keys .path. and 8 embeddings", Request(npz(tmp_path, X, path=paths_of(dataset)[:7])))

    @pytest.mark.parametrize("shape", [(8,), (8, 2, 3), (8, 0)])
    def test_other_shapes(self, dataset: Dataset, tmp_path: Path, shape: tuple[int, ...]) -> None:
        refused(dataset, "The vectors|no single array", Request(npz(tmp_path, np.ones(shape), path=paths_of(dataset))))

    def test_nothing_matches(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        refused(dataset, r"No row is about an image.*a\.png", Request(npz(tmp_path, X[:1], path=["a.png"])))

    def test_no_vector_is_finite(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        refused(dataset, "8 are not finite", Request(npz(tmp_path, X * np.nan, path=paths_of(dataset))))

    def test_vectors_of_different_lengths(self, dataset: Dataset, tmp_path: Path) -> None:
        columns = {"path": paths_of(dataset)[:2], "embedding": [[1.0, 2.0], [3.0]]}
        pq.write_table(pa.table(columns), tmp_path / "e.parquet")
        refused(dataset, "row 2 has 1 values; the first one has 2", Request(tmp_path / "e.parquet"))

    @pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.parquet"])
    def test_damaged_files(self, dataset: Dataset, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"damaged")
        (tmp_path / "ids.txt").write_text("a.png")
        refused(dataset, f"{name} ", Request(tmp_path / name, tmp_path / "ids.txt"))

    def test_python_objects_are_not_unpickled(self, dataset: Dataset, tmp_path: Path) -> None:
        np.save(tmp_path / "X.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
        (tmp_path / "ids.txt").write_text("a.png")
        refused(dataset, "objects are refused", Request(tmp_path / "X.npy", tmp_path / "ids.txt"))

    def test_other_files_and_names(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        (tmp_path / "e.csv").write_text("path,a")
        refused(dataset, r"ends in \.npy, \.npz, \.parquet", Request(tmp_path / "e.csv"))
        refused(dataset, "There is no file", Request(tmp_path / "missing.npy"))
        refused(dataset, "cannot be named 'a.b'", Request(npz(tmp_path, X, path=paths_of(dataset)), name="a+b"))

    def test_an_interrupted_import_leaves_nothing(
        self, dataset: Dataset, tmp_path: Path, X: Array, store: Path
    ) -> None:
        def tell(stage: str, done: int, total: int) -> None:
            if stage == "Writing the embeddings":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            import_embeddings(dataset, Request(npz(tmp_path, X, path=paths_of(dataset))), tell)
        assert not EmbeddingSet.objects.exists()
        assert not [path for path in store.rglob("*") if path.is_file()]


class TestSecondImport:
    @pytest.fixture(autouse=True)
    def _first(self, store: Path, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        import_embeddings(dataset, Request(npz(tmp_path, X[:6], path=paths_of(dataset)[:6])))

    def test_new_images_are_added(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        again = npz(tmp_path, X[4:].astype(np.float16), "more.npz", path=paths_of(dataset)[4:])
        report = import_embeddings(dataset, Request(again, name="dinov2"))
        assert (report.added, report.unchanged, report.without_embedding) == (2, 2, 0)
        assert np.allclose(vectors_of(dataset, "dinov2")[0], X, atol=1e-2)
        assert EmbeddingSet.objects.get().n_failed == 0

    def test_another_encoder_of_the_same_name_is_not_mixed_in(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        other = Request(npz(tmp_path, X + 1, "o.npz", path=paths_of(dataset)), name="dinov2")
        refused(dataset, "differ from those imported before as dinov2", other)
        wider = Request(npz(tmp_path, np.tile(X, 2), "w.npz", path=paths_of(dataset)), name="dinov2")
        refused(dataset, "have 10 values, those imported before as dinov2 have 5", wider)
        assert np.array_equal(vectors_of(dataset, "dinov2")[0][:6], X[:6])

    def test_unless_it_replaces_them(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        wider = npz(tmp_path, np.tile(X, 2), "w.npz", path=paths_of(dataset))
        import_embeddings(dataset, Request(wider, name="dinov2", is_replacing=True))
        assert vectors_of(dataset, "dinov2")[0].shape == (8, 10)

    def test_a_changed_image_takes_a_new_embedding(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        Frame.objects.filter(item__row=3).update(sha256="ef" * 32)
        again = npz(tmp_path, X[3:4] + 1, "more.npz", path=paths_of(dataset)[3:4])
        report = import_embeddings(dataset, Request(again, name="dinov2"))
        assert report.added == 1
        assert np.array_equal(vectors_of(dataset, "dinov2")[0][3], X[3] + 1)


class TestUse:
    @pytest.fixture
    def imported(self, dataset: Dataset, tmp_path: Path, X: Array) -> dict[str, Any]:
        file = npz(tmp_path, X[:6], path=paths_of(dataset)[:6])
        return dict(command_json("import_embeddings", str(file)))

    def test_the_command_imports_and_uses_them(self, dataset: Dataset, imported: dict[str, Any]) -> None:
        assert (imported["name"], imported["items"], imported["without_embedding"]) == ("dinov2", 6, 2)
        assert imported["used"]
        assert EncoderChoice.objects.get(dataset=dataset).backend == "import:dinov2"
        assert EmbeddingSet.objects.get().is_active

    def test_import_only(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        file = npz(tmp_path, X, path=paths_of(dataset))
        assert not command_json("import_embeddings", str(file), "--no-use")["used"]
        assert not EmbeddingSet.objects.get().is_active
        assert encoder_choice.use(dataset, "import:dinov2")
        with pytest.raises(Refusal, match="no embeddings called 'other'"):
            encoder_choice.use(dataset, "import:other")

    def test_no_job_computes_embeddings_of_new_images(self, dataset: Dataset, imported: dict[str, Any]) -> None:
        Frame.objects.filter(item__row=0).update(sha256="ef" * 32)
        result = run_now("embed", dataset_id=dataset.pk).result
        assert (result["items"], result["computed"], result["without_embedding"]) == (5, 0, 3)
        assert vectors_of(dataset, "dinov2")[1].tolist() == [False, *5 * [True], False, False]
        active = EmbeddingSet.objects.get()
        assert active.imported_note == (
            "3 images have no embedding from dinov2: import more of them, or choose another encoder."
        )

    def test_the_pages_say_which_images_have_none(
        self, client: Client, dataset: Dataset, imported: dict[str, Any]
    ) -> None:
        assert "2 images have no embedding from dinov2" in said(client.get(f"/d/{dataset.slug}/encoders/"))
        assert "2 without embedding" in said(client.get(f"/d/{dataset.slug}/model/badge/"))

    def test_a_model_learns_from_them(self, dataset: Dataset, imported: dict[str, Any]) -> None:
        import_labels(dataset, [0, 1, 2, 3], np.arange(8) % 2)
        result = run_now("retrain", dataset_id=dataset.pk).result
        assert result["labels"] == 4

    def test_the_export_names_the_source(self, dataset: Dataset, tmp_path: Path, imported: dict[str, Any]) -> None:
        source = manifest(opened(archive_bytes(dataset)))["encoder"]["imported"]
        assert source["sha256"] == hashlib.sha256((tmp_path / "dinov2.npz").read_bytes()).hexdigest()
        assert (source["file"], source["name"]) == ("dinov2.npz", "dinov2")
        assert source["by"]

    def test_a_backup_holds_them(self, dataset: Dataset, imported: dict[str, Any]) -> None:
        names = {file.name for file in store_files()}
        generation = EmbeddingSet.objects.get().generation
        assert {f"vectors-{generation}.npy", f"stamps-{generation}.npy"} <= names

    def test_the_command_says_what_it_did(self, dataset: Dataset, tmp_path: Path, X: Array) -> None:
        out = io.StringIO()
        call_command("import_embeddings", str(npz(tmp_path, X, path=paths_of(dataset))), stdout=out)
        assert "dinov2: 8 images of this dataset have an embedding of 5 values; 8 are new" in out.getvalue()
        with pytest.raises(CommandError, match="There is no file"):
            call_command("import_embeddings", "nowhere.npy")


class TestPage:
    def upload(self, X: Array, dataset: Dataset) -> SimpleUploadedFile:
        content = io.BytesIO()
        np.savez(content, embeddings=X, path=np.array(paths_of(dataset)))
        return SimpleUploadedFile("clip.npz", content.getvalue())

    def test_an_upload_becomes_a_job_and_its_file_is_deleted(
        self, client: Client, dataset: Dataset, X: Array, store: Path
    ) -> None:
        address = f"/d/{dataset.slug}/encoders/import/"
        answer = client.post(address, {"file": self.upload(X, dataset), "name": "clip", "use": "on"})
        assert_contains(said(answer, 200), "clip.npz is being imported")
        job = Job.objects.get(kind="import_embeddings")
        assert Path(job.params["file"]).is_file()
        second = client.post(address, {"file": self.upload(X, dataset)})
        assert_contains(said(second, 422), "Another import is running")
        run_now("import_embeddings", dataset_id=dataset.pk, params=job.params)
        assert_contains(said(client.get(address)), "clip: 8 images of this dataset have an embedding")
        assert not Path(job.params["file"]).exists()
        assert EmbeddingSet.objects.get().origin["file"] == "clip.npz"

    def test_a_refused_file_is_deleted_and_explained(self, client: Client, dataset: Dataset) -> None:
        address = f"/d/{dataset.slug}/encoders/import/"
        client.post(address, {"file": SimpleUploadedFile("x.npz", b"damaged")})
        job = Job.objects.get(kind="import_embeddings")
        with pytest.raises(Refusal):
            run_now("import_embeddings", dataset_id=dataset.pk, params=job.params)
        assert_contains(said(client.get(address)), "changed nothing", "cannot be read")
        assert not Path(job.params["file"]).exists()
        assert not list((Path(job.params["file"]).parent.parent).iterdir())

    def test_no_file(self, client: Client, dataset: Dataset) -> None:
        assert_contains(said(client.post(f"/d/{dataset.slug}/encoders/import/"), 422), "Choose a file first.")
        assert importing.Request(Path("a+b.npy")).set_name == "a_b"
