"""Test encoders: their vectors, the choice between them, and the messages when one is unavailable."""

import http.server
import importlib
import importlib.metadata
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import skimage.feature
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from hoshina import settings as settings_module
from labeling.images.encoder_inputs import squash
from modeling.backends import (
    BACKENDS,
    EncoderUnavailable,
    choose_encoder,
    gpu,
    keras_networks,
    likely,
    survey,
    weights,
)
from modeling.backends import encoder as encoder_module
from modeling.backends.encoder import file_sha256, fingerprint
from modeling.backends.hog import HOG_DIM, HogEncoder, colour_histogram, hog, to_grey
from modeling.backends.hog_scattering import HogScatteringEncoder
from modeling.backends.keras_networks import quiet
from modeling.backends.lite_graph import LiteGraph
from modeling.backends.plugins import LoadedEncoder
from modeling.backends.quick.applications import APPLICATIONS, Application
from modeling.backends.scattering import PatchesEncoder
from modeling.backends.weights import MOBILENET_V2
from modeling.quick.options import BackboneName
from tests.modeling.backends.torch_files import resnet18_forward, resnet18_state, save_as_torch_does
from tests.modeling.factories import noise_pictures, unavailable
from tests.modeling.weights import WEIGHTS_FILE, hide_weights, real_weights_dir
from tests.processes import run_python

# Frozen networks shared by the tests of this module.
FROZEN = Path(tempfile.mkdtemp(prefix="hoshina-frozen-"))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hide all weights, and return Keras's (empty) cache folder."""
    hide_weights(monkeypatch, tmp_path)
    return tmp_path / "keras" / "models"


@pytest.fixture(scope="module")
def mobile() -> LoadedEncoder:
    encoder = choose_encoder("tensorflow", real_weights_dir(), FROZEN)
    assert isinstance(encoder, LoadedEncoder)
    return encoder


class TestHog:
    def test_same_numbers_as_scikit_image(self) -> None:
        rng = np.random.default_rng(3)
        down, right = np.mgrid[:64, :64].astype(np.uint8)
        grey = np.stack(
            [
                rng.integers(0, 256, (64, 64), dtype=np.uint8),
                down * 3,
                np.full((64, 64), 77, np.uint8),
                right * 2 + down,
                rng.integers(0, 2, (64, 64), dtype=np.uint8) * 255,
                np.where((right - 32.0) ** 2 + (down - 32.0) ** 2 < 400, 250, 3).astype(np.uint8),
            ]
        )
        expected = [
            skimage.feature.hog(image, 9, (8, 8), (2, 2), block_norm="L2-Hys", feature_vector=True) for image in grey
        ]
        np.testing.assert_allclose(hog(grey), np.array(expected), atol=2e-5)

    def test_grey_is_that_of_pillow(self) -> None:
        pixels = np.random.default_rng(1).integers(0, 256, (3, 8, 9, 3), dtype=np.uint8)
        expected = [np.asarray(Image.fromarray(image).convert("L")) for image in pixels]
        np.testing.assert_array_equal(to_grey(pixels), expected)

    def test_colour_histogram_counts_pixels(self) -> None:
        pixels = np.random.default_rng(2).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
        expected = np.zeros((4, 64))
        for image, counts in zip(pixels, expected, strict=True):
            for red, green, blue in image.reshape(-1, 3):
                counts[red // 64 * 16 + green // 64 * 4 + blue // 64] += 1 / 30
        np.testing.assert_allclose(colour_histogram(pixels), expected, atol=1e-6)

    def test_parts_have_length_one(self) -> None:
        vectors = LoadedEncoder(HogEncoder()).encode(noise_pictures(5))
        assert (vectors.shape, vectors.dtype) == ((5, 1828), np.float32)
        np.testing.assert_allclose(np.linalg.norm(vectors[:, :HOG_DIM], axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(vectors[:, HOG_DIM:], axis=1), 1, rtol=1e-5)

    def test_image_of_one_colour_has_no_outlines_but_a_colour(self) -> None:
        red, blue = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))
        vectors = LoadedEncoder(HogEncoder()).encode([red, blue])
        assert not vectors[:, :HOG_DIM].any()
        assert vectors[0] @ vectors[1] == 0

    def test_batches_make_no_difference(self) -> None:
        encoder = LoadedEncoder(HogEncoder())
        images = noise_pictures(encoder.batch_size * 2 + 3)
        one_by_one = np.concatenate([encoder.encode([image]) for image in images])
        np.testing.assert_allclose(encoder.encode(images), one_by_one, atol=1e-6)

    def test_nothing_in_nothing_out(self) -> None:
        assert LoadedEncoder(HogEncoder()).encode([]).shape == (0, 1828)

    def test_other_modes_are_taken_as_rgb(self) -> None:
        grey = noise_pictures(1)[0].convert("L")
        encoder = LoadedEncoder(HogEncoder())
        np.testing.assert_array_equal(encoder.encode([grey]), encoder.encode([grey.convert("RGB")]))

    def test_good_enough_for_digits(self) -> None:
        digits = load_digits()
        images = [Image.fromarray((digit * 15.9).astype(np.uint8)) for digit in digits.images[:600]]
        vectors = LoadedEncoder(HogEncoder()).encode(images)
        assert cross_val_score(KNeighborsClassifier(1), vectors, digits.target[:600], cv=3).mean() > 0.9


