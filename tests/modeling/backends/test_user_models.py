"""Test users' model files as encoders: real files of every kind, and messages about unusable ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from modeling.backends import choose_encoder, likely, survey, user_model_runners, user_models
from modeling.backends.keras_networks import quiet
from modeling.backends.user_model_runners import Input, guess, pooled
from modeling.backends.user_models import UserModelFile, list_files, own_folder
from tests.modeling.factories import noise_pictures, unavailable
from tests.processes import run_python

SIDE = 24


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write small models with Keras and LiteRT: ``map`` ends with a feature map, ``flat`` with a vector."""
    folder = tmp_path_factory.mktemp("models")
    with quiet():
        from modeling.backends.keras_networks import import_tensorflow
        from modeling.backends.litert import frozen

        tensorflow, keras = import_tensorflow()
        keras.utils.set_random_seed(3)
        image = keras.Input((SIDE, SIDE + 8, 3))
        features = keras.layers.Conv2D(5, 3, strides=2, activation="relu")(image)
        keras.Model(image, features).save(folder / "map.keras")
        keras.Model(image, keras.layers.Dense(4)(keras.layers.GlobalMaxPooling2D()(features))).save(folder / "flat.h5")
        scaled = keras.layers.Rescaling(1 / 255)(image)
        keras.Model(image, keras.layers.Flatten()(scaled)).save(folder / "scales.keras")
        grey = keras.Input((SIDE, SIDE, 1))
        keras.Model(grey, keras.layers.GlobalAveragePooling2D()(grey)).save(folder / "grey.keras")
        text = keras.Input((12,))
        keras.Model(text, keras.layers.Dense(2)(text)).save(folder / "words.keras")
        keras.Model([image, grey], [features, grey]).save(folder / "two.keras")
        (folder / "float.tflite").write_bytes(frozen(tensorflow, keras.Model(image, features)))
        (folder / "words.tflite").write_bytes(frozen(tensorflow, keras.Model(text, keras.layers.Dense(2)(text))))
        infinite = keras.layers.GlobalMaxPooling2D()(keras.ops.log(image))  # of a black image
        (folder / "infinite.tflite").write_bytes(frozen(tensorflow, keras.Model(image, infinite)))
        (folder / "whole.tflite").write_bytes(_quantised(tensorflow, keras.Model(image, features)))
        keras.Model(image, keras.layers.Lambda(lambda x: x * 2)(image)).save(folder / "code.keras")
    return folder


def _quantised(tensorflow: Any, model: Any) -> bytes:
    """Quantize a model with integer input 0 … 255, which represents 0 … 1, and integer output."""
    rng = np.random.default_rng(0)
    converter = tensorflow.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [rng.random((1, SIDE, SIDE + 8, 3), dtype=np.float32).round(1)] for _ in range(20)
    )
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tensorflow.uint8
    return bytes(converter.convert())


