"""List the encoders, check which of them run on this machine, and create the requested one.

Each encoder is an entry point (``modeling.backends.plugins``), a model of timm or a model file, or joins several.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from modeling.backends import plugins, timm_models, user_models, weights
from modeling.backends.encoder import Encoder, EncoderUnavailable
from modeling.backends.joined import SEPARATOR, JoinedEncoder
from modeling.backends.plugins import LoadedEncoder, Plugin

log = logging.getLogger(__name__)

AUTO = "auto"
OUTDATED = "It is older than the code. Install hoshina again: uv sync, or pip install -e . in a checkout."
NO_WEIGHTS = "Needs no weights; less accurate on photos."


@dataclass(frozen=True)
class Places:
    """Hold folders: pretrained weights, and frozen Keras files with users' model files in a subfolder."""

    weights_dir: Path | None = None
    graphs: Path | None = None


@dataclass(frozen=True)
class Line:
    """An encoder in a list: whether it can be used here, and why or why not.

    ``may_download`` is true if only its weights are missing, which are downloaded on first use. ``side`` is the side of
    the square that an ingest may store for it (``Encoder.is_plain``), if known without loading it.
    """

    backend: str
    encoder: str
    available: bool
    reason: str
    about: str = ""
    may_download: bool = False
    side: int | None = None


# ``auto`` joins those of these networks that are available with HOG; without any, it uses the fallback.
_NETWORKS_OF_AUTO = ("efficientnet_lite2", "mobilenet_v2")
BEST, SECOND, FALLBACK = "efficientnet_lite2+mobilenet_v2+hog", "mobilenet_v2+hog", "hog+patches"
# Joined encoders that lists suggest.
_SUGGESTED = {
    BEST: "The best choice for most images: all three, reduced to 256 components fitted to your images.",
    SECOND: "Nearly as good, and several times faster: 256 components fitted to your images.",
    FALLBACK: "Gradients, wavelets and colors: 256 components fitted to your images.",
}
# Former names of encoders, from when there was only one per library.
ALIASES = {"tensorflow": "mobilenet_v2", "torch": "resnet18"}
# What ``auto`` chose before encoders were joined. Datasets with such embeddings keep them: with those of a network
# until a person chooses another encoder, with those of a fallback as long as only a fallback is available.
OLD_BEST, OLD_FALLBACKS = "mobilenet_v2", ("hog+scattering", "patches")
# What ``auto`` chooses with one network. Datasets with such embeddings keep them when the other becomes available.
WITH_ONE_NETWORK = tuple(f"{network}{SEPARATOR}hog" for network in _NETWORKS_OF_AUTO)
# The entry points of this package, in the order of lists. Its installed metadata must have them.
BUILT_IN = ("mobilenet_v2", "efficientnet_b0", "efficientnet_lite2", "resnet50", "resnet18", *OLD_FALLBACKS, "hog")
BACKENDS = (AUTO, *ALIASES, BEST, SECOND, *BUILT_IN, FALLBACK)


# -- Choosing ----------------------------------------------------------------------------------------
def is_backend(backend: str) -> bool:
    """Return whether this is the name of an encoder or model file, or of several joined ones, usable here or not."""
    is_file = backend.startswith(user_models.PREFIX) and len(backend) > len(user_models.PREFIX)
    return backend in BACKENDS or is_file or all(_is_single(part) for part in parts_of(backend))


def parts_of(backend: str) -> list[str]:
    """Return the names of the encoders that a name joins with plus signs; only itself if it is not such a name."""
    parts = backend.split(SEPARATOR)
    is_one = backend in BUILT_IN or backend in plugins.entry_points()
    is_joined = not is_one and len(set(parts)) == len(parts) and all(map(_is_single, parts))
    return parts if is_joined else [backend]


def _is_single(name: str) -> bool:
    if name in BUILT_IN or timm_models.is_timm(name) or name in plugins.entry_points():
        return True
    suffix = Path(name.partition("@")[0]).suffix.lower()
    return name.startswith(user_models.PREFIX) and suffix in user_models.SUFFIXES


