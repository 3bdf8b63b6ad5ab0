"""Test examples of Similar from outside the dataset: from an upload or a command to a ranking by real embeddings."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from PIL import Image

from hoshina.core.errors import Refusal
from hoshina.jobs.lifecycle import run_now
from labeling.images.rendering import Rendering
from labeling.models import Dataset, LabelClass
from modeling.encoders import pipeline as encoder_pipeline
from modeling.encoders import reductions
from modeling.models import EmbeddingSet
from modeling.store import open_vectors
from sampling.queues import outside_examples
from sampling.queues.outside_examples import keep, vectors_of
from sampling.queues.pull import Filters, pull, ranked_rows
from sampling.queues.registry import STRATEGIES
from sampling.queues.similar import SimilarParams
from sampling.queues.strategy import BadParameter
from tests.factories import archive_bytes, assert_contains, call_after, command_json, not_none, opened, said
from tests.modeling.factories import add_item_with_file, import_labels

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store", "ranked_at_once")]
N = 12


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(encoder_pipeline, "_encoders", {})
    monkeypatch.setattr(reductions, "SAMPLE", 16)
    monkeypatch.setattr(reductions, "RUN_LENGTH", 2)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset.objects.create(name="pictures", slug="pictures", root=str(tmp_path / "pictures"), n_items=N)
    for row in range(N):
        add_item_with_file(made, row)
    return made


def embed(dataset: Dataset, backend: str) -> EmbeddingSet:
    run_now("embed", dataset_id=dataset.pk, params={"backend": backend})
    return EmbeddingSet.objects.get(dataset=dataset, is_active=True)


def copy_of(dataset: Dataset, row: int, *, scale: int = 3) -> bytes:
    """Return an enlarged copy of an item's file: another file with almost the same embedding."""
    image = Image.open(dataset.data_dir / f"image{row:04d}.png")
    buffer = io.BytesIO()
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def ranked(dataset: Dataset, **params: Any) -> list[int]:
    return ranked_rows(pull(dataset, STRATEGIES["similar"], SimilarParams(**params), Filters(), seed=0)).tolist()


@pytest.mark.parametrize("backend", ["hog", "hog+patches"])
def test_an_example_ranks_first_what_looks_like_it(dataset: Dataset, backend: str) -> None:
    vectors = embed(dataset, backend)
    name = keep(dataset, io.BytesIO(copy_of(dataset, 7)))
    assert ranked(dataset, file=name)[0] == 7
    X = not_none(open_vectors(vectors)).X
    (vector,) = vectors_of(dataset, vectors, [name])
    assert vector.shape == X[7].shape
    cosine = vector @ X[7] / np.linalg.norm(vector) / np.linalg.norm(X[7])
    assert cosine > 0.9
    assert set(ranked(dataset, file=name, to="3")) == set(range(N)) - {3}


def test_a_vector_is_computed_once_for_an_encoder(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    name = keep(dataset, io.BytesIO(copy_of(dataset, 7)))
    calls: list[object] = []
    call_after(monkeypatch, outside_examples, "_encoded", lambda *args: calls.append(args))
    first = embed(dataset, "hog")
    ranked(dataset, file=name)
    ranked(dataset, file=name)
    assert len(calls) == 1
    second = embed(dataset, "hog+patches")
    assert ranked(dataset, file=name)[0] == 7
    assert len(calls) == 2, "another encoder computes it again"
    assert first.dim != second.dim


def test_it_is_rendered_as_the_dataset_is(dataset: Dataset) -> None:
    vectors = embed(dataset, "hog")
    name = keep(dataset, io.BytesIO(copy_of(dataset, 7)))
    upright = vectors_of(dataset, vectors, [name])
    dataset.rendering = Rendering(is_inverted=True).as_params()
    dataset.save()
    with pytest.raises(Refusal, match="were computed with"):
        vectors_of(dataset, EmbeddingSet(**{**vars_of(vectors), "pk": 999}), [name])
    inverted = vectors_of(dataset, embed(dataset, "hog"), [name])
    assert not np.allclose(upright, inverted)


def vars_of(vectors: EmbeddingSet) -> dict[str, Any]:
    return {field.attname: getattr(vectors, field.attname) for field in EmbeddingSet._meta.concrete_fields}


def upload(dataset: Dataset, content: bytes, current: str = "queue=band&low=0.2") -> Any:
    return Client().post(
        f"/d/{dataset.slug}/examples/",
        {"example": SimpleUploadedFile("my photo.png", content)},
        headers={"HX-Request": "true", "HX-Current-URL": f"http://testserver/d/pictures/?{current}"},
    )


def test_an_upload_opens_similar_and_shows_its_picture(dataset: Dataset) -> None:
    embed(dataset, "hog")
    answer = upload(dataset, copy_of(dataset, 7))
    assert answer.status_code == 204
    query = json.loads(answer["HX-Trigger"])["hoshina:query"]["set"]
    assert query == {
        "queue": "similar",
        "file": query["file"],
        "back": "queue=band&low=0.2",
        "to": None,
        "of": None,
        "avoid": None,
    }
    address = f"queue=similar&file={query['file']}"
    grid = Client().get(f"/d/pictures/grid/?{address}&n=3").context["page"]
    assert grid.tiles[0].item.row == 7
    form = Client().get(f"/d/pictures/queues/?{address}&back=queue%3Dband").content.decode()
    picture = f"/d/pictures/examples/{query['file']}/"
    assert_contains(
        form,
        "/d/pictures/examples/?permit=",
        picture,
        "Similar to this image",
        "Back to Band",
        f'name="file" value="{query["file"]}"',
    )
    shown = Client().get(picture)
    assert (shown.status_code, shown["Content-Type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(shown.content)).size[0] > 60
    again = upload(dataset, copy_of(dataset, 8), address + "&back=queue%3Dband")
    assert json.loads(again["HX-Trigger"])["hoshina:query"]["set"]["back"] == "queue=band"


def test_labeled_images_are_avoided_on_request(dataset: Dataset) -> None:
    vectors = embed(dataset, "hog")
    LabelClass.objects.create(dataset=dataset, name="noise", colour="#0072B2")
    import_labels(dataset, [2, 5], np.zeros(N, int))
    answer = upload(dataset, copy_of(dataset, 7))
    query = json.loads(answer["HX-Trigger"])["hoshina:query"]["set"]
    assert query["avoid"] == "labels"
    X = not_none(open_vectors(vectors)).X
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    (example,) = vectors_of(dataset, vectors, [query["file"]])
    scores = unit @ (example / np.linalg.norm(example)) - np.maximum(unit @ unit[2], unit @ unit[5])
    expected = [row for row in np.argsort(-scores, kind="stable").tolist() if row not in {2, 5}]
    assert ranked(dataset, file=query["file"], avoid="labels") == expected
    assert ranked(dataset, file=query["file"]) != expected


def test_an_example_is_no_item_and_in_no_export(dataset: Dataset) -> None:
    embed(dataset, "hog")
    upload(dataset, copy_of(dataset, 7))
    dataset.refresh_from_db()
    assert (dataset.n_items, dataset.items.count()) == (N, N)
    names = opened(archive_bytes(dataset, with_images=True)).namelist()
    assert not [name for name in names if "example" in name]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"hello", "cannot be read as an image"), (b"", "cannot be read as an image"), (b"\x89PNG\r\n\x1a\n", "image")],
)
def test_what_is_no_image_is_refused_and_not_kept(dataset: Dataset, content: bytes, message: str, store: Path) -> None:
    answer = upload(dataset, content)
    assert message in said(answer, 422)
    assert not list((store / "examples" / str(dataset.pk)).iterdir())