class TestPreparation:
    def test_whole_image_is_seen(self) -> None:
        image = Image.new("RGB", (300, 40), "black")
        image.paste((255, 255, 255), (280, 0, 300, 40))
        seen = squash(image, 64)
        assert seen.shape == (64, 64, 3)
        assert seen[:, 63].min() > 200
        assert seen[:, :50].max() == 0

    def test_small_images_grow(self) -> None:
        assert squash(Image.new("RGB", (1, 1), (9, 8, 7)), 224).reshape(-1, 3).tolist() == [[9, 8, 7]] * 224**2


class TestFingerprint:
    def test_says_what_the_vectors_mean(self) -> None:
        # A change here recomputes all users' vectors, so it has to be intentional.
        assert LoadedEncoder(HogEncoder()).fingerprint == "a6a457a8e4b77cfe"

    def test_of_mobilenet_is_that_of_earlier_versions(self, mobile: LoadedEncoder) -> None:
        sha256 = file_sha256(real_weights_dir() / WEIGHTS_FILE)
        facts = {"architecture": "mobilenet_v2_1.0_224 average", "weights": sha256, "side": 224}
        how = {"resize": "bilinear squash", "normalisation": "x/127.5-1", "library": "litert 2"}
        assert mobile.fingerprint == fingerprint(**facts, **how)

    @pytest.mark.parametrize("fact", ["architecture", "weights", "side", "resize", "normalisation", "library"])
    def test_differs_when_any_fact_differs(self, fact: str) -> None:
        facts = {
            "architecture": "a", "weights": "0", "side": 2, "resize": "squash", "normalisation": "x", "library": "l 2",
        }  # fmt: skip
        assert fingerprint(**{**facts, fact: "other"}) != fingerprint(**facts)

    def test_differs_with_the_stretch_and_all_other_preprocessing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = LoadedEncoder(HogEncoder()).fingerprint
        monkeypatch.setattr(encoder_module, "PREPROCESSING_VERSION", 4)
        assert LoadedEncoder(HogEncoder()).fingerprint != before

    def test_differs_with_the_librarys_major_version_alone(
        self, mobile: LoadedEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        real_version = importlib.metadata.version
        for version, is_same in (("2.99.1", True), ("3.0.0", False)):
            monkeypatch.setattr(
                importlib.metadata, "version", lambda name, v=version: v if "litert" in name else real_version(name)
            )
            again = choose_encoder("mobilenet_v2", real_weights_dir(), FROZEN)
            assert (again.fingerprint == mobile.fingerprint) is is_same

    def test_of_each_encoder_is_its_own(self, mobile: LoadedEncoder) -> None:
        fingerprints = [
            mobile.fingerprint,
            LoadedEncoder(HogEncoder()).fingerprint,
            LoadedEncoder(PatchesEncoder()).fingerprint,
        ]
        fingerprints.append(LoadedEncoder(HogScatteringEncoder()).fingerprint)
        assert len(set(fingerprints)) == 4

    def test_of_other_weights_is_another(self, tmp_path: Path, mobile: LoadedEncoder) -> None:
        changed = tmp_path / WEIGHTS_FILE
        changed.write_bytes((real_weights_dir() / WEIGHTS_FILE).read_bytes())
        with h5py.File(changed, "r+") as file:
            kernel = next(name for name in _arrays(file) if name.endswith(("kernel:0", "kernel")))
            file[kernel][...] = file[kernel][...] * 1.01
        other = choose_encoder("tensorflow", tmp_path)
        assert other.fingerprint != mobile.fingerprint
        assert other.dim == mobile.dim


def _arrays(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
    return names


class TestChoice:
    def test_hog_when_asked(self) -> None:
        encoder = choose_encoder("hog", None)
        assert encoder.name == "HOG + color"
        assert not encoder.is_fallback
        assert "chosen" in encoder.reason

    def test_the_settings_know_every_encoder(self) -> None:
        assert set(settings_module._ENCODERS) == set(BACKENDS)

    def test_no_such_encoder(self) -> None:
        assert all(name in unavailable("'magic'", "magic", None).hint for name in BACKENDS)

    def test_auto_without_weights_falls_back_and_says_why(self, offline: Path, tmp_path: Path) -> None:
        encoder = choose_encoder("auto", tmp_path)
        assert (encoder.name, encoder.backend) == ("HOG + color + Scattering", "hog+patches")
        assert encoder.is_fallback
        for message in (
            "MobileNetV2's weights could not be downloaded (",
            "using HOG + color + Scattering",
            WEIGHTS_FILE,
        ):
            assert message in encoder.reason
        assert "AL_WEIGHTS_DIR" in encoder.reason

    def test_auto_keeps_the_fallback_of_earlier_versions_where_it_was_used(self, offline: Path, tmp_path: Path) -> None:
        encoder = choose_encoder("auto/patches", tmp_path)
        assert (encoder.name, encoder.backend, encoder.is_fallback) == ("Scattering", "patches", True)
        assert "using Scattering" in encoder.reason
        assert likely("auto/patches", tmp_path).backend == "patches"
        (tmp_path / WEIGHTS_FILE).write_bytes(b"there")
        assert likely("auto/patches", tmp_path).encoder == "MobileNetV2 + HOG + color"

    def test_tensorflow_without_weights_says_what_to_do(self, offline: Path) -> None:
        assert WEIGHTS_FILE in unavailable("could not be downloaded", "tensorflow", None).hint

    def test_auto_needs_no_tensorflow(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(keras_networks, "PACKAGE", "tensorflow_of_nowhere")
        assert "MobileNetV2" in choose_encoder("auto", real_weights_dir()).name

    @pytest.mark.slow
    @pytest.mark.parametrize("damage", ["garbage", "cut short", "other layers"])
    def test_damaged_weights(self, damage: str, offline: Path, tmp_path: Path) -> None:
        file = tmp_path / WEIGHTS_FILE
        if damage == "garbage":
            file.write_bytes(b"not found" * 1000)
        elif damage == "cut short":
            file.write_bytes((real_weights_dir() / WEIGHTS_FILE).read_bytes()[:4_000_000])
        else:
            with h5py.File(file, "w") as weights:
                weights.attrs["layer_names"] = [b"dense"]
                weights.create_group("dense").attrs["weight_names"] = [b"kernel:0"]
                weights["dense"]["kernel:0"] = np.zeros((3, 4))
        encoder = choose_encoder("auto", tmp_path)
        assert encoder.is_fallback
        assert f"{file} is damaged or of the wrong kind" in encoder.reason
        assert "\n" not in encoder.reason
        assert "Delete it" in unavailable("damaged", "tensorflow", tmp_path).hint

    @pytest.mark.slow
    def test_weights_of_numbers_that_are_not_finite(self, offline: Path, tmp_path: Path) -> None:
        file = tmp_path / WEIGHTS_FILE
        file.write_bytes((real_weights_dir() / WEIGHTS_FILE).read_bytes())
        with h5py.File(file, "r+") as weights:
            for name in _arrays(weights):
                weights[name][...] = np.nan
        assert "not finite" in choose_encoder("auto", tmp_path).reason

    def test_survey_imports_and_downloads_nothing(self, offline: Path) -> None:
        lines = {line.backend: line for line in survey(None)}
        assert list(lines) == [name for name in BACKENDS if name not in ("auto", "tensorflow", "torch")]
        assert lines["hog"].available
        for weight_file in (weights.MOBILENET_V2, weights.EFFICIENTNET_B0, weights.RESNET50):
            line = next(line for line in lines.values() if line.encoder == weight_file.title)
            assert (line.available, line.may_download) == (False, True)
            assert weight_file.file in line.reason
        assert not offline.exists()

    def test_what_is_likely(self, offline: Path, tmp_path: Path) -> None:
        assert likely("auto", tmp_path).encoder == "HOG + color + Scattering"
        (tmp_path / WEIGHTS_FILE).write_bytes(b"there")
        assert likely("auto", tmp_path).encoder == "MobileNetV2 + HOG + color"
        assert likely("tensorflow", tmp_path).encoder == "MobileNetV2"
        assert likely("hog", tmp_path).encoder == "HOG + color"
        assert likely("torch", tmp_path).backend == "resnet18"
        assert not likely("file:nothing.onnx", tmp_path).available

    @pytest.mark.slow
    def test_choosing_hog_never_imports_tensorflow(self) -> None:
        program = (
            "import sys; from modeling.backends import choose_encoder, survey; choose_encoder('hog', None);"
            "survey(None); sys.exit(bool({'tensorflow', 'keras', 'torch'} & set(sys.modules)))"
        )
        run_python("-c", program)


class TestDownload:
    @pytest.fixture
    def server(self) -> Iterator[http.server.ThreadingHTTPServer]:
        """Serve fixed bytes, optionally with a Content-Length that is too large."""

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(4 + self.server.lacking))  # type: ignore[attr-defined]
                self.end_headers()
                self.wfile.write(b"good")

            def log_message(self, *args: object) -> None:
                """Print nothing."""

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.lacking = 0  # type: ignore[attr-defined]
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield server
            server.shutdown()
            thread.join()

    def _file(self, port: int) -> weights.WeightFile:
        return replace(MOBILENET_V2, url=f"http://127.0.0.1:{port}/{WEIGHTS_FILE}")

    def test_goes_to_keras_cache_once(self, server: http.server.HTTPServer, offline: Path) -> None:
        weight_file = self._file(server.server_port)
        file, origin = weights.locate(weight_file, None)
        assert file.read_bytes() == b"good"
        assert file.parent == offline
        assert "download" in origin
        assert weights.locate(weight_file, None)[1] == "from Keras's cache"
        assert [path.name for path in offline.iterdir()] == [WEIGHTS_FILE]

    def test_broken_off_leaves_nothing(self, server: http.server.HTTPServer, offline: Path) -> None:
        server.lacking = 5  # type: ignore[attr-defined]
        unavailable("could not be downloaded", self._file(server.server_port), None, choose=weights.locate)
        assert not list(offline.iterdir())

    def test_silent_network_is_given_up(self, offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(weights, "CONNECT_SECONDS", 0.2)
        began = time.monotonic()
        with (
            socket.create_server(("127.0.0.1", 0)) as silent,
            pytest.raises(EncoderUnavailable, match="could not be downloaded"),
        ):
            weights.locate(self._file(silent.getsockname()[1]), None)
        assert time.monotonic() - began < 60  # it gives up eventually

    def test_folder_of_weights_comes_first(self, offline: Path, tmp_path: Path) -> None:
        offline.mkdir(parents=True)
        (offline / WEIGHTS_FILE).write_bytes(b"cached")
        assert weights.locate(MOBILENET_V2, tmp_path)[1] == "from Keras's cache"
        (tmp_path / WEIGHTS_FILE).write_bytes(b"given")
        assert weights.locate(MOBILENET_V2, tmp_path) == (tmp_path / WEIGHTS_FILE, "from AL_WEIGHTS_DIR")

    def test_torch_has_a_cache_of_its_own(self, offline: Path, tmp_path: Path) -> None:
        cached_file = tmp_path / "torch" / "hub" / "checkpoints" / weights.RESNET18.file
        cached_file.parent.mkdir(parents=True)
        cached_file.write_bytes(b"cached")
        assert weights.locate(weights.RESNET18, None, download=False) == (cached_file, "from torch's cache")


@pytest.fixture(scope="module")
def keras() -> Any:
    with quiet():
        return keras_networks.import_tensorflow()[1]


def random_weights(keras: Any, application: Application, file: Path) -> None:
    """Write random weights of the right shapes in the layout of the published files."""
    from keras.src.legacy.saving import legacy_h5_format

    keras.utils.set_random_seed(1)
    model = getattr(keras.applications, application.function)(
        weights=None, include_top=False, input_shape=(224, 224, 3)
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):  # the values in Keras's file
            layer.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), np.array(0)])
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([array + rng.uniform(0, 0.2, array.shape) for array in layer.get_weights()])
    with h5py.File(file, "w") as stream:
        legacy_h5_format.save_weights_to_hdf5_group(stream, model)