def choose_encoder(backend: str, weights_dir: Path | None = None, graphs: Path | None = None) -> Encoder:
    """Create an encoder that is ready to run; its ``reason`` explains the choice.

    Parameters
    ----------
    backend
        ``auto`` joins EfficientNet-Lite2 and MobileNetV2 with HOG, or only the network whose weights are available;
        else HOG with Scattering, which need no weights (``auto/patches``: else Scattering alone). Any other name has no
        fallback: one of BACKENDS, ``file:<name>`` for a model file (see ``modeling.backends.user_models``), or several
        such names joined by plus signs.
    weights_dir
        Folder of pretrained weight files, if any.
    graphs
        Cache of frozen Keras files, so that TensorFlow need not be loaded again; users' files are in a subfolder.

    Raises
    ------
    EncoderUnavailable
        If the named encoder cannot run here or does not exist.
    """
    places = Places(weights_dir, graphs)
    fallback = _fallback_of(backend)
    if not fallback:
        return _create_named(backend, places)
    networks: list[Encoder] = []
    for name in _NETWORKS_OF_AUTO:
        try:
            networks.append(_create_named(name, places))
        except EncoderUnavailable as error:
            missing = error
            log.info("%s", error)
    if networks:
        return JoinedEncoder([*networks, _create_named("hog", places)])
    encoder = _create_named(fallback, places)
    encoder.reason = f"{missing.reason}; using {encoder.name}. {missing.hint}".strip()
    encoder.is_fallback = True
    return encoder


def survey(weights_dir: Path | None = None, graphs: Path | None = None) -> list[Line]:
    """List every encoder and model file with its availability. Loads and downloads no weights."""
    places = Places(weights_dir, graphs)
    others = [name for name in plugins.entry_points() if name not in BACKENDS]
    lines = [likely(name, weights_dir, graphs) for name in (BEST, SECOND, *BUILT_IN, FALLBACK, *others)]
    lines += [_timm_line(name, places) for name in timm_models.listed(graphs)]
    return lines + [_user_model_line(path) for path in user_models.list_files(weights_dir, graphs)]


def likely(backend: str, weights_dir: Path | None = None, graphs: Path | None = None) -> Line:
    """Return the line of :func:`survey` for the encoder that :func:`choose_encoder` will most likely choose."""
    places = Places(weights_dir, graphs)
    if fallback := _fallback_of(backend):
        networks = [name for name in _NETWORKS_OF_AUTO if likely(name, weights_dir, graphs).available]
        return likely(SEPARATOR.join([*networks, "hog"]) if networks else fallback, weights_dir, graphs)
    backend = ALIASES.get(backend, backend)
    if len(parts := parts_of(backend)) > 1:
        return _joined_line(backend, [likely(part, weights_dir, graphs) for part in parts])
    if timm_models.is_timm(backend):
        return _timm_line(backend, places)
    if backend in plugins.entry_points():
        return _plugin_line(plugins.plugin(backend), places)
    if backend in BUILT_IN:
        return Line(backend, backend, False, str(_outdated(backend)))
    try:
        file = user_models.find(backend, weights_dir, graphs)
    except EncoderUnavailable as error:
        return Line(backend, backend, False, str(error))
    return _user_model_line(file.path, backend)


def _fallback_of(backend: str) -> str:
    """Return the encoder that ``auto`` uses without weights; empty if ``backend`` names an encoder."""
    if backend == AUTO:
        return FALLBACK
    auto, _, fallback = backend.partition("/")
    return fallback if auto == AUTO and fallback in OLD_FALLBACKS else ""


def auto_with(fallback: str) -> str:
    """Return the name of ``auto`` with a former fallback."""
    return f"{AUTO}/{fallback}"


def _create_named(backend: str, places: Places) -> Encoder:
    backend = ALIASES.get(backend, backend)
    if len(parts := parts_of(backend)) > 1:
        return JoinedEncoder([_create_named(part, places) for part in parts])
    encoder = _create_single(backend, places)
    encoder.backend = backend
    return encoder


