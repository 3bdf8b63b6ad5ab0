"""The program that goes out with a quick training, in a process that knows nothing of the project: it sees what the
training saw, of files of every kind."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image

from hoshina.jobs.lifecycle import run_now
from labeling.images.composite import Composition
from labeling.images.rendering import Rendering
from labeling.ingest.dataset_folder import dataset_for
from labeling.models import Dataset, LabelClass
from modeling.backends.litert import Network
from modeling.encoders.input_spec import InputSpec
from modeling.encoders.network_input import NetworkInput
from modeling.models import ModelVersion
from modeling.quick.options import QuickOptions
from modeling.quick.pipeline import quick_folder
from modeling.quick.program import NAME, requirements
from modeling.versions import model_files
from tests.factories import assert_contains, decide, fresh, not_none
from tests.labeling.groups import ROLES
from tests.labeling.images.pictures import png16
from tests.modeling.weights import real_weights_dir

SIDE = 32
QUICKLY = QuickOptions(image_side=SIDE, epochs=2, validation_share=0.5)
pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


@pytest.fixture(autouse=True)
def weights(settings: Any) -> None:
    settings.WEIGHTS_DIR = real_weights_dir()
    settings.EMBEDDING_BACKEND = "hog"


@dataclass
class Program:
    """An archive that was unpacked somewhere, without Django."""

    folder: Path
    graph: bytes

    @property
    def about(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "classes.json").read_text()))

    def tell(self, **facts: Any) -> None:
        (self.folder / "classes.json").write_text(json.dumps(self.about | facts))

    def run(self, *arguments: str | Path, code: int = 0) -> tuple[list[dict[str, str]], str]:
        """Return the lines of its table, and what it says besides."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AL_", "DJANGO"))}
        command = [sys.executable, self.folder / "classify.py", *arguments]
        done = subprocess.run(command, cwd=self.folder.parent, env=plain, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return list(csv.DictReader(io.StringIO(done.stdout))), done.stderr

    def probabilities(self, lines: list[dict[str, str]]) -> np.ndarray:
        return np.array([[float(line[f"p:{name}"]) for name in self.about["classes"]] for line in lines])


def trained(dataset: Dataset, tmp_path: Path) -> Program:
    """Return labels by the number at the end of each item's name, a training, and its program unpacked elsewhere."""
    for name in ("even", "odd"):
        LabelClass.objects.create(dataset=dataset, name=name, colour="#E69F00")
    items = dict(dataset.items.filter(is_available=True).values_list("path", "row"))
    for path, row in items.items():
        decide(dataset, "assign", [row], ("even", "odd")[number_of(path) % 2])
    run_now("quick_train", dataset_id=dataset.pk, params=asdict(QUICKLY))
    folder = quick_folder(ModelVersion.objects.get())
    with zipfile.ZipFile(folder / NAME) as archive:
        archive.extractall(tmp_path / "elsewhere")
    (program,) = (tmp_path / "elsewhere").iterdir()
    # What stands beside the program is found first.
    (program / "django.py").write_text("raise RuntimeError('no Django here')")
    return Program(program, (folder / "model.tflite").read_bytes())


def number_of(path: str) -> int:
    return int("".join(filter(str.isdigit, Path(path).name.partition(".")[0])))


def expected() -> dict[str, np.ndarray]:
    """Return what the version itself says, by the paths of items."""
    dataset = Dataset.objects.get()
    found = not_none(model_files.open_probabilities(ModelVersion.objects.get()))
    rows = dict(dataset.items.values_list("path", "row"))
    return {path: found[row] for path, row in rows.items() if not np.isnan(found[row]).any()}


def require_same(program: Program, lines: list[dict[str, str]], wanted: dict[str, np.ndarray]) -> None:
    answered = [line for line in lines if line["predicted"]]
    assert sorted(line["path"] for line in answered) == sorted(wanted)
    same = np.array([wanted[line["path"]] for line in answered])
    np.testing.assert_allclose(program.probabilities(answered), same, atol=2e-6)
    assert np.ptp(same[:, 0]) > 0.05, "images that all look alike would prove nothing"
    names = program.about["classes"]
    assert [line["predicted"] for line in answered] == [names[int(one.argmax())] for one in same]


# -- Single images ------------------------------------------------------------------------------------
def values(number: int) -> np.ndarray:
    """Return a blob on noise far above 8 bits, at another place and larger for odd numbers: float64 (40, 56)."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:40, :56]
    width = 60.0 if number % 2 else 12.0
    blob = np.exp(-((y - rng.uniform(10, 30)) ** 2 + (x - rng.uniform(15, 40)) ** 2) / width)
    return np.asarray(rng.normal(1000, 30, (40, 56)) + blob * rng.uniform(2000, 30_000))


def write_single(folder: Path, number: int) -> None:
    """Write one file of a kind that its number decides, several of which need more than Pillow reads."""
    deep = values(number)
    whole = np.clip(deep, 0, 65535).astype(np.uint16)
    kind = number % 8
    file = folder / f"night {number // 8}" / f"i{number:02d}"
    file.parent.mkdir(parents=True, exist_ok=True)
    if kind in (0, 1):  # what counts is in HDU 1: three planes
        cube = np.stack([deep, deep[::-1], np.roll(deep, 9, axis=1)]).astype(np.float32)
        parts = fits.HDUList([fits.PrimaryHDU(np.ones((5, 5))), fits.ImageHDU(cube)])
        buffer = io.BytesIO()
        parts.writeto(buffer)
        content = buffer.getvalue()
        name, content = (".fits.gz", gzip.compress(content)) if kind else (".fits", content)
        file.with_name(file.name + name).write_bytes(content)
    elif kind == 2:
        Image.fromarray(whole).save(file.with_suffix(".png"))
    elif kind == 3:
        file.with_suffix(".png").write_bytes(png16(np.stack([whole, whole // 2, 65535 - whole], axis=-1)))
    elif kind == 4:
        tifffile.imwrite(file.with_suffix(".tif"), np.stack([whole, whole[:, ::-1]]), byteorder=">")
    elif kind == 5:
        tifffile.imwrite(file.with_suffix(".tif"), deep.astype(np.float32))
    elif kind == 6:
        alpha = Image.fromarray((np.indices((40, 56)).sum(axis=0) % 256).astype(np.uint8))
        picture = Image.fromarray((whole // 256).astype(np.uint8)).convert("RGB")
        picture.putalpha(alpha)
        picture.save(file.with_suffix(".png"))
    else:
        exif = Image.Exif()
        exif[274] = 6
        Image.fromarray((whole // 128 % 256).astype(np.uint8)).save(file.with_suffix(".jpg"), exif=exif)


@pytest.fixture
def single(tmp_path: Path) -> tuple[Path, Program]:
    folder = tmp_path / "in"
    for number in range(32):
        write_single(folder, number)
    # Files of endings that the ingest was told to leave alone, and one that can't be read.
    Image.new("RGB", (9, 9)).save(folder / "preview.bmp")
    dataset = dataset_for(folder)
    rendering = Rendering(
        hdu=1, plane="max", stretch="asinh", low=900.0, high=20_000.0, is_inverted=True, background="#204060"
    )
    Dataset.objects.update(rendering=rendering.as_params())
    (folder / "broken.fits").write_bytes(b"SIMPLE  = but nothing behind it")
    run_now("ingest", dataset_id=dataset.pk, params={"extensions": [".fits", ".fits.gz", ".png", ".tif", ".jpg"]})
    assert fresh(dataset).n_items == 32
    return folder, trained(dataset, tmp_path)


def test_single_images_of_every_kind_under_a_rendering_of_its_own(single: tuple[Path, Program]) -> None:
    folder, program = single
    lines, said = program.run(folder)
    require_same(program, lines, expected())
    (broken,) = (line for line in lines if not line["predicted"])
    assert broken["path"] == "broken.fits"
    assert "damaged" in broken["problem"] or "truncated" in broken["problem"]
    assert_contains(said, f"broken.fits: {broken['problem']}", "32 classified, 1 not")
    for way in (Rendering(hdu=1), Rendering(hdu=1, plane=2, stretch="log"), Rendering(hdu=1, plane="rgb")):
        network_input = NetworkInput(InputSpec(way))
        program.tell(sees=network_input.as_params())
        require_same(program, program.run(folder)[0], by_hand(program, folder, network_input))
    errors(folder, program)


def errors(folder: Path, program: Program) -> None:
    """Return the mistakes that a user of the program may make."""
    empty = program.folder.parent / "empty"
    empty.mkdir()
    assert "No file in" in program.run(empty, code=1)[1]
    assert "is not a folder" in program.run(folder / "broken.fits", code=2)[1]
    assert "No such file or directory" in program.run(folder, "--output", empty / "a" / "b.csv", code=1)[1]
    program.run(folder, "--output", empty / "b.csv", "--extensions", "JPG, tif")
    kept = list(csv.DictReader((empty / "b.csv").read_text(encoding="utf-8").splitlines()))
    assert {Path(line["path"]).suffix for line in kept} == {".jpg", ".tif"}
    (program.folder / "astropy.py").write_text("raise ModuleNotFoundError('No module named astropy')")
    lines, _ = program.run(folder)
    assert {line["path"].rpartition(".")[2] for line in lines if not line["predicted"]} >= {"fits", "gz"}
    assert any("astropy" in line["problem"] for line in lines)
    (program.folder / "numpy.py").write_text("raise ModuleNotFoundError('no', name='numpy')")
    assert "numpy is missing. Install the requirements" in program.run(folder, code=1)[1]


def by_hand(program: Program, folder: Path, network_input: NetworkInput) -> dict[str, np.ndarray]:
    """Return the network's prediction for the input that HOSHINA would give it, for single files."""
    network, suffixes = Network(program.graph), tuple(program.about["extensions"])
    found = {}
    for file in sorted(file for file in folder.rglob("*") if file.name.lower().endswith(suffixes)):
        pixels = network_input.prepare({"image": file}, SIDE).pixels
        if pixels is not None:
            found[file.relative_to(folder).as_posix()] = network.run(pixels[None])[0]
    return found


# -- Items of several files ----------------------------------------------------------------------------
@pytest.fixture
def triplets(tmp_path: Path) -> tuple[Path, Program]:
    """Provide grey FITS cutouts; of two items files are missing or broken, and one is no frame at all."""
    folder = tmp_path / "in"
    for number in range(28):
        target, ref = values(number), values(number + 100)
        for role, pixels in zip(ROLES, (target, ref, target - ref), strict=True):
            file = folder / f"field {number % 3}" / f"sn{number}_{role}.fits"
            file.parent.mkdir(parents=True, exist_ok=True)
            fits.PrimaryHDU(pixels.astype(np.float32)).writeto(file)
    (folder / "field 0" / "sn3_ref.fits").unlink()
    (folder / "field 1" / "sn4_mask.fits").write_bytes((folder / "field 1" / "sn4_ref.fits").read_bytes())
    dataset = dataset_for(folder)
    template = "{id}_{role:target,ref,diff}.fits"
    run_now("ingest", dataset_id=dataset.pk, params={"grouping": template})
    assert fresh(dataset).roles == list(ROLES)
    (folder / "field 2" / "sn5_diff.fits").write_bytes(b"SIMPLE  = broken since it was read")
    (folder / "notes.fits").write_bytes((folder / "field 0" / "sn0_ref.fits").read_bytes())
    return folder, trained(dataset, tmp_path)


def test_triplets_are_channels_and_what_is_missing_is_said(triplets: tuple[Path, Program]) -> None:
    folder, program = triplets
    lines, said = program.run(folder)
    by_path = {line["path"]: line for line in lines}
    require_same(program, lines, expected())
    assert program.about["sees"]["is_grey"] is True
    assert by_path["field 0/sn3"]["problem"] == "ref: missing"
    assert by_path["field 2/sn5"]["problem"].startswith("diff: The file is")
    assert by_path["notes.fits"]["problem"].startswith("It does not match the template")
    assert {path for path, line in by_path.items() if line["problem"]} == {"field 0/sn3", "field 2/sn5", "notes.fits"}
    assert "Files left out: 1." in said, "the mask"
    readme = (program.folder / "README.md").read_text()
    assert "It sees target, ref, diff as the channels of one image." in readme
    assert "`{id}_{role:target,ref,diff}.fits`" in readme
    other_ways(folder, program)


def other_ways(folder: Path, program: Program) -> None:
    """Check the same graph with other inputs, and files with other names."""
    colour = Composition(layout="rgb", softening=5.0)
    network = Network(program.graph)
    for network_input in (
        NetworkInput(InputSpec(roles=ROLES)),
        NetworkInput(InputSpec(Rendering(low=900.0, stretch="linear", is_inverted=True), ROLES, colour)),
        NetworkInput(InputSpec(Rendering(stretch="log"), ROLES[:2]), is_grey=True),
    ):
        program.tell(sees=network_input.as_params())
        wanted = {}
        for path, files in groups(folder):
            pixels = network_input.prepare(files, SIDE).pixels
            if pixels is not None:
                wanted[path] = network.run(pixels[None])[0]
        require_same(program, program.run(folder)[0], wanted)
    for file in folder.rglob("*_*.fits"):
        file.rename(file.with_name(file.name.replace("_", "-")))
    lines, _ = program.run(folder, "--template", "{id}-{role:target,ref,diff}.fits")
    require_same(program, lines, wanted)
    assert "must contain {id}" in program.run(folder, "--template", "{role}.fits", code=2)[1]


def groups(folder: Path) -> Iterator[tuple[str, dict[str, Path]]]:
    names = {file.relative_to(folder).as_posix().rpartition("_")[0] for file in folder.rglob("*_*.fits")}
    for name in sorted(names):
        yield name, {role: file for role in ROLES if (file := folder / f"{name}_{role}.fits").exists()}


# -- What goes out ------------------------------------------------------------------------------------
def test_what_it_needs_is_listed_in_versions() -> None:
    listed = requirements()
    assert {line.partition("==")[0] for line in listed} >= {
        "numpy", "pillow", "filelock", "astropy", "tifffile", "ai-edge-litert", "pydicom",
    }  # fmt: skip
    assert all(line.partition("==")[2] for line in listed)
