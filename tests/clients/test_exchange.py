"""Embeddings, predictions, jobs, images and files through the Python client."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hoshina_client import Dataset, JobFailed, Refused, arrays
from PIL import Image

from tests.clients.conftest import N_IMAGES, Running
from tests.factories import assert_contains

pytestmark = pytest.mark.slow


def _groups(n: int = N_IMAGES) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings of two groups, and the group of each image."""
    groups = np.arange(n) % 2
    X = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    X[:, 0] += 20 * groups
    return X, groups


def test_own_embeddings_and_predictions(
    galaxies: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = list(galaxies.items())
    X, groups = _groups()
    # In several parts, as of a large dataset, and in any order.
    monkeypatch.setattr(arrays, "MOST_BYTES", 1000)
    order = np.random.default_rng(1).permutation(N_IMAGES)
    job = galaxies.push_embeddings([items[place].path for place in order], X[order], name="own")
    galaxies.wait(job)
    assert "\n" in capsys.readouterr().err
    embeddings = galaxies.info()["embeddings"]
    assert (embeddings["n_vectors"], embeddings["dim"]) == (N_IMAGES, 8)
    similar = galaxies.similar(items[1], 10)
    assert {item.row % 2 for item in similar} == {1}
    assert similar[0].score is not None

    names = ["spiral", "elliptical"]
    galaxies.label(items[:20], [names[group] for group in groups[:20]])
    trained = galaxies.wait(galaxies.retrain(), progress=False)
    assert trained.result["labels"] == 20
    assert [item.prediction.label for item in galaxies.items(state="unlabeled") if item.prediction] == [
        names[group] for group in groups[20:]
    ]
    assert {item.row % 2 for item in galaxies.items(predicted="spiral", min_probability=0.5)} == {0}
    assert galaxies.accuracy()["accuracy"] is None
    assert galaxies.models()[0]["n_labels"] == 20

    P = np.stack([groups, 1 - groups], axis=1) * 0.8 + 0.1  # the opposite of what the model says
    galaxies.wait(galaxies.push_predictions(items, P, names, name="elsewhere"), progress=False)
    assert galaxies.models()[0]["kind"] == "external"
    predicted = {item.row: item.prediction.label for item in galaxies.items() if item.prediction}
    assert predicted[20] == "elliptical"
    assert [job.kind for job in galaxies.jobs(state="succeeded")][:1] == ["import_predictions"]


def test_a_job_is_canceled(galaxies: Dataset) -> None:
    job = galaxies.start("scan")
    assert galaxies.cancel(job).id == job.id
    ended = galaxies.cancel(galaxies.cancel(job))
    while ended.is_active:
        ended = galaxies.cancel(job)
    assert ended.state in ("cancelled", "succeeded")  # it may have been faster


def test_arrays_that_do_not_fit(galaxies: Dataset) -> None:
    X = np.zeros((2, 3))
    for ids, array, message in (
        ([1], X, "1 ids and 2 rows"),
        ([1, 2], X[0], r"shape \(3,\)"),
        ([], np.zeros((0, 3)), "no embeddings"),
    ):
        with pytest.raises(ValueError, match=message):
            galaxies.push_embeddings(ids, array, name="x")
    with pytest.raises(TypeError, match="numbers and some are text"):
        galaxies.push_embeddings([1, "a.png"], X, name="x")
    with pytest.raises(ValueError, match="3 columns, and there are 2 classes"):
        galaxies.push_predictions([1, 2], X, ["a", "b"], name="x")
    # What only the server can know is an error of the job.
    with pytest.raises(JobFailed) as caught:
        galaxies.wait(galaxies.push_embeddings(["no.png", "none.png"], X + 1, name="x"), progress=False)
    assert caught.value.job.state == "failed"
    assert caught.value.hint


def test_images(galaxies: Dataset, running: Running) -> None:
    items = galaxies.queue("random", 2)
    assert Image.open(io.BytesIO(items[0].thumbnail())).size[0] > 0
    with Image.open(running.store.parent / "galaxies" / items[0].path) as original:
        assert items[0].image().size == original.size
    assert_contains(items[0]._repr_html_(), "data:image/", items[0].path)
    page = items._repr_html_()
    assert page.count("<img") == 2
    items[0].path = "<script>"
    assert "<script>" not in items._repr_html_()


def test_files(galaxies: Dataset, tmp_path: Path) -> None:
    items = list(galaxies.items())
    galaxies.label(items[:10], ["spiral", "elliptical"] * 5)
    file = galaxies.export(tmp_path, layout="imagefolder", val=20, test=20)
    assert file == tmp_path / "galaxies.zip"
    with zipfile.ZipFile(file) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 10
    with pytest.raises(Refused):
        galaxies.export(tmp_path / "bad.zip", layout="nonsense")
    assert [path.name for path in tmp_path.iterdir()] == ["galaxies.zip"], "nothing half-written is left"

    table = tmp_path / "labels.csv"
    table.write_text("path,label\nimage020.png,spiral\nimage021.png,ring\n", encoding="utf-8")
    report = galaxies.import_labels(table, preview=True, create_classes=True)
    assert (report["applied"], galaxies.item("image020.png").label) == (2, None)
    assert "ring" not in [label.name for label in galaxies.classes]
    assert galaxies.import_labels(table)["applied"] == 1
    assert galaxies.item("image020.png").label == "spiral"
    with pytest.raises(FileNotFoundError):
        galaxies.import_labels(tmp_path / "none.csv")
    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(Refused):
        galaxies.import_labels(empty)
