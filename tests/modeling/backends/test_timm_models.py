"""Models of timm: their features against timm's own transform and model, weight files, and what is said of them."""

import importlib.util
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from labeling.models import Dataset
from modeling import backends
from modeling.backends import EncoderUnavailable, choose_encoder, likely, model_process, survey, timm_models
from modeling.models import EncoderChoice
from tests.factories import MakeDataset, assert_contains, said
from tests.modeling.factories import noise_pictures, unavailable
from tests.parts import missing

pytestmark = pytest.mark.slow

OPERATORS = Path(__file__).parents[2] / "torchvision_operators"
MODEL = "test_vit"
CLIP = "vit_xsmall_patch16_clip_224"
# Random weights, and the features of some images by timm's own transform, in a process of their own.
ORACLE = """
import json, sys
import numpy as np, timm, torch
from PIL import Image
folder, name = sys.argv[1:]
torch.manual_seed(3)
whole = timm.create_model(name, pretrained=False)
torch.save(whole.state_dict(), f"{folder}/weights.pth")
from safetensors.torch import save_file
save_file(whole.state_dict(), f"{folder}/weights.safetensors")
model = timm.create_model(name, pretrained=False, num_classes=0).eval()
model.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith("head.")}, strict=False)
found = {}
for mode in ("center", "squash", "border"):
    config = {**timm.data.resolve_model_data_config(model), "crop_mode": mode}
    transform = timm.data.create_transform(**config, is_training=False)
    images = [transform(Image.open(f"{folder}/{n}.png")) for n in range(6)]
    found[mode] = torch.stack(images).numpy()
    if mode == "center":
        with torch.inference_mode():
            np.save(f"{folder}/features.npy", model(torch.stack(images)).numpy())
# The image tower of a CLIP model in the layout in which OpenCLIP saves whole models.
tower = timm.create_model("CLIP", pretrained=False).eval()
names = [("patch_embed.proj", "conv1"), ("pos_embed", "positional_embedding"), ("blocks.", "transformer.resblocks."),
         ("norm_pre", "ln_pre"), (".norm1", ".ln_1"), (".norm2", ".ln_2"), ("attn.qkv.", "attn.in_proj_"),
         ("attn.proj", "attn.out_proj"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")]
saved = {"logit_scale": torch.zeros(()), "text_projection": torch.zeros(8, 8), "positional_embedding": torch.zeros(4)}
for key, value in tower.state_dict().items():
    if key == "head.weight":
        key, value = "proj", value.T.contiguous()
    elif key == "cls_token":
        key, value = "class_embedding", value[0, 0]
    elif key.startswith("norm."):
        key = key.replace("norm.", "ln_post.")
    for ours, theirs in names:
        key = key.replace(ours, theirs)
    saved["visual." + key] = value[0] if key == "positional_embedding" else value
saved.pop("visual.head.bias", None)
torch.save(saved, f"{folder}/open_clip_pytorch_model.bin")
tower.reset_classifier(0)
pixels = np.load(f"{folder}/pixels.npy")
config = timm.data.resolve_model_data_config(tower)
mean, std = (torch.tensor(config[key]).reshape(3, 1, 1) for key in ("mean", "std"))
with torch.inference_mode():
    np.save(f"{folder}/clip.npy", tower((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std).numpy())
np.savez(f"{folder}/inputs.npz", **found)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Provide images, weight files, and what timm makes of them."""
    if absent := [name for name in ("timm", "torch", "torchvision") if importlib.util.find_spec(name) is None]:
        missing(f"{', '.join(absent)} (uv sync --extra timm)")
    made = tmp_path_factory.mktemp("timm")
    for number, image in enumerate(noise_pictures(6, seed=2)):
        image.save(made / f"{number}.png")
    np.save(made / "pixels.npy", np.random.default_rng(1).integers(0, 255, (2, 224, 224, 3), dtype=np.uint8))
    os.environ["PYTHONPATH"], before = (
        os.pathsep.join([str(OPERATORS), os.environ.get("PYTHONPATH", "")]),
        os.environ.get("PYTHONPATH"),
    )
    subprocess.run(
        [sys.executable, "-c", ORACLE.replace('"CLIP"', repr(CLIP)), str(made), MODEL], check=True, capture_output=True
    )
    yield made
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Iterator[timm_models.TimmEncoder]:
    made = choose_encoder(f"timm:{MODEL}@weights.safetensors", folder, folder / "graphs")
    assert isinstance(made, timm_models.TimmEncoder)
    yield made
    made._process.end()


def images_of(folder: Path) -> list[Image.Image]:
    return [Image.open(folder / f"{number}.png").convert("RGB") for number in range(6)]


