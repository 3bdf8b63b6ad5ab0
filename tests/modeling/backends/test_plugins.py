"""Encoders of other packages: real entry points on the path, good and broken ones."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import invalidate_caches
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from django.test import Client
from PIL import Image

from hoshina.checks import encoders_are_listed
from hoshina.jobs.lifecycle import run_now
from labeling.models import Dataset
from modeling import backends
from modeling.backends import BUILT_IN, choose_encoder, plugins, survey
from modeling.models import EmbeddingSet
from tests.factories import assert_contains, said
from tests.modeling.factories import add_item_with_file, unavailable

ROOT = Path(__file__).parents[3]
CODE = """
import numpy as np
from modeling.backends.plugins import ImageEncoder

class Mean(ImageEncoder):
    title, license, about, input_size, dim = "Mean color", "MIT", "Three numbers.", 16, 3
    def load(self):
        self.scale = 1 / 255
    def encode(self, batch):
        return batch.mean(axis=(1, 2)) * self.scale

class Wrong(Mean):
    title = "Wrong shape"
    def encode(self, batch):
        return np.zeros((len(batch), 7))

class Absent(Mean):
    title = "No weights"
    def check(self):
        return "its weights are missing."

class Failing(Mean):
    title = "Failing"
    def load(self):
        raise RuntimeError("no more memory")
"""
POINTS = """[hoshina.encoders]
mean_color = colors_for_tests:Mean
wrong_shape = colors_for_tests:Wrong
absent_weights = colors_for_tests:Absent
failing = colors_for_tests:Failing
missing_module = nowhere_for_tests:Encoder
not_an_encoder = pathlib:Path
hog = colors_for_tests:Mean
"""


CACHED = (plugins.entry_points, plugins.plugin)


@pytest.fixture(autouse=True)
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package with encoders, as pip would."""
    site = tmp_path / "site"
    facts = site / "colors-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / "colors_for_tests.py").write_text(CODE)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: colors\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(site))
    invalidate_caches()
    forget()
    yield
    sys.modules.pop("colors_for_tests", None)
    forget()


def forget() -> None:
    for function in CACHED:
        function.cache_clear()


def test_a_good_one() -> None:
    encoder = choose_encoder("mean_color")
    red = Image.new("RGB", (40, 20), (255, 0, 0))
    assert encoder.encode([red, red]).tolist() == [[1, 0, 0], [1, 0, 0]]
    assert encoder.encode([red]).dtype == np.float32
    assert (encoder.backend, encoder.name, encoder.dim) == ("mean_color", "Mean color", 3)
    assert backends.is_backend("mean_color")
    assert not backends.is_backend("mean_colour")
    line = next(line for line in survey() if line.backend == "mean_color")
    assert line.about == "Three numbers. License: MIT; 16 px, 3 values."


def test_ours_are_found_in_the_same_way() -> None:
    """Every encoder of this package is an entry point, in pyproject.toml as in the installed metadata."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][plugins.GROUP]
    assert set(listed) == set(BUILT_IN)
    assert plugins.missing_names(BUILT_IN) == []
    for name in BUILT_IN:
        plugin = plugins.plugin(name)
        assert plugin.kind is not None
        assert (plugin.package, f"{plugin.kind.__module__}:{plugin.kind.__name__}") == ("hoshina", listed[name])
        assert issubclass(plugin.kind, plugins.ImageEncoder)
    assert choose_encoder("hog").name == "HOG + color"  # and not that of another package with this name


def test_names_are_listed_without_imports() -> None:
    assert {"mean_color", "missing_module", "hog"} <= plugins.entry_points().keys()
    assert backends.is_backend("missing_module")
    assert "colors_for_tests" not in sys.modules


def test_older_metadata_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", dict)
    monkeypatch.setattr(plugins.metadata, "distribution", lambda name: SimpleNamespace(entry_points=()))
    assert "uv sync" in unavailable("lists no encoder hog", "hog").hint
    assert "lists no encoder patches" in backends.likely("hog+patches").reason + backends.likely("patches").reason
    (error,) = encoders_are_listed(None)
    assert (error.id, backends.OUTDATED) == ("hoshina.E002", error.hint)
    assert "mobilenet_v2, efficientnet_b0" in error.msg


def test_the_setting_takes_models_of_timm_and_other_packages(tmp_path: Path) -> None:
    code = "import hoshina.settings"
    for name, is_known in (("timm:resnet18@a.pth", True), ("mean_color+hog", True), ("magic", False)):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False,
            env=os.environ | {"AL_EMBEDDING_BACKEND": name,
                              "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), *sys.path])},
        )  # fmt: skip
        assert (done.returncode == 0) is is_known, done.stderr


def test_it_can_be_joined() -> None:
    encoder = choose_encoder("mean_color+hog")
    assert encoder.name == "Mean color + HOG + color"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing_module", "missing_module of colors cannot be loaded .ModuleNotFoundError"),
        ("not_an_encoder", "not a subclass"),
        ("absent_weights", "No weights cannot be used: its weights are missing."),
        ("failing", "could not be loaded .no more memory"),
    ],
)
def test_broken_ones_say_why(name: str, problem: str) -> None:
    unavailable(problem, name)


def test_an_output_of_another_shape_is_refused() -> None:
    encoder = choose_encoder("wrong_shape")
    unavailable(r"returned float64 \(1, 7\)", [Image.new("RGB", (9, 9))], choose=encoder.encode)


def test_broken_ones_are_logged_once_and_leave_the_others(caplog: pytest.LogCaptureFixture) -> None:
    names = [line.backend for line in survey() + survey()]
    assert {"mean_color", "missing_module", "not_an_encoder", "hog"} <= set(names)
    messages = [record.getMessage() for record in caplog.records if "cannot be loaded" in record.getMessage()]
    assert len(messages) == 2


@pytest.mark.django_db
def test_a_dataset_uses_one(client: Client, store: Path, tmp_path: Path) -> None:
    dataset = Dataset.objects.create(name="pictures", slug="pictures", root=str(tmp_path / "pictures"), n_items=3)
    for row in range(3):
        add_item_with_file(dataset, row)
    page = said(client.get("/d/pictures/encoders/"), 200)
    assert_contains(page, "Mean color", "The encoder missing_module of colors cannot be loaded")
    assert client.post("/d/pictures/encoders/use/", {"backend": "mean_color"}).status_code == 200
    result = run_now("embed", dataset_id=dataset.pk).result
    assert (result["items"], result["dim"]) == (3, 3)
    assert EmbeddingSet.objects.get().encoder == "Mean color"