def numbers(folder: Path, name: str, images: list[Image.Image], scaled: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Return what Keras itself computes for the images, with feature maps averaged."""
    with quiet():
        import keras

        model = keras.models.load_model(folder / name, compile=False)
        pixels = [image.resize((SIDE + 8, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0) for image in images]
        output = model.predict(scaled(np.stack([np.asarray(image, np.float32) for image in pixels])), verbose=0)
    return output.mean(axis=(1, 2)) if output.ndim == 4 else output.reshape(len(output), -1)


class TestRealFiles:
    @pytest.mark.parametrize("name", ["map.keras", "flat.h5"])
    def test_same_numbers_as_keras(self, name: str, models: Path, tmp_path: Path) -> None:
        images = noise_pictures(5)
        encoder = choose_encoder(f"file:{name}", models, tmp_path)
        expected = numbers(models, name, images, lambda pixels: pixels / 255)
        np.testing.assert_allclose(encoder.encode(images), expected, atol=1e-4)
        assert encoder.dim == expected.shape[1]
        assert encoder.backend == f"file:{name}"
        assert "0..1, a guess" in encoder.reason
        assert [path.suffix for path in tmp_path.iterdir()] == [".tflite"]

    @pytest.mark.parametrize(
        ("preprocessing", "scaled"),
        [
            ("0..255", lambda pixels: pixels),
            ("0..1", lambda pixels: pixels / 255),
            ("-1..1", lambda pixels: pixels / 127.5 - 1),
            ("imagenet", lambda pixels: (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ],
    )
    def test_every_preprocessing(self, preprocessing: str, scaled: Any, models: Path, tmp_path: Path) -> None:
        images = noise_pictures(3)
        encoder = choose_encoder(f"file:float.tflite@{preprocessing}", models, tmp_path)
        expected = numbers(models, "map.keras", images, lambda pixels: scaled(pixels).astype(np.float32))
        np.testing.assert_allclose(encoder.encode(images), expected, rtol=1e-3, atol=1e-3)
        assert f"pixels scaled to {preprocessing}, as specified" in encoder.reason

    def test_a_quantised_file(self, models: Path) -> None:
        images = noise_pictures(4)
        encoder = choose_encoder("file:whole.tflite", models)
        assert "0..1, from its quantized input" in encoder.reason
        expected = numbers(models, "map.keras", images, lambda pixels: pixels / 255)
        vectors = encoder.encode(images)
        np.testing.assert_allclose(vectors, expected, atol=0.05 * np.abs(expected).max())

    def test_a_model_that_scales_its_pixels_itself_gets_them_as_they_are(self, models: Path) -> None:
        encoder = choose_encoder("file:scales.keras", models)
        assert "0..255, because it has layers" in encoder.reason
        white = encoder.encode([Image.new("RGB", (5, 5), "white")])
        np.testing.assert_allclose(white, 1, atol=1e-5)
        assert encoder.dim == SIDE * (SIDE + 8) * 3

    def test_a_model_of_grey_images(self, models: Path) -> None:
        encoder = choose_encoder("file:grey.keras@0..1", models)
        vectors = encoder.encode([Image.new("RGB", (5, 5), colour) for colour in ("#ff0000", "#ffffff")])
        np.testing.assert_allclose(vectors[:, 0], [76 / 255, 1], atol=1e-3)

    def test_fingerprint_is_of_the_file_and_of_what_is_said(self, models: Path, tmp_path: Path) -> None:
        fingerprints = {
            choose_encoder(f"file:float.tflite@{scaling}", models).fingerprint
            for scaling in ("0..1", "-1..1", "imagenet")
        }
        guessed = choose_encoder("file:float.tflite", models)
        assert guessed.fingerprint == choose_encoder("file:float.tflite@-1..1", models).fingerprint
        copy = tmp_path / "other name.tflite"
        copy.write_bytes((models / "float.tflite").read_bytes())
        assert choose_encoder("file:other name.tflite", tmp_path).fingerprint == guessed.fingerprint
        copy.write_bytes((models / "whole.tflite").read_bytes())
        fingerprints.add(choose_encoder("file:other name.tflite", tmp_path).fingerprint)
        assert len(fingerprints) == 4

    def test_a_keras_model_needs_tensorflow_once(self, models: Path, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from modeling.backends import choose_encoder;"
            "choose_encoder('file:map.keras', Path(sys.argv[1]), Path(sys.argv[2]));"
            "print('tensorflow' in sys.modules)"
        )
        choose_encoder("file:map.keras", models, tmp_path)
        assert run_python("-c", program, models, tmp_path).stdout.strip() == "False"


class TestNoModels:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("words.keras", r"its input is \(\?, 12\)"),
            ("words.tflite", r"its input is \(1, 12\)"),
            ("two.keras", "has 2 inputs"),
        ],
    )
    def test_what_takes_no_image(self, name: str, message: str, models: Path) -> None:
        assert "one image as input" in unavailable(message, f"file:{name}", models).hint

    def test_code_in_a_file_is_not_run(self, models: Path) -> None:
        unavailable("its layer Lambda contains code", "file:code.keras", models)

    @pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.tflite"])
    @pytest.mark.parametrize("content", [b"", b"garbage" * 200])
    def test_damaged_files(self, name: str, content: bytes, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(content)
        assert "\n" not in unavailable("not a usable image model", f"file:{name}", tmp_path).message

    def test_weights_without_a_model(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "weights.h5", "w") as file:
            file["kernel"] = np.zeros(3)
        unavailable("as a whole model", "file:weights.h5", tmp_path)

    def test_longer_than_any_description(self, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(user_models, "MAX_DIM", 4)
        unavailable(r"float\.tflite gives 5 values", "file:float.tflite", models)

    def test_numbers_that_are_not_finite(self, models: Path) -> None:
        unavailable("not finite", "file:infinite.tflite", models)

    @pytest.mark.parametrize(
        ("available", "expected", "library"),
        [
            (["CPUExecutionProvider"], ["CPUExecutionProvider"], "onnxruntime 1"),
            (["CoreMLExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"], "onnxruntime 1"),
            (
                ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
                [("CUDAExecutionProvider", {"use_tf32": 0}), "CPUExecutionProvider"],
                "onnxruntime 1 CUDA",
            ),
        ],
    )
    def test_where_onnx_files_run(
        self, available: list[str], expected: list[Any], library: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert user_model_runners.onnx_providers(available) == expected
        monkeypatch.setattr(user_model_runners.importlib.metadata, "version", lambda name: "1.32.0")
        used = [provider if isinstance(provider, str) else provider[0] for provider in expected]
        assert user_model_runners.onnx_library(used) == library

    def test_onnx_without_its_program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(user_model_runners, "ONNX_PACKAGE", "onnxruntime_of_nowhere")
        (tmp_path / "birds.onnx").write_bytes(b"x")
        assert "--extra onnx" in unavailable(r"birds\.onnx needs onnxruntime", "file:birds.onnx", tmp_path).hint
        line = likely("file:birds.onnx", tmp_path)
        assert (line.available, line.may_download) == (False, False)
        assert "onnxruntime" in line.reason

    def test_keras_without_tensorflow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("modeling.backends.keras_networks.PACKAGE", "tensorflow_of_nowhere")
        (tmp_path / "birds.keras").write_bytes(b"x")
        unavailable("TensorFlow is not installed", "file:birds.keras", tmp_path)
        assert not likely("file:birds.keras", tmp_path).available


class TestFinding:
    def test_both_folders_and_no_weights_of_known_networks(self, tmp_path: Path) -> None:
        weights, graphs = tmp_path / "weights", tmp_path / "store" / "encoders"
        own = own_folder(tmp_path / "store")
        assert own == graphs / "own"
        for folder, name in [
            (weights, "b.onnx"), (weights, "efficientnetb0_notop.h5"), (weights, "notes.txt"), (own, "a.tflite"),
            (own, "b.onnx"), (own, "a.json"), (graphs, "mobilenet_v2-0123.tflite"),
        ]:  # fmt: skip
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"")
        assert list_files(weights, graphs) == [own / "a.tflite", weights / "b.onnx"]
        assert list_files(None, None) == []
        assert [line.backend for line in survey(weights, graphs)][-2:] == ["file:a.tflite", "file:b.onnx"]

    @pytest.mark.parametrize("name", ["nothing.onnx", "../secret.onnx", "/etc/passwd", "", "notes.txt"])
    def test_nothing_outside_its_folders(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "secret.onnx").write_bytes(b"")
        (tmp_path / "in" / "notes.txt").write_bytes(b"")
        unavailable("no model file", f"file:{name}", tmp_path / "in", None, choose=user_models.find)

    @pytest.mark.parametrize("beside", ["birds.json", "birds.onnx.json"])
    def test_what_is_said_beside_it(self, beside: str, tmp_path: Path) -> None:
        (tmp_path / "birds.onnx").write_bytes(b"")
        description = {"preprocessing": "-1..1", "name": "Birds of Mey", "side": 96}
        (tmp_path / beside).write_text(json.dumps(description))
        file = user_models.find("file:birds.onnx", tmp_path, None)
        assert file == UserModelFile(tmp_path / "birds.onnx", "Birds of Mey", "-1..1", 96)
        assert user_models.find("file:birds.onnx@imagenet", tmp_path, None).preprocessing == "imagenet"

    @pytest.mark.parametrize(
        ("description", "message"),
        [
            ("{", "cannot be read as JSON"),
            ("[1]", "no JSON object"),
            ('{"preprocessing": "0..7"}', "'0..7' is not one of"),
            ('{"name": 7}', "name is not a string"),
            ('{"side": "96"}', "side is not an integer"),
        ],
    )
    def test_invalid_descriptions(self, description: str, message: str, tmp_path: Path) -> None:
        (tmp_path / "birds.tflite").write_bytes(b"")
        (tmp_path / "birds.json").write_text(description)
        unavailable(message, "file:birds.tflite", tmp_path, None, choose=user_models.find)
        assert message in likely("file:birds.tflite", tmp_path).reason

    def test_long_names_are_cut(self, tmp_path: Path) -> None:
        (tmp_path / "birds.tflite").write_bytes(b"")
        (tmp_path / "birds.json").write_text(json.dumps({"name": "b" * 61}))
        assert user_models.find("file:birds.tflite", tmp_path, None).title == "b" * 59 + "…"

    def test_a_stamp_tells_of_changes(self, tmp_path: Path) -> None:
        file = tmp_path / "birds.tflite"
        file.write_bytes(b"1")
        before = user_models.stamp("file:birds.tflite", tmp_path, None)
        (tmp_path / "birds.json").write_text("{}")
        assert user_models.stamp("file:birds.tflite", tmp_path, None) != before
        assert user_models.stamp("hog", tmp_path, None) == user_models.stamp("file:nothing.h5", tmp_path, None) == ()


class TestInputs:
    def spec(self, dtype: str = "float32", scale: float = 0.0, zero: int = 0, *, first: bool = False) -> Input:
        return Input(4, 5, 3, first, dtype, scale, zero)

    @pytest.mark.parametrize(
        ("suffix", "dtype", "scale", "zero", "expected"),
        [
            (".onnx", "float32", 0.0, 0, "imagenet"),
            (".tflite", "float32", 0.0, 0, "-1..1"),
            (".tflite", "uint8", 0.0, 0, "0..255"),
            (".tflite", "uint8", 1 / 255, 0, "0..1"),
            (".tflite", "int8", 1 / 255, -128, "0..1"),
            (".tflite", "uint8", 1 / 127.5, 128, "-1..1"),
            (".tflite", "int8", 1.0, -128, "0..255"),
            (".keras", "float32", 0.0, 0, "0..1"),
        ],
    )
    def test_guesses(self, suffix: str, dtype: str, scale: float, zero: int, expected: str, tmp_path: Path) -> None:
        assert guess(tmp_path / f"a{suffix}", self.spec(dtype, scale, zero))[0] == expected

    def test_channels_first(self) -> None:
        values = np.random.default_rng(0).random((1, 4, 5, 3), dtype=np.float32)
        np.testing.assert_array_equal(self.spec(first=True).array(values)[0, 2], values[0, :, :, 2])

    def test_whole_numbers(self) -> None:
        values = np.array([0, 0.6, 1, 7], np.float32).reshape(1, 1, 1, 4)
        assert self.spec("int8", 1 / 255, -128).array(values).ravel().tolist() == [-128, 25, 127, 127]
        assert self.spec("uint8").array(values).ravel().tolist() == [0, 1, 1, 7]

    def test_shapes_that_leave_sizes_open(self) -> None:
        path = Path("a.onnx")
        spec = user_model_runners._input(path, ["n", 3, "h", "w"], "float32", 96)
        assert (spec.height, spec.width, spec.channels, spec.is_channels_first) == (96, 96, 3, True)
        spec = user_model_runners._input(path, [None, None, 40, 1], "float32", 96)
        assert (spec.height, spec.width, spec.channels, spec.is_channels_first) == (96, 40, 1, False)
        for shape, dtype, message in [
            ([1, 224, 224, 3], "tensor(string)", "is tensor"),
            ([8, 224, 224, 3], "float32", r"is \(8, 224"),
            ([1, 224, 224, 4], "float32", "neither one nor three"),
            ([1, 9999, 224, 3], "float32", "224 x 9999"),
        ]:
            unavailable(message, path, shape, dtype, 96, choose=user_model_runners._input)

    def test_pooling(self) -> None:
        maps = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
        np.testing.assert_allclose(pooled(maps, is_channels_first=False), maps.mean(axis=(0, 1, 2)))
        np.testing.assert_allclose(pooled(maps, is_channels_first=True), maps.mean(axis=(0, 2, 3)))
        assert pooled(maps[0], is_channels_first=False).shape == (24,)