def test_a_large_file_is_refused(dataset: Dataset, monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    monkeypatch.setattr(outside_examples, "MAX_BYTES", 1 << 20)
    assert "larger than 1 MiB" in said(upload(dataset, b"x" * ((1 << 20) + 1)), 422)
    assert not list((store / "examples" / str(dataset.pk)).iterdir())
    assert "Choose an image file first" in said(Client().post("/d/pictures/examples/"), 422)


def test_the_oldest_examples_make_room(dataset: Dataset, monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    monkeypatch.setattr(outside_examples, "MAX_FILES", 2)
    names = []
    for row in range(3):
        names.append(keep(dataset, io.BytesIO(copy_of(dataset, row))))
        (store / "examples" / str(dataset.pk) / names[-1]).touch()
    assert {file.name for file in (store / "examples" / str(dataset.pk)).iterdir()} == set(names[1:])
    embed(dataset, "hog")
    with pytest.raises(Refusal, match="no longer in the store"):
        ranked(dataset, file=names[0])
    assert Client().get(f"/d/pictures/examples/{names[0]}/").status_code == 404


def test_names_that_are_no_hash_are_refused(dataset: Dataset) -> None:
    embed(dataset, "hog")
    for name in ("x", "../../app.db", "a" * 63, "A" * 64):
        with pytest.raises(BadParameter, match="SHA-256"):
            ranked(dataset, file=name)
    assert Client().get("/d/pictures/examples/app.db/").status_code == 404


def test_items_of_several_files_have_no_outside_examples(dataset: Dataset) -> None:
    dataset.roles = ["g", "r"]
    dataset.save()
    assert "several files (g, r)" in said(upload(dataset, copy_of(dataset, 7)), 422)
    dataset.composition = {"vectors": "average"}
    dataset.save()
    assert upload(dataset, copy_of(dataset, 7)).status_code == 204, "an average is that of one file"


def test_the_examples_of_a_deleted_dataset_are_deleted(dataset: Dataset, store: Path) -> None:
    keep(dataset, io.BytesIO(copy_of(dataset, 7)))
    folder = store / "examples" / str(dataset.pk)
    assert folder.is_dir()
    dataset.delete()
    assert not folder.exists()


def test_the_command(dataset: Dataset, tmp_path: Path) -> None:
    embed(dataset, "hog")
    file = tmp_path / "outside.png"
    file.write_bytes(copy_of(dataset, 7))
    found = command_json("similar", "--file", str(file), "-k", "3")
    assert found["items"][0]["path"] == "image0007.png"
    assert (found["item_id"], len(found["files"]), len(found["items"])) == (None, 1, 3)
    both = command_json("similar", "image0003.png", "--file", str(file), "-k", "20")
    assert "image0003.png" not in {item["path"] for item in both["items"]}
    assert len(both["items"]) == N - 1
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("similar", "--file", str(tmp_path / "nothing.png"))
    with pytest.raises(CommandError, match="Give an image"):
        call_command("similar")