def rename_as_in_keras_2(file: Path) -> None:
    """Give layers and arrays other names: those of Keras 2 end in ":0", and layers were renamed later."""
    with h5py.File(file, "r+") as stream:
        names = [str(name) for name in stream.attrs["layer_names"]]
        for number, name in enumerate(names):
            group = stream[name]
            arrays = [np.asarray(group[array]) for array in group.attrs["weight_names"]]
            del stream[name]
            renamed = stream.create_group(f"old_{number}")
            renamed.attrs["weight_names"] = [f"old_{number}/array_{k}:0".encode() for k in range(len(arrays))]
            for weight, array in zip(renamed.attrs["weight_names"], arrays, strict=True):
                renamed[weight] = array
        stream.attrs["layer_names"] = [f"old_{number}".encode() for number in range(len(names))]


def cosines(vectors: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return (vectors * expected).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(expected, axis=1)


@pytest.mark.slow
class TestOtherNetworksWithRandomWeights:
    """Networks whose published weights are unavailable in tests: random weights under the same file names."""

    @pytest.mark.parametrize("backend", ["efficientnet_b0", "resnet50"])
    def test_same_numbers_as_keras_with_its_own_preprocessing(
        self, backend: BackboneName, keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        application = APPLICATIONS[backend]
        file = tmp_path / application.weights.file
        with quiet():
            random_weights(keras, application, file)
            # Keras loads the file itself, as if it had just been downloaded.
            module = importlib.import_module(f"keras.src.applications.{backend.removesuffix('_b0').removesuffix('50')}")
            monkeypatch.setattr(module.file_utils, "get_file", lambda *args, **kwargs: str(file))
            model = getattr(keras.applications, application.function)(
                weights="imagenet", include_top=False, pooling="avg", input_shape=(224, 224, 3)
            )
            images = noise_pictures(3, seed=2)
            pixels = np.stack([squash(image, 224) for image in images])
            expected = model.predict(module.preprocess_input(pixels.astype(np.float32)), verbose=0)
        assert expected.std() > 1e-6
        monkeypatch.setattr(keras_networks, "PACKAGE", "tensorflow_of_nowhere")
        encoder = choose_encoder(backend, tmp_path)
        vectors = encoder.encode(images)
        assert vectors.shape == (3, encoder.dim) == expected.shape
        assert cosines(vectors, expected).min() >= 0.999999
        assert "AL_WEIGHTS_DIR" in encoder.reason
        # GPUs run the same network in Keras.
        network = next(network for network in keras_networks.NETWORKS if network.backend == backend)
        on_gpu = gpu.KerasRunner(network.keras_model(keras, file)).run(pixels)
        assert cosines(on_gpu, expected).min() >= 0.999999
        rename_as_in_keras_2(file)
        np.testing.assert_array_equal(choose_encoder(backend, tmp_path).encode(images), vectors)

    def test_fingerprints_are_those_of_earlier_versions(self, keras: Any, tmp_path: Path) -> None:
        facts = {
            "efficientnet_b0": ("efficientnet_b0 average", "(x/255-mean)/deviation"),
            "resnet50": ("resnet50 average", "bgr - mean"),
        }
        for backend, (architecture, normalization) in facts.items():
            application = APPLICATIONS[backend]
            file = tmp_path / application.weights.file
            random_weights(keras, application, file)
            assert choose_encoder(backend, tmp_path).fingerprint == fingerprint(
                architecture=architecture, weights=file_sha256(file), side=224, resize="bilinear squash",
                normalisation=normalization, library="litert 2",
            )  # fmt: skip

    @pytest.mark.parametrize("backend", ["efficientnet_b0", "resnet50"])
    def test_weights_of_another_network_are_refused(self, backend: BackboneName, tmp_path: Path) -> None:
        file = tmp_path / APPLICATIONS[backend].weights.file
        file.write_bytes((real_weights_dir() / WEIGHTS_FILE).read_bytes())
        assert "Delete it" in unavailable("damaged or of the wrong kind", backend, tmp_path).hint


@pytest.mark.slow
class TestGpu:
    @pytest.fixture
    def driver(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Simulate a machine with a GPU driver and a TensorFlow built for GPUs."""
        (tmp_path / "driver").write_text("550")
        monkeypatch.setattr(gpu, "_DRIVER", tmp_path / "driver")
        monkeypatch.setattr(gpu, "_has", lambda package: False)

    def test_keras_runs_it_in_batches(
        self, driver: None, mobile: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gpu, "is_available", lambda tensorflow: True)
        monkeypatch.setattr(gpu, "BATCH", 2)
        encoder = choose_encoder("mobilenet_v2", real_weights_dir())
        assert encoder.reason.endswith("on the GPU.")
        assert encoder.fingerprint != mobile.fingerprint  # computed by another library
        images = noise_pictures(5)
        np.testing.assert_allclose(encoder.encode(images), mobile.encode(images), atol=1e-3)
        pixels = np.stack([encoder.prepare(image) for image in images])
        with ThreadPoolExecutor(2) as pool:  # two batches are computed at the same time
            first, second = pool.map(encoder.encode_prepared, [pixels, pixels[::-1]])
        np.testing.assert_allclose(first, second[::-1], atol=1e-4)
        assert encoder.encode_prepared(np.empty((0, 224, 224, 3), np.uint8)).shape == (0, 1280)

    def test_a_driver_without_a_gpu_changes_nothing(self, driver: None, mobile: LoadedEncoder) -> None:
        encoder = choose_encoder("mobilenet_v2", real_weights_dir(), FROZEN)
        assert encoder.fingerprint == mobile.fingerprint
        assert "GPU" not in encoder.reason

    def test_what_tensorflow_is_asked(self) -> None:
        calls: list[Any] = []
        experimental = SimpleNamespace(
            set_memory_growth=lambda device, on: calls.append((device, on)),
            enable_tensor_float_32_execution=lambda on: calls.append(on),
        )
        devices: list[str] = ["GPU:0"]
        config = SimpleNamespace(list_physical_devices=lambda kind: devices, experimental=experimental)
        assert gpu.is_available(SimpleNamespace(config=config))
        assert calls == [("GPU:0", True), False]
        devices.clear()
        assert not gpu.is_available(SimpleNamespace(config=config))

    @pytest.mark.parametrize(
        ("packages", "has_driver", "expected"),
        [
            ((), False, False),
            ((), True, True),
            (("tensorflow-cpu",), True, False),
            (("tensorflow-metal",), False, True),
        ],
    )
    def test_where_it_is_worth_asking(
        self,
        packages: tuple[str, ...],
        has_driver: bool,
        expected: bool,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.setattr(gpu, "_DRIVER", tmp_path if has_driver else tmp_path / "nothing")
        monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
        monkeypatch.setattr(gpu, "_has", lambda package: package in packages)
        assert gpu.is_possible() is expected


@pytest.mark.slow
class TestResNet18:
    def test_without_weights_a_sentence_says_which_file(self, offline: Path) -> None:
        assert "resnet18-f37072fd.pth in AL_WEIGHTS_DIR" in likely("resnet18").reason
        for name in ("resnet18", "torch"):
            assert "resnet18-f37072fd.pth" in unavailable("ResNet18's weights could not be downloaded", name, None).hint

    def test_same_numbers_as_a_plain_forward_pass_with_random_weights(self, tmp_path: Path) -> None:
        """Compare with NumPy. torch, too large for the tests, gave cosines of at least 0.9999999 on such weights."""
        state = resnet18_state(np.random.default_rng(4))
        save_as_torch_does(tmp_path / weights.RESNET18.file, state)
        encoder = choose_encoder("torch", tmp_path, tmp_path / "graphs")
        images = noise_pictures(2, seed=6)
        vectors = encoder.encode(images)
        assert vectors.shape == (2, encoder.dim) == (2, 512)
        for vector, image in zip(vectors, images, strict=True):
            expected = resnet18_forward(state, squash(image, 224))
            np.testing.assert_allclose(vector, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        assert encoder.fingerprint == choose_encoder("resnet18", tmp_path, tmp_path / "graphs").fingerprint

    @pytest.mark.parametrize("kind", ["cut", "text", "code", "other", "beyond"])
    def test_a_damaged_or_hostile_file_is_refused(self, kind: str, tmp_path: Path) -> None:
        file = tmp_path / weights.RESNET18.file
        state = resnet18_state(np.random.default_rng(4))
        if kind == "other":
            save_as_torch_does(file, {"weight": state["conv1.weight"]})
        elif kind == "code":
            save_as_torch_does(file, {"weight": os.system})  # type: ignore[dict-item]
        elif kind == "beyond":
            save_as_torch_does(file, state, shorten="conv1.weight")
        else:
            save_as_torch_does(file, state)
            content = file.read_bytes()
            file.write_bytes(content[: len(content) // 2] if kind == "cut" else b"only words")
        error = unavailable("damaged or of the wrong kind", "resnet18", tmp_path, tmp_path / "graphs")
        assert "replace it with a complete resnet18-f37072fd.pth" in error.hint


@pytest.mark.slow
class TestMobileNet:
    def test_same_numbers_as_keras(self, mobile: LoadedEncoder) -> None:
        images = noise_pictures(37)
        with quiet():
            import keras

            model = keras.applications.MobileNetV2(
                input_shape=(224, 224, 3), include_top=False, pooling="avg",
                weights=str(real_weights_dir() / WEIGHTS_FILE),
            )  # fmt: skip
            pixels = np.stack([squash(image, 224) for image in images]).astype(np.float32)
            expected = model.predict(keras.applications.mobilenet_v2.preprocess_input(pixels), verbose=0)
        vectors = mobile.encode(images)
        assert (vectors.dtype, vectors.shape) == (np.float32, (37, 1280))
        np.testing.assert_allclose(vectors, expected, atol=1e-3)

    def test_order_and_batches_make_no_difference(self, mobile: LoadedEncoder) -> None:
        images = noise_pictures(35, seed=5)
        together = mobile.encode(images)
        np.testing.assert_allclose(mobile.encode(images[33:]), together[33:], atol=1e-4)
        assert mobile.encode([]).shape == (0, 1280)
        assert mobile.encode_prepared(np.empty((0, 224, 224, 3), np.uint8)).shape == (0, 1280)

    def test_it_runs_without_tensorflow(self, mobile: LoadedEncoder, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from modeling.backends import choose_encoder;"
            "encoder = choose_encoder('tensorflow', Path(sys.argv[1]), Path(sys.argv[2]));"
            "print(encoder.fingerprint, bool({'tensorflow', 'keras'} & sys.modules.keys()))"
        )
        done = run_python("-c", program, real_weights_dir(), tmp_path / "graphs")
        assert done.stdout.split() == [mobile.fingerprint, "False"]

    def test_names_in_the_file_make_no_difference(self, mobile: LoadedEncoder, tmp_path: Path) -> None:
        (tmp_path / WEIGHTS_FILE).write_bytes((real_weights_dir() / WEIGHTS_FILE).read_bytes())
        rename_as_in_keras_2(tmp_path / WEIGHTS_FILE)
        images = noise_pictures(2)
        np.testing.assert_array_equal(choose_encoder("mobilenet_v2", tmp_path).encode(images), mobile.encode(images))

    def test_a_network_that_does_not_run_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(LiteGraph, "content", lambda graph, output: b"no network")
        assert (
            "Reinstall ai-edge-litert" in unavailable("LiteRT could not run", "mobilenet_v2", real_weights_dir()).hint
        )

    def test_says_where_the_weights_came_from(self, mobile: LoadedEncoder) -> None:
        assert "AL_WEIGHTS_DIR" in mobile.reason
        assert not mobile.is_fallback
