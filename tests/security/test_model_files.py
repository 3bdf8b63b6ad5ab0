"""Hostile model files: none runs code, reads or writes other files, or harms the process that asked."""

import io
import json
import marshal
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest
from PIL import Image

from modeling.backends import choose_encoder, keras_files, onnx_files
from modeling.backends.keras_networks import import_tensorflow, quiet
from modeling.backends.litert import frozen
from tests.modeling.factories import unavailable

SHAPE = (24, 32, 3)
CANARY = "canary"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a harmless model of each kind, and hostile ones that take a converter to write."""
    folder = tmp_path_factory.mktemp("models")
    with quiet():
        tensorflow, keras = import_tensorflow()
        image = keras.Input(SHAPE)
        features = keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(5, 3)(image))
        keras.Model(image, features).save(folder / "good.keras")
        keras.Model(image, features).save(folder / "good.h5")
        (folder / "good.tflite").write_bytes(frozen(tensorflow, keras.Model(image, features)))
        for suffix in ("keras", "h5"):
            code = keras.layers.Lambda(_writer(str(folder / CANARY)), output_shape=SHAPE)
            keras.Model(image, code(image)).save(folder / f"code.{suffix}")
        nested = keras.Sequential([keras.Input(SHAPE), code])
        keras.Model(image, keras.Sequential([nested])(image)).save(folder / "nested.keras")
        (folder / CANARY).unlink(missing_ok=True)
        for name, function in (("endless", _endless), ("huge", _huge)):
            (folder / f"{name}.tflite").write_bytes(_converted(tensorflow, function(tensorflow)))
    return folder


def _writer(file: str) -> Any:
    """Return a function that writes a file when it is called."""
    text = f"lambda x: (open({file!r}, 'w').close(), x)[1]"
    return eval(text)


def _converted(tensorflow: Any, function: Any) -> bytes:
    concrete = function.get_concrete_function()
    return bytes(tensorflow.lite.TFLiteConverter.from_concrete_functions([concrete], function).convert())


def _endless(tensorflow: Any) -> Any:
    @tensorflow.function(input_signature=[tensorflow.TensorSpec((1, *SHAPE), tensorflow.float32)])
    def endless(x: Any) -> Any:
        return tensorflow.while_loop(lambda y: tensorflow.reduce_sum(y) < 1e30, lambda y: (-tensorflow.abs(y),), (x,))[
            0
        ]

    return endless


def _huge(tensorflow: Any) -> Any:
    @tensorflow.function(input_signature=[tensorflow.TensorSpec((1, *SHAPE), tensorflow.float32)])
    def huge(x: Any) -> Any:
        tiled = tensorflow.tile(x + 1, [1, 3000, 3600, 1])  # 99.5 GB
        return tensorflow.reduce_sum(tensorflow.abs(tiled), axis=(1, 2))

    return huge


@pytest.fixture(autouse=True)
def _unharmed(models: Path, tmp_path: Path) -> Iterator[None]:
    """Check that nothing was written, and that no process is left."""
    yield
    assert not (models / CANARY).exists()
    assert not (tmp_path / CANARY).exists()
    left = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    assert not [line for line in left if "modeling.backends.model_process" in line]


def refused(message: str, file: Path) -> None:
    """Check that a file is refused with its name and an advice."""
    error = unavailable(message, f"file:{file.name}", file.parent)
    assert file.name in error.message
    assert error.hint


def keras_file(file: Path, config: Any, weights: bytes | None = None, **entries: bytes) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.0"}))
        archive.writestr("config.json", json.dumps(config))
        if weights is not None:
            archive.writestr("model.weights.h5", weights)
        for name, content in entries.items():
            archive.writestr(name, content)
    return file


def model_of(*layers: dict[str, Any]) -> dict[str, Any]:
    first = {"module": "keras.layers", "class_name": "InputLayer", "registered_name": None,
             "config": {"batch_shape": [None, *SHAPE], "dtype": "float32", "name": "input"}}  # fmt: skip
    config = {"name": "model", "layers": [first, *layers]}
    return {"module": "keras", "class_name": "Sequential", "registered_name": None, "config": config,
            "build_config": {"input_shape": [None, *SHAPE]}}  # fmt: skip


def layer(module: str | None, name: str, registered: str | None = None, **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": name, "registered_name": registered, "config": config}


def activation(module: str | None, name: str, registered: str | None = None, **config: Any) -> dict[str, Any]:
    return layer("keras.layers", "Activation", activation=layer(module, name, registered, **config))


CODE = marshal.dumps(compile("open('canary', 'w')", "x", "eval")).hex()
CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "a lambda as activation": ("contains code", activation("builtins", "__lambda__", value=CODE)),
    "a Lambda by another name": ("contains code", layer("keras.layers", "Layer", "keras>Lambda", function=CODE)),
    "a Lambda with its module": ("contains code", layer(None, "keras.layers.Lambda", function=CODE)),
    "a Lambda in a wrapper": (
        "contains code",
        layer("keras.layers", "TimeDistributed", layer=layer("keras.layers", "Lambda", function=CODE)),
    ),
    "a custom layer": ("which is not part of Keras", layer("birds", "Birds", "birds>Birds")),
    "a function of the system": ("which is not a layer", activation("os", "system", config="touch canary")),
    "a function of Python": ("which is not a layer", activation("builtins", "exec", config="open('canary', 'w')")),
    "a download": (
        "which is not a layer",
        activation("keras.src.utils.file_utils", "get_file", fname="canary", origin="file:///etc/passwd"),
    ),
    "safe mode off": (
        "which is not a layer", activation("keras.config", "enable_unsafe_deserialization"),
    ),
    "a registered function": ("which is not a layer", activation("builtins", "function", "function", config="f")),
    "another loader": ("which is not a layer", activation("keras.saving", "load_model", filepath="/tmp/x.keras")),
    "a saved model": ("may read other files", layer("keras.layers", "TFSMLayer", filepath="/etc", call_endpoint="a")),
    "a vocabulary": ("may read other files", layer("keras.layers", "StringLookup", vocabulary="/etc/passwd")),
    "a torch module": ("contains code", layer("keras.layers", "TorchModuleWrapper", code=CODE)),
}  # fmt: skip


class TestKeras:
    @pytest.mark.attack("hostile model files")
    @pytest.mark.parametrize("name", ["code.keras", "code.h5", "nested.keras"])
    def test_code_in_a_layer(self, name: str, models: Path) -> None:
        refused("its layer Lambda contains code", models / name)

    @pytest.mark.attack("hostile model files")
    @pytest.mark.parametrize("name", CONFIGURATIONS)
    def test_configurations(self, name: str, tmp_path: Path) -> None:
        message, part = CONFIGURATIONS[name]
        refused(message, keras_file(tmp_path / "a.keras", model_of(part)))

    @pytest.mark.attack("hostile model files")
    @pytest.mark.parametrize("name", ["a lambda as activation", "a function of the system", "a vocabulary"])
    def test_configurations_in_hdf5(self, name: str, tmp_path: Path) -> None:
        message, part = CONFIGURATIONS[name]
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.attrs["model_config"] = json.dumps(model_of(part))
        refused(message, tmp_path / "a.h5")

    @pytest.mark.attack("hostile model files")
    def test_a_zip_bomb(self, tmp_path: Path) -> None:
        keras_file(tmp_path / "a.keras", model_of(), bytes(200 * 2**20))
        assert (tmp_path / "a.keras").stat().st_size < 2**20
        refused("it unpacks to 200 MB", tmp_path / "a.keras")

    @pytest.mark.attack("hostile model files")
    def test_entries_outside_the_file(self, models: Path, tmp_path: Path) -> None:
        file = tmp_path / "in" / "a.keras"
        file.parent.mkdir()
        file.write_bytes((models / "good.keras").read_bytes())
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(f"../{CANARY}", b"x")
            archive.writestr(str(tmp_path / CANARY), b"x")
        encoder = choose_encoder("file:a.keras", file.parent)
        assert encoder.dim == 5

    @pytest.mark.attack("hostile model files")
    @pytest.mark.parametrize("suffix", ["keras", "h5"])
    @pytest.mark.parametrize("kind", ["link", "soft", "external", "virtual"])
    def test_weights_in_other_files(self, kind: str, suffix: str, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_bytes(b"secret" * 10)
        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            file.attrs["model_config"] = json.dumps(model_of())
            if kind == "link":
                file["kernel"] = h5py.ExternalLink(str(secret), "/")
            elif kind == "soft":
                file["kernel"] = h5py.SoftLink("/")
            elif kind == "external":
                file.create_dataset("layers/kernel", (60,), np.uint8, external=[(str(secret), 0, 60)])
            else:
                layout = h5py.VirtualLayout((60,), np.uint8)
                layout[:] = h5py.VirtualSource(str(secret), "kernel", (60,))
                file.create_virtual_dataset("layers/kernel", layout)
        if suffix == "h5":
            (tmp_path / "a.h5").write_bytes(content.getvalue())
        else:
            keras_file(tmp_path / "a.keras", model_of(), content.getvalue())
        refused("its weights are", tmp_path / f"a.{suffix}")

    def test_layers_of_keras_are_harmless(self, models: Path, tmp_path: Path) -> None:
        with quiet():
            _, keras = import_tensorflow()
            image = keras.Input((64, 64, 3))
            x = keras.layers.RandomFlip()(keras.layers.Rescaling(1 / 255)(image))
            x = keras.layers.Conv2D(4, 3, kernel_regularizer="l2", activation="relu", name="lambda_1")(x)
            x = keras.layers.Activation(keras.activations.gelu)(keras.ops.transpose(x / 2, (0, 2, 1, 3))[:, 1:])
            inner = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.GlobalAveragePooling2D()])
            made = [keras.Model(image, inner(x))]
            for name in ("EfficientNetV2B0", "MobileNetV3Small", "ConvNeXtTiny", "ResNet50V2"):
                made.append(getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), include_top=False))
            made[0].compile("adam", "mse", metrics=["mae"])
            for model in made:
                model.save(tmp_path / "a.keras")
                keras_files.require_harmless(tmp_path / "a.keras")
                if model is made[0]:
                    continue
                model.save(tmp_path / "a.h5")
                keras_files.require_harmless(tmp_path / "a.h5")


class TestLiteRT:
    @pytest.mark.attack("hostile model files")
    def test_a_model_without_end(self, models: Path, settings: Any) -> None:
        settings.MODEL_SECONDS = 4
        refused("took longer than 4 s, so it was stopped", models / "endless.tflite")

    @pytest.mark.attack("hostile model files")
    def test_a_model_that_needs_100_gb(self, models: Path, settings: Any) -> None:
        settings.MODEL_MEGABYTES = 2048
        refused("crashed|more than|could not be run|cannot read it", models / "huge.tflite")

    @pytest.mark.attack("hostile model files")
    def test_absurd_sizes(self, models: Path, tmp_path: Path) -> None:
        """The shape of the input, wherever the file has it, is that of 2**31 pixels."""
        content = (models / "good.tflite").read_bytes()
        shape = np.array(SHAPE, "<i4").tobytes()
        assert shape in content
        (tmp_path / "a.tflite").write_bytes(content.replace(shape, np.array((2**15, 2**16, 3), "<i4").tobytes()))
        refused("crashed|could not be run|cannot read it|pixels", tmp_path / "a.tflite")

    @pytest.mark.attack("hostile model files")
    @pytest.mark.parametrize("seed", range(6))
    def test_changed_bytes(self, seed: int, models: Path, tmp_path: Path, settings: Any) -> None:
        """A random change may be harmless. Otherwise it is refused, and never ends this process."""
        settings.MODEL_SECONDS = 10
        rng = np.random.default_rng(seed)
        content = bytearray((models / "good.tflite").read_bytes())
        for place in rng.integers(8, len(content), 40).tolist():
            content[place] = int(rng.integers(256))
        file = tmp_path / "a.tflite"
        file.write_bytes(bytes(content))
        harmless_or_refused(lambda: refused("a.tflite", file))

    @pytest.mark.attack("hostile model files")
    def test_cut_short(self, models: Path, tmp_path: Path) -> None:
        content = (models / "good.tflite").read_bytes()
        (tmp_path / "a.tflite").write_bytes(content[: len(content) // 2])
        refused("a.tflite", tmp_path / "a.tflite")


def harmless_or_refused(check: Callable[[], None]) -> None:
    try:
        check()
    except pytest.fail.Exception as error:
        assert "DID NOT RAISE" in str(error)  # noqa: PT017


def field(number: int, content: bytes) -> bytes:
    """Return a field of a protobuf message, with a length of two bytes, which is valid if unusual."""
    return bytes([number << 3 & 0x7F | 2 | (0x80 if number > 15 else 0), *([number >> 4] if number > 15 else [])]) + (
        bytes([len(content) & 0x7F | 0x80, len(content) >> 7]) + content
    )


EXTERNAL = field(13, field(1, b"location") + field(2, b"/etc/passwd"))
IN_GRAPH = {
    "an initializer": field(5, EXTERNAL),
    "a location alone": field(5, bytes([14 << 3, 1])),
    "a sparse initializer": field(15, field(2, EXTERNAL)),
    "an attribute": field(1, field(5, field(5, EXTERNAL))),
    "a list of tensors": field(1, field(5, field(10, EXTERNAL))),
    "a subgraph": field(1, field(5, field(6, field(5, EXTERNAL)))),
}


class TestONNX:
    @pytest.mark.attack("hostile model files")
    @pytest.mark.parametrize("name", IN_GRAPH)
    def test_weights_in_other_files(self, name: str) -> None:
        assert onnx_files.has_other_files(field(7, IN_GRAPH[name]))
        assert onnx_files.has_other_files(field(7, field(1, b"")) + field(7, IN_GRAPH[name])), "parts are merged"

    @pytest.mark.attack("hostile model files")
    def test_in_a_function(self) -> None:
        assert onnx_files.has_other_files(field(25, field(7, field(5, field(5, EXTERNAL)))))

    def test_own_weights(self) -> None:
        named = field(11, field(1, b"location")) + field(5, field(9, b"weights") + bytes([14 << 3, 0]))
        assert not onnx_files.has_other_files(field(7, named))

    @pytest.mark.attack("hostile model files")
    @pytest.mark.parametrize("content", [b"\x07", b"\xff" * 20, b"\x3a\x09abc", b"\x3a"])
    def test_damaged(self, content: bytes) -> None:
        with pytest.raises(ValueError, match=r"it ends|unknown type"):
            onnx_files.has_other_files(content)

    @pytest.mark.attack("hostile model files")
    def test_a_number_that_other_readers_cut(self) -> None:
        """Protobuf in C++ keeps 32 bits of it: the field of the graph."""
        graph = field(7, IN_GRAPH["an initializer"])
        with pytest.raises(ValueError, match="too large a number"):
            onnx_files.has_other_files(b"\xba\x80\x80\x80\x10" + graph[1:])


def proc(process: psutil.Process, name: str) -> list[str]:
    return Path(f"/proc/{process.pid}/{name}").read_text().splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
class TestProcess:
    def test_it_is_restricted(self, models: Path) -> None:
        encoder = choose_encoder("file:good.tflite", models)
        [process] = [
            child for child in psutil.Process().children(recursive=True)
            if "modeling.backends.model_process" in child.cmdline()
        ]  # fmt: skip
        limits = {line[:26].strip(): line[26:].split()[:2] for line in proc(process, "limits")}
        assert limits["Max file size"] == limits["Max core file size"] == ["0", "0"]
        assert limits["Max data size"] == [str(8192 * 2**20)] * 2
        status = dict(line.split(":\t", 1) for line in proc(process, "status"))
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        folder = Path(process.cwd())
        assert not list(folder.iterdir())
        del encoder
        assert not process.is_running()
        assert not folder.exists()

    def test_a_killed_process_is_reported_and_replaced(self, models: Path) -> None:
        from modeling.encoders.pipeline import encoder_of, release_encoders

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("django.conf.settings.WEIGHTS_DIR", models)
            encoder = encoder_of("file:good.tflite")
            assert encoder_of("file:good.tflite") is encoder
            for child in psutil.Process().children():
                if "modeling.backends.model_process" in child.cmdline():
                    child.kill()
            images = [Image.new("RGB", (40, 30), "red")]
            unavailable(r"process that ran good\.tflite crashed \(signal 9\)", images, choose=encoder.encode)
            again = encoder_of("file:good.tflite")
            assert again is not encoder
            assert again.encode(images).shape == (1, 5)
            del encoder, again
            release_encoders()

    def test_freezing_leaves_no_files(self, models: Path, tmp_path: Path) -> None:
        before = set(Path(tempfile.gettempdir()).glob("hoshina-model-*"))
        encoder = choose_encoder("file:good.h5", models, tmp_path)
        [folder] = set(Path(tempfile.gettempdir()).glob("hoshina-model-*")) - before  # of the process that runs it
        del encoder
        assert not folder.exists()
