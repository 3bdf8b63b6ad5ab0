"""The notebooks of the documentation: each runs from its first to its last cell against a running server."""

import importlib.util
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.clients.conftest import Running
from tests.parts import ROOT, missing

pytestmark = pytest.mark.slow
NOTEBOOKS = ROOT / "docs" / "notebooks"
OPERATORS = ROOT / "tests" / "torchvision_operators"


def run(name: str, running: Running, folder: Path) -> str:
    """Run a notebook in a kernel that finds the server by its store, and return what its cells print."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    kernel = os.environ | {
        "AL_STORE_DIR": str(running.store),
        "PYTHONPATH": str(OPERATORS),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",  # threads that wait for each other are slow where other tests run
    }
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env=kernel)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(
        output.get("text", "") + str(output.get("data", {}).get("text/html", output.get("data", {})))
        for output in outputs
    )


def require(*modules: str) -> None:
    if absent := [name for name in modules if importlib.util.find_spec(name) is None]:
        missing(f"{', '.join(absent)} (uv sync --extra timm)")


def percentages(pattern: str, printed: str) -> list[float]:
    return [float(found) for found in re.findall(pattern + r"\D*([\d.]+)%", printed)]


def test_every_notebook_is_here() -> None:
    names = {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
    assert names == {"label", "own_embeddings", "train"}
    for name in names:
        cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
        assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")], "no outputs"


def test_label(running: Running, tmp_path: Path) -> None:
    printed = run("label", running, tmp_path)
    assert printed.count("data:image/") >= 24 + 10 + 5, "thumbnails of lists"
    assert "'unlabeled'" in printed
    assert "selection_probability" in printed


def test_own_embeddings(running: Running, tmp_path: Path) -> None:
    require("torch")
    printed = run("own_embeddings", running, tmp_path)
    accuracies = percentages(r"labels:", printed)
    assert len(accuracies) == 4
    assert accuracies[-1] > max(80, accuracies[0])
    assert "turned-digits" in printed


def test_train(running: Running, tmp_path: Path) -> None:
    require("torch", "torchvision")
    printed = run("train", running, tmp_path)
    keras_accuracy, torch_accuracy = percentages("Held-out test", printed)
    assert min(keras_accuracy, torch_accuracy) > 75
    assert "'external'" in printed
