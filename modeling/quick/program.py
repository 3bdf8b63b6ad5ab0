"""Build the program shipped with a quick training: it classifies images anywhere, prepared as in training.

The archive contains the code that opens files here, so that both are always the same.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from django.conf import settings

from hoshina.core.storage import writing
from labeling.exporting.version import app_version
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.ingest.folder_watch import params_of_last_ingest
from labeling.models import Dataset, LabelClass
from modeling.encoders.input_spec import InputSpec
from modeling.encoders.network_input import NetworkInput
from modeling.models import ModelVersion
from modeling.quick.checkpoints import Plan

NAME = "classifier.zip"
_PROGRAM = "modeling/backends/quick/classify.py"
# What the program imports; a contract in pyproject.toml keeps all of it free of Django.
_CODE = (
    "labeling/__init__.py", "labeling/images/*.py",
    "labeling/ingest/__init__.py", "labeling/ingest/grouping_template.py",
    "modeling/__init__.py", "modeling/encoders/__init__.py",
    "modeling/encoders/network_input.py", "modeling/encoders/input_spec.py",
)  # fmt: skip
# Files of `labeling/images` that only HOSHINA itself needs.
_LEFT_OUT = {
    "browser_formats.py", "decoder_messages.py", "decoder_pool.py", "decoder_process.py", "file_check.py",
    "file_headers.py", "fits_cards.py", "process_limits.py", "request_loop.py", "revisions.py", "sky_coordinates.py",
    "watched_process.py",
}  # fmt: skip
_NEEDED = ("numpy", "pillow", "filelock", "astropy", "tifffile", "ai-edge-litert")
_IF_INSTALLED = {
    "imagecodecs": "JPEG XL, more compressions of TIFF and DICOM",
    "pillow-heif": "HEIF",
    "pydicom": "DICOM",
}


def about(version: ModelVersion, plan: Plan) -> dict[str, Any]:
    """Return what the program needs besides the weights, for classes.json: the classes, and how images are prepared."""
    names = dict(LabelClass.objects.filter(pk__in=version.class_ids).values_list("pk", "name"))
    return {
        "classes": [names[class_id] for class_id in version.class_ids],
        "image_side": plan.options.image_side,
        "temperature": version.temperature,
        "sees": plan.network_input.as_params(),
        "grouping": version.dataset.grouping,
        "extensions": _endings(version.dataset),
    }


def write_program(version: ModelVersion, folder: Path, network_input: NetworkInput) -> None:
    """Write the archive into ``folder``, which has ``model.tflite`` and ``classes.json`` already."""
    top = f"{version.dataset.slug}-model-{version.number}"
    with writing(folder / NAME) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{top}/README.md", readme(version.dataset, version.number, network_input))
        archive.writestr(f"{top}/requirements.txt", "\n".join([*requirements(), ""]))
        archive.write(settings.RESOURCES_DIR / "LICENSE", f"{top}/LICENSE")
        archive.write(settings.BASE_DIR / _PROGRAM, f"{top}/classify.py")
        for name in ("classes.json", "model.tflite"):
            archive.write(folder / name, f"{top}/{name}")
        for file in _code():
            archive.write(file, f"{top}/{file.relative_to(settings.BASE_DIR).as_posix()}")


def _endings(dataset: Dataset) -> list[str]:
    return list(params_of_last_ingest(dataset).get("extensions") or DEFAULT_EXTENSIONS)


def _code() -> Iterator[Path]:
    for pattern in _CODE:
        yield from (file for file in sorted(settings.BASE_DIR.glob(pattern)) if file.name not in _LEFT_OUT)


def requirements() -> list[str]:
    """Return the packages that the program needs, in the versions in use: others may decode or resize differently."""
    optional = sorted(name for name in _IF_INSTALLED if _version(name))
    return [f"{name}=={_version(name)}" for name in (*_NEEDED, *optional)]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def readme(dataset: Dataset, number: int, network_input: NetworkInput) -> str:
    """Return instructions for the program in Markdown. Contains no names of people or folders."""
    lines = [
        f"# {dataset.name}, model {number}: a program that classifies images",
        "",
        "With Python 3.11 or newer:",
        "",
        "    python -m pip install -r requirements.txt",
        "    python classify.py FOLDER --output predictions.csv",
        "",
        "It needs no other part of HOSHINA, and no network once the packages are installed. The list has the versions "
        "that the model was made with. Other versions usually work, but may decode or resize images slightly "
        "differently.",
        "",
        "## Input",
        "",
        *seen_as(dataset, network_input),
        f"- Files that end in {', '.join(_endings(dataset))} (`--extensions` sets others), including subfolders.",
        *_optional(),
        "",
        "## Output",
        "",
        "A CSV file with a line for each item: `path` below FOLDER, `predicted` class, its `probability` (calibrated), "
        "the probability of each class (`p:…`), and `problem`. An item that cannot be read has a problem and no "
        "prediction; one that lacks some of its files has both.",
        "",
        "The exit status is 0 if an item was classified, 1 if none was, and 2 if an argument is invalid.",
        "",
        "## Files",
        "",
        "- `model.tflite`: takes pixels and returns probabilities, with LiteRT. If ai-edge-litert does not support "
        "your platform, install tensorflow and put `model.keras`, another download of the model, here.",
        "- `classes.json`: the classes in the order of the probabilities, and how images are prepared.",
        f"- `labeling`, `modeling`: the code with which HOSHINA {app_version()} opens images (MIT, see LICENSE).",
        "",
    ]
    return "\n".join(lines)


def seen_as(dataset: Dataset, network_input: NetworkInput) -> list[str]:
    """Describe the input of the network as a list in Markdown."""
    spec = network_input.spec
    lines = [
        "- Images whole and upright, resized to a square without keeping their proportions, as RGB from 0 to 255; "
        f"transparent pixels are filled with {spec.rendering.background}.",
        _stretched(spec) + (f" Here: {spec.rendering.summary}." if spec.rendering.summary else ""),
    ]
    if spec.roles:
        lines += [
            f"- {network_input.note} Files that match `{dataset.grouping}` and have the same id make one item; a "
            f"missing file is {'gray' if spec.has_parts else 'black'}.",
        ]
    return lines


def _stretched(spec: InputSpec) -> str:
    if spec.roles and not spec.has_parts:
        bands = ", ".join(spec.composition.bands_of(spec.roles))
        return f"- {bands} as red, green and blue, brightness stretched by an asinh (Lupton et al. 2004)."
    return (
        "- More than 8 bits (FITS, 16-bit and float PNG and TIFF) stretched: usually by zscale for FITS and by "
        "percentiles for others."
    )


def _optional() -> list[str]:
    missing = [f"{purpose} ({name})" for name, purpose in _IF_INSTALLED.items() if not _version(name)]
    return [f"- Not installed where the model was made, so not in the list: {', '.join(missing)}."] if missing else []
