"""Classify a folder of images with the model beside this file.

    python classify.py FOLDER [--output predictions.csv]

Needs numpy and Pillow, and one of ai-edge-litert (small and quick) and tensorflow. Writes a line for each image:
its path, the likeliest class, its probability, and the probability of each class, calibrated as in the program that
made the model.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
ENDINGS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"}
GREY = (128, 128, 128)


def pixels_of(file: Path, side: int) -> Any:
    """An image as the model saw those that it learnt from: float32 (1, side, side, 3) of 0 ... 255.

    Upright, transparent parts over grey, squashed to a square in the same steps.
    """
    with Image.open(file) as source:
        source.draft("RGB", (2 * side, 2 * side))
        image = ImageOps.exif_transpose(source)
        if image.has_transparency_data:
            layer = image.convert("RGBA")
            image = Image.new("RGB", layer.size, GREY)
            image.paste(layer, mask=layer.getchannel("A"))
        image = image.convert("RGB")
    image.thumbnail((2 * side, 2 * side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    image = image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(image, dtype=np.float32)[None]


def load_model() -> Callable[[Any], Any]:
    """The model as a function from pixels to probabilities (n_classes,): model.tflite, else model.keras."""
    interpreter = _interpreter()
    if interpreter is None:
        import keras

        model = keras.models.load_model(HERE / "model.keras", compile=False)
        return lambda pixels: np.asarray(model.predict_on_batch(pixels))[0]
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def run(pixels: Any) -> Any:
        interpreter.set_tensor(source, pixels)
        interpreter.invoke()
        return interpreter.get_tensor(target)[0]

    return run


def _interpreter() -> Any:
    """LiteRT with model.tflite, from whichever package is there; None for Keras."""
    if not (HERE / "model.tflite").is_file():
        return None
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return None
    return Interpreter(model_path=str(HERE / "model.tflite"), num_threads=4)


def classified(folder: Path) -> Iterator[tuple[str, Any]]:
    """The path below ``folder`` and the probabilities of each image that can be read."""
    side = json.loads((HERE / "classes.json").read_text(encoding="utf-8"))["image_side"]
    model = load_model()
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() not in ENDINGS or not file.is_file():
            continue
        try:
            pixels = pixels_of(file, side)
        except (OSError, ValueError, SyntaxError) as error:
            print(f"{file}: {error}", file=sys.stderr)
            continue
        yield file.relative_to(folder).as_posix(), model(pixels)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, help="the file to write; standard output if not given")
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is not a folder.")
    names = json.loads((HERE / "classes.json").read_text(encoding="utf-8"))["classes"]
    stream = arguments.output.open("w", newline="", encoding="utf-8") if arguments.output else sys.stdout
    try:
        table = csv.writer(stream)
        table.writerow(["path", "predicted", "probability", *(f"p:{name}" for name in names)])
        for path, probabilities in classified(arguments.folder):
            best = int(probabilities.argmax())
            table.writerow([path, names[best], *(f"{one:.6f}" for one in (probabilities[best], *probabilities))])
    finally:
        if arguments.output:
            stream.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