def _create_single(backend: str, places: Places) -> Encoder:
    if timm_models.is_timm(backend):
        return timm_models.TimmEncoder(backend, _folders(places), places.graphs)
    if backend in plugins.entry_points():
        plugin = plugins.plugin(backend)
        return LoadedEncoder(plugin.made(places.weights_dir), plugin.name, plugin.package)
    if backend.startswith(user_models.PREFIX):
        file = user_models.find(backend, places.weights_dir, places.graphs)
        return user_models.UserModelEncoder(file, places.graphs)
    if backend in BUILT_IN:
        raise _outdated(backend)
    raise EncoderUnavailable(
        f"There is no encoder called {backend!r}",
        f"Choose one of {', '.join(BACKENDS)}, file:NAME for a model file, or several joined by plus signs.",
    )


def _outdated(backend: str) -> EncoderUnavailable:
    return EncoderUnavailable(f"The installed metadata of hoshina lists no encoder {backend}", OUTDATED)


def _folders(places: Places) -> list[Path]:
    """Return the folders of weight files: AL_WEIGHTS_DIR and that of uploads."""
    graphs = None if places.graphs is None else places.graphs / user_models.FOLDER
    return [folder for folder in (places.weights_dir, graphs) if folder is not None]


def _plugin_line(plugin: Plugin, places: Places) -> Line:
    about = "" if plugin.is_ours else f"From the package {plugin.package}."
    try:
        encoder = plugin.made(places.weights_dir)
        about = (
            f"{encoder.about} License: {encoder.license or 'unknown'}; {encoder.input_size} px, {encoder.dim:,} values."
        )
        plugins.require_usable(encoder)
        reason = encoder.source() or (NO_WEIGHTS if plugin.is_ours else f"From the package {plugin.package}.")
    except weights.NotDownloaded as error:
        reason = f"{error!s} Otherwise they are downloaded first."
        return Line(plugin.name, plugin.title, False, reason, about, may_download=True, side=encoder.input_size)
    except EncoderUnavailable as error:
        return Line(plugin.name, plugin.title, False, str(error), about)
    return Line(plugin.name, encoder.title, True, reason, about.strip(), side=encoder.input_size)


def _timm_line(backend: str, places: Places) -> Line:
    model, _, weight_file = backend.removeprefix(timm_models.PREFIX).partition("@")
    title = f"timm {model}, {Path(weight_file).name}" if weight_file else f"timm {model}"
    facts = timm_models.described(model, places.graphs)
    about = (
        "A model of timm."
        if facts is None
        else (f"A model of timm. License: {facts.license or 'unknown'}; {facts.side} px, {facts.dim:,} values.")
    )
    try:
        timm_models.require_timm()
        file = timm_models.weights_of(backend, facts, _folders(places), may_download=False)
    except weights.NotDownloaded as error:
        reason = f"{error!s} They are downloaded first."
        return Line(backend, title, False, reason, about, may_download=True)
    except EncoderUnavailable as error:
        return Line(backend, title, False, str(error), about)
    return Line(backend, title, True, f"Weights {file}.", about)


def _join_reasons(reasons: Iterable[str]) -> str:
    """Return the reasons of joined encoders as one text; one that needs no weights gives none beside others."""
    return " ".join(reason for reason in dict.fromkeys(reasons) if reason != NO_WEIGHTS) or NO_WEIGHTS


def _joined_line(backend: str, lines: list[Line]) -> Line:
    """Return the line of joined encoders from those of each; the first that is not available decides."""
    sides = [line.side for line in lines]
    missing = [line for line in lines if not line.available]
    return Line(
        backend,
        f" {SEPARATOR} ".join(line.encoder for line in lines),
        not missing,
        missing[0].reason if missing else _join_reasons(line.reason for line in lines),
        _SUGGESTED.get(backend, "Joined: 256 components fitted to your images."),
        may_download=bool(missing) and all(line.may_download for line in missing),
        side=None if None in sides else max(side for side in sides if side is not None),
    )


def _user_model_line(path: Path, backend: str = "") -> Line:
    backend = backend or user_models.PREFIX + path.name
    try:
        file = user_models.described(path)
        user_models.require_runnable(path)
    except EncoderUnavailable as error:
        return Line(backend, path.stem, False, str(error), f"The model file {path.name}.")
    pixels = f"pixels scaled to {file.preprocessing}" if file.preprocessing else "pixel scaling is guessed"
    return Line(backend, file.title, True, f"From {path.parent}.", f"The model file {path.name}; {pixels}.")