def cosines(first: Any, second: Any) -> Any:
    return (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


class TestFeatures:
    def test_they_are_those_of_timm(self, encoder: timm_models.TimmEncoder, folder: Path) -> None:
        found, expected = encoder.encode(images_of(folder)), np.load(folder / "features.npy")
        assert found.shape == expected.shape == (6, encoder.dim)
        assert cosines(found, expected).min() >= 0.9999

    @pytest.mark.parametrize("mode", ["center", "squash", "border"])
    def test_images_are_prepared_as_timm_does(self, encoder: timm_models.TimmEncoder, folder: Path, mode: str) -> None:
        facts = timm_models.TimmModel(**{**vars(encoder._facts), "crop_mode": mode})
        with np.load(folder / "inputs.npz") as inputs:
            expected = inputs[mode]
        for image, tensor in zip(images_of(folder), expected, strict=True):
            mean, std = (np.array(values)[:, None, None] for values in (facts.mean, facts.std))
            pixels = np.rint((tensor * std + mean) * 255).astype(int).transpose(1, 2, 0)
            found = timm_models.prepared(image, facts).astype(int)
            assert found.shape == pixels.shape
            assert np.abs(found - pixels).max() <= 1

    def test_a_file_of_pytorch_gives_the_same(self, encoder: timm_models.TimmEncoder, folder: Path) -> None:
        images = images_of(folder)[:2]
        before = encoder.encode(images)
        # In the same process, because importing PyTorch takes seconds.
        assert encoder._process.ask(model_process.open_timm, MODEL, str(folder / "weights.pth")) == encoder.dim
        assert np.array_equal(encoder.encode(images), before)

    def test_no_images(self, encoder: timm_models.TimmEncoder) -> None:
        assert encoder.encode([]).shape == (0, encoder.dim)

    def test_the_image_tower_in_a_file_of_openclip(self, encoder: timm_models.TimmEncoder, folder: Path) -> None:
        """BioCLIP and other models of OpenCLIP are such files, with the text tower in them as well."""
        expected, pixels = np.load(folder / "clip.npy"), np.load(folder / "pixels.npy")
        file = str(folder / "open_clip_pytorch_model.bin")
        try:
            assert encoder._process.ask(model_process.open_timm, CLIP, file) == expected.shape[1]
            found = np.frombuffer(encoder._process.ask(model_process.encode_timm, pixels.tobytes()), "<f4")
        finally:
            encoder._process.ask(model_process.open_timm, MODEL, str(folder / "weights.safetensors"))
        assert cosines(found.reshape(expected.shape), expected).min() >= 0.9999


class TestDescription:
    def test_license_and_input_are_known_before_use(self, encoder: timm_models.TimmEncoder, folder: Path) -> None:
        line = next(line for line in survey(folder, folder / "graphs") if line.backend == f"timm:{MODEL}")
        assert line.about == "A model of timm. License: apache-2.0; 160 px, 64 values."
        assert line.may_download
        assert "huggingface.co/timm/test_vit" in line.reason
        assert "license apache-2.0" in encoder.reason
        assert likely(f"timm:{MODEL}@weights.safetensors", folder, folder / "graphs").available

    def test_names(self) -> None:
        assert backends.is_backend("timm:vit_small_patch14_dinov2.lvd142m@w.safetensors")
        assert backends.is_backend("timm:resnet18+hog")
        assert not backends.is_backend("timm:../secret")
        assert not backends.is_backend("timm:")

    def test_a_damaged_description_is_looked_up_again(self, encoder: timm_models.TimmEncoder, folder: Path) -> None:
        file = folder / "graphs" / "timm" / f"{MODEL}.json"
        content = file.read_text()
        file.write_text("{")
        assert timm_models.described(MODEL, folder / "graphs") is None
        file.write_text(content)
        assert json.loads(content)["side"] == 160


class Bad:
    """Represent an object that makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.file,)


def refuses(encoder: timm_models.TimmEncoder, message: str, file: Path) -> None:
    """Assert that the encoder's process refuses a weight file."""
    with pytest.raises(EncoderUnavailable, match=message):
        encoder._process.ask(model_process.open_timm, MODEL, str(file))


class TestRefusals:
    def test_other_weights(self, encoder: timm_models.TimmEncoder, folder: Path) -> None:
        (folder / "bad.safetensors").write_bytes(b"not weights")
        refuses(encoder, "does not hold the weights of test_vit", folder / "bad.safetensors")

    def test_code_in_a_weight_file_does_not_run(self, encoder: timm_models.TimmEncoder, folder: Path) -> None:
        (folder / "bad.pth").write_bytes(pickle.dumps(Bad(folder / "ran")))
        refuses(encoder, "does not hold the weights", folder / "bad.pth")
        assert not (folder / "ran").exists()

    def test_no_such_file(self, encoder: timm_models.TimmEncoder, folder: Path) -> None:
        unavailable("There is no weight file", f"timm:{MODEL}@other.pth", folder, folder / "graphs")
        unavailable("There is no weight file", f"timm:{MODEL}@../x.pth", folder, folder / "graphs")

    def test_weights_that_cannot_be_downloaded(
        self, encoder: timm_models.TimmEncoder, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        problem = unavailable("could not be downloaded", f"timm:{MODEL}", folder, folder / "graphs")
        assert "choose timm:test_vit@FILE" in problem.hint

    def test_a_name_that_timm_does_not_have(self, encoder: timm_models.TimmEncoder) -> None:
        with pytest.raises(EncoderUnavailable, match="timm has no model no_such_model"):
            encoder._process.ask(model_process.describe_timm, "no_such_model")

    def test_without_timm(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        real = importlib.util.find_spec
        monkeypatch.setattr(timm_models, "find_spec", lambda name: None if name == "timm" else real(name))
        assert "uv sync --extra timm" in str(
            unavailable("need the Python package timm", "timm:resnet18", tmp_path, tmp_path)
        )


@pytest.mark.django_db
def test_the_page_shows_license_and_size(
    client: Client, make_dataset: MakeDataset, store: Path, folder: Path, encoder: timm_models.TimmEncoder
) -> None:
    make_dataset(3)
    shutil.copytree(folder / "graphs" / "timm", store / "encoders" / "timm")  # looked up before
    page = said(client.post("/d/pictures/encoders/timm/", {"model": MODEL}), 200)
    assert_contains(page, f"timm {MODEL}", "License: apache-2.0; 160 px, 64 values.", "to download")
    assert_contains(
        said(client.post("/d/pictures/encoders/timm/", {"model": "../x"}), 422), "not a name of a timm model"
    )
    answer = client.post("/d/pictures/encoders/use/", {"backend": f"timm:{MODEL}@/etc/passwd"})
    assert_contains(said(answer, 422), "Weight files are chosen by their name here.")


@pytest.mark.django_db
def test_weights_are_uploaded(client: Client, make_dataset: MakeDataset, store: Path, folder: Path,
                              encoder: timm_models.TimmEncoder) -> None:  # fmt: skip
    make_dataset(3)
    shutil.copytree(folder / "graphs" / "timm", store / "encoders" / "timm")  # looked up before

    def add(name: str, content: bytes, **more: str) -> Any:
        return client.post("/d/pictures/encoders/add/", {"file": SimpleUploadedFile(name, content), **more})

    content = (folder / "weights.safetensors").read_bytes()
    assert_contains(said(add("vit.safetensors", content), 422), "weights without a model")
    assert_contains(said(add("vit.safetensors", content, model="../x"), 422), "not a name of a timm model")
    assert_contains(said(add("vit.pth", b"not weights", model=MODEL), 422), "does not start like a .pth file")
    assert_contains(said(add("vit.onnx", b"whole", model=MODEL), 422), "is a whole model")
    backend = f"timm:{MODEL}@vit.safetensors"
    assert_contains(said(add("vit.safetensors", content, model=f"timm:{MODEL}"), 200), f"Added {backend}")
    assert_contains(said(add("VIT.safetensors", content, model=MODEL), 422), "already a model file")
    page = said(client.get("/d/pictures/encoders/"), 200)
    assert_contains(page, f"timm {MODEL}, vit.safetensors", "License: apache-2.0; 160 px, 64 values.")
    assert likely(f"{backend}+hog", None, store / "encoders").available
    images = images_of(folder)[:1]
    made = choose_encoder(backend, None, store / "encoders")
    assert isinstance(made, timm_models.TimmEncoder)
    assert np.array_equal(made.encode(images), encoder.encode(images))
    made._process.end()
    EncoderChoice.objects.create(dataset=Dataset.objects.get(), backend=f"{backend}+hog")
    remove = "/d/pictures/encoders/remove/"
    assert_contains(said(client.post(remove, {"backend": backend}), 422), "vit.safetensors is in use")
    EncoderChoice.objects.all().delete()
    assert backend not in said(client.post(remove, {"backend": backend}), 200)
    assert not list((store / "encoders" / "own").iterdir())


def test_the_pages_never_import_torch() -> None:
    code = "import django; django.setup(); import hoshina.urls, modeling.backends, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"DJANGO_SETTINGS_MODULE": "hoshina.settings"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not {"torch", "timm", "torchvision"} & set(done.stdout.split())
