"""Classify a folder of images with the model beside this file.

    python classify.py FOLDER [--output predictions.csv]

Files are opened by the same code as in the program that trained the model, so that the model sees images as in
training. Writes one line per item: its path, the predicted class, its probability, the probability of each class, and
any problem with its files. See README.md beside this file for details.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
_INSTALL = f'python -m pip install -r "{HERE / "requirements.txt"}"'

if sys.version_info < (3, 11):  # noqa: UP036 - it runs on users' machines
    raise SystemExit("This program needs Python 3.11 or newer.")
try:
    import numpy as np

    from labeling.images.folder_walk import walk
    from labeling.ingest.grouping_template import GroupingProblem, Template
    from modeling.encoders.network_input import NetworkInput, inputs_of
except ModuleNotFoundError as missing:
    raise SystemExit(f"The Python package {missing.name} is missing. Install the requirements: {_INSTALL}") from missing


@dataclass(frozen=True)
class Item:
    """An item to classify: an image file, or several files by role. ``problem`` says why it cannot be classified."""

    path: str
    files: dict[str, str]
    problem: str = ""


# -- The model ----------------------------------------------------------------------------------------
def load_model() -> Callable[[Any], Any]:
    """Load the model as a function from pixels uint8 (side, side, 3) to probabilities (n_classes,)."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return _keras_model()
    if not (HERE / "model.tflite").is_file():
        return _keras_model()
    interpreter = Interpreter(model_path=str(HERE / "model.tflite"), num_threads=4)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def run(pixels: Any) -> Any:
        interpreter.set_tensor(source, pixels[None].astype(np.float32))
        interpreter.invoke()
        return interpreter.get_tensor(target)[0]

    return run


def _keras_model() -> Callable[[Any], Any]:
    """Load the Keras model instead of LiteRT: slower, with the same results up to rounding."""
    if not (HERE / "model.keras").is_file():
        raise SystemExit(
            f"The Python package ai-edge-litert or model.tflite is missing. Install the requirements: {_INSTALL}\n"
            "If there is no such package: install tensorflow, and put the training's model.keras beside this file."
        )
    try:
        import keras
    except ImportError as error:
        message = "Install one of the Python packages ai-edge-litert and tensorflow. Neither is installed."
        raise SystemExit(message) from error
    model = keras.models.load_model(HERE / "model.keras", compile=False)
    return lambda pixels: np.asarray(model.predict_on_batch(pixels[None].astype(np.float32)))[0]


# -- The files ----------------------------------------------------------------------------------------
def items_in(
    folder: Path, endings: list[str], network_input: NetworkInput, template: Template | None
) -> Iterator[Item]:
    """Yield each image file as an item; with ``template``, each group of files as one item."""
    if template is None:
        yield from (Item(file.path, {"image": file.path}, file.problem) for file in walk(folder, endings))
        return
    groups: dict[str, dict[str, str]] = {}
    n_left_out = 0
    for file in walk(folder, endings):
        place = None if file.problem else template.place(file.path)
        if place is None and not file.problem and not template.other_role(file.path):
            yield Item(file.path, {}, template.why_not(file.path))
        elif file.problem:
            yield Item(file.path, {}, file.problem)
        elif place is None or place.role not in network_input.spec.roles:
            n_left_out += 1
        elif place.role in (files := groups.setdefault(place.group, {})):
            problem = f"The item “{place.group}” already has a file for “{place.role}”: {files[place.role]}."
            yield Item(file.path, {}, problem)
        else:
            files[place.role] = file.path
    if n_left_out:
        roles = ", ".join(network_input.spec.roles)
        print(f"Files left out: {n_left_out:,}. Their role is not one of {roles}.", file=sys.stderr)
    yield from (Item(path, groups[path]) for path in sorted(groups))


# -- The answers --------------------------------------------------------------------------------------
def classify(folder: Path, about: dict[str, Any], template: Template | None) -> Iterator[tuple[str, Any, str]]:
    """Yield path, probabilities (n_classes,) or None, and problem of each item below ``folder``."""
    network_input, model = NetworkInput.from_params(about["sees"]), load_model()
    items, items_to_open = tee(items_in(folder, about["extensions"], network_input, template))
    files = ({role: folder / path for role, path in item.files.items()} for item in items_to_open if not item.problem)
    inputs = inputs_of(files, about["image_side"], network_input)
    for item in items:
        if item.problem:
            yield item.path, None, item.problem
            continue
        prepared = next(inputs)
        yield item.path, None if prepared.pixels is None else model(prepared.pixels), prepared.problem


def write(stream: IO[str], names: list[str], predictions: Iterator[tuple[str, Any, str]]) -> tuple[int, int]:
    """Write the table. Return the numbers of items classified and not classified."""
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["path", "predicted", "probability", *(f"p:{name}" for name in names), "problem"])
    counts = [0, 0]
    for path, probabilities, problem in predictions:
        counts[probabilities is None] += 1
        if probabilities is None:
            table.writerow([path, "", "", *("" for _ in names), problem])
            print(f"{path}: {problem}", file=sys.stderr)
            continue
        best = int(probabilities.argmax())
        values = (f"{value:.6g}" for value in (probabilities[best], *probabilities))
        table.writerow([path, names[best], *values, problem])
    return counts[0], counts[1]


def _opened(output: Path | None) -> AbstractContextManager[IO[str]]:
    if output is None:
        return nullcontext(sys.stdout)
    return output.open("w", newline="", encoding="utf-8", errors="backslashreplace")


def main() -> int:
    about = json.loads((HERE / "classes.json").read_text(encoding="utf-8"))
    roles = about["sees"].get("roles", [])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, help="the file to write; standard output if not given")
    parser.add_argument(
        "--extensions", help=f"extensions of the files to read (default: {','.join(about['extensions'])})"
    )
    if roles:
        parser.add_argument(
            "--template", default=about["grouping"], help="template that groups files into items (default: %(default)s)"
        )
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is not a folder.")
    if arguments.extensions:
        endings = (part.strip(" .").lower() for part in arguments.extensions.split(","))
        about["extensions"] = [f".{ending}" for ending in endings if ending]
    try:
        template = Template.read(arguments.template) if roles else None
    except GroupingProblem as problem:
        parser.error(str(problem))
    for stream in (sys.stdout, sys.stderr):  # file names may contain any characters
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    try:
        with _opened(arguments.output) as stream:
            n, n_failed = write(stream, about["classes"], classify(arguments.folder, about, template))
    except OSError as error:
        print(f"{error.filename or 'The table'}: {error.strerror or error}", file=sys.stderr)
        return 1
    if not n and not n_failed:
        extensions = ", ".join(about["extensions"])
        print(f"No file in {arguments.folder} has one of the extensions {extensions}.", file=sys.stderr)
    else:
        remark = f", {n_failed:,} not (see the column “problem”)" if n_failed else ""
        print(f"{n:,} classified{remark}.", file=sys.stderr)
    return 0 if n else 1


if __name__ == "__main__":
    raise SystemExit(main())
