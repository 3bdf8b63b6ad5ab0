"""What a quick training sees of items that have several files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labeling.images.composite import Composition
from labeling.images.encoder_inputs import squash
from labeling.images.lupton_rgb import composite
from labeling.images.open_image import open_for_resizing
from labeling.images.rendering import Rendering
from labeling.models import Dataset, Frame, Item, LabelClass
from modeling.assistive.holdout_groups import holdout_groups_of
from modeling.encoders.input_spec import InputSpec
from modeling.encoders.network_input import NetworkInput, inputs_of
from modeling.quick import data as quick_data
from modeling.quick.frames import network_input_of
from modeling.quick.options import QuickOptions
from tests.factories import decide
from tests.labeling.groups import FLAT, ROLES, ingest_groups, write_triplets

ROLES_4 = ("a", "b", "c", "d")


def grey(folder: Path, *roles: str, size: int = 40) -> dict[str, Path]:
    files = {}
    for number, role in enumerate(roles):
        pixels = np.random.default_rng(number).integers(0, 255, (size, size), dtype=np.uint8)
        files[role] = folder / f"{role}.png"
        Image.fromarray(pixels).save(files[role])
    return files


def prepare(network_input: NetworkInput, files: dict[str, Path], side: int, problem: str = "") -> np.ndarray:
    found = network_input.prepare(files, side)
    assert found.problem == problem
    assert found.pixels is not None
    return found.pixels


def alone(file: Path, width: int, height: int) -> np.ndarray:
    return squash(open_for_resizing(file, 256), width, height)


def test_files_without_colours_are_channels_and_a_missing_one_is_grey(tmp_path: Path) -> None:
    files = grey(tmp_path, *ROLES)
    found = prepare(NetworkInput(InputSpec(roles=ROLES), is_grey=True), files, 16)
    for channel, role in enumerate(ROLES):
        np.testing.assert_array_equal(found[..., channel], alone(files[role], 16, 16)[..., 0])
    files["ref"].write_bytes(b"broken")
    problem = "ref: This is not an image but text."
    found = prepare(NetworkInput(InputSpec(roles=ROLES), is_grey=True), files, 16, problem)
    assert (found[..., 1] == 128).all()
    np.testing.assert_array_equal(found[..., 2], alone(files["diff"], 16, 16)[..., 0])
    two = prepare(NetworkInput(InputSpec(roles=("target", "diff")), is_grey=True), files, 16)
    np.testing.assert_array_equal(two[..., 2], two[..., 0])


def test_others_stand_side_by_side(tmp_path: Path) -> None:
    files = grey(tmp_path, *ROLES)
    without_target = {role: files[role] for role in ROLES[1:]}
    found = prepare(NetworkInput(InputSpec(roles=ROLES), is_grey=False), without_target, 18, "target: missing")
    assert (found[:, :6] == 128).all()
    np.testing.assert_array_equal(found[:, 6:12], alone(files["ref"], 6, 18))
    np.testing.assert_array_equal(found[:, 12:], alone(files["diff"], 6, 18))
    files = grey(tmp_path, *ROLES_4)
    four = NetworkInput(InputSpec(roles=ROLES_4), is_grey=True)
    assert (four.has_channels, four.note) == (False, "It sees a, b, c, d side by side in one image.")
    assert prepare(four, files, 16).shape == (16, 16, 3)


def test_a_colour_image_is_the_one_that_people_see(tmp_path: Path) -> None:
    files, composition = grey(tmp_path, *ROLES), Composition(layout="rgb")
    network_input = NetworkInput(InputSpec(roles=ROLES, composition=composition), is_grey=True)
    shown = composite(files, ROLES, composition, max_side=32)
    np.testing.assert_array_equal(prepare(network_input, files, 16), squash(shown, 16))
    assert "color image" in network_input.note
    del files["ref"]
    shown = composite(files, ROLES, composition, max_side=32)
    np.testing.assert_array_equal(prepare(network_input, files, 16, "ref: missing"), squash(shown, 16))


def test_nothing_to_read_is_a_problem(tmp_path: Path) -> None:
    for is_grey in (True, False):
        found = NetworkInput(InputSpec(roles=ROLES), is_grey=is_grey).prepare({"ref": tmp_path / "gone.png"}, 16)
        assert found.pixels is None
        assert found.problem.startswith("target: missing; ref: The file no longer exists")


def test_what_is_fed_goes_through_json() -> None:
    spec = InputSpec(Rendering(stretch="asinh", low=3.0), ROLES, Composition(layout="rgb", bands=ROLES))
    for network_input in (NetworkInput(), NetworkInput(spec), NetworkInput(InputSpec(roles=ROLES), is_grey=True)):
        assert NetworkInput.from_params(json.loads(json.dumps(network_input.as_params()))) == network_input


@pytest.mark.django_db
@pytest.mark.usefixtures("store")
def test_labels_pixels_and_splits_of_triplets(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", range(30))
    for number in range(1, 10):  # one reference for the first ten
        (tmp_path / "in" / f"sn{number}_ref.png").write_bytes((tmp_path / "in" / "sn0_ref.png").read_bytes())
    (tmp_path / "in" / "sn12_ref.png").unlink()
    ingest_groups(tmp_path / "in", FLAT)
    dataset = Dataset.objects.get()
    assert not network_input_of(dataset).has_channels  # they have colours
    LabelClass.objects.create(dataset=dataset, name="real", colour="#0072B2")
    decide(dataset, "assign", range(30), "real")
    labels = quick_data.read_labels(dataset)
    paths = dict(Item.objects.values_list("row", "path"))
    for row, files, hashes in zip(labels.rows, labels.paths, labels.hashes, strict=True):
        assert files == {role: f"{paths[row]}_{role}.png" for role in ROLES if (paths[row], role) != ("sn12", "ref")}
        assert set(hashes) == set(Frame.objects.filter(item__row=row).values_list("sha256", flat=True))
    shared = [row for row, path in paths.items() if path in {f"sn{number}" for number in range(10)}]
    holdout = holdout_groups_of(dataset, labels.rows, labels.hashes)
    parts = quick_data.split(labels, holdout, QuickOptions(validation_share=0.5))
    assert len(set(parts[np.isin(labels.rows, shared)].tolist())) == 1
    found = list(quick_data.image_files(dataset, 30, InputSpec.of(dataset)))
    assert [row for row, _ in found] == list(range(30))
    inputs = list(inputs_of((files for _, files in found), 12, network_input_of(dataset)))
    assert all(one.pixels is not None and one.pixels.shape == (12, 12, 3) for one in inputs)
    assert [paths[row] for row, one in zip(labels.rows, inputs, strict=True) if one.problem] == ["sn12"]
