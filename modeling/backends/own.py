"""A person's own model files as encoders, named ``file:<file name>``, such as ``file:birds.onnx``.

Any image model in a file ``.tflite``, ``.onnx``, ``.keras`` or ``.h5`` (a whole model, not weights alone) that lies in
AL_WEIGHTS_DIR or in :func:`own_folder`. Size, layout (height, width, channels or channels first), number type and
quantisation of its input are read from the file. Of its outputs the first is taken; where that is a feature map it is
averaged over the image, otherwise flattened.

What a file cannot tell is what pixels have to be turned into. It is guessed (:func:`guess`), and can be said in a
JSON file of the same name beside it (``birds.json`` or ``birds.onnx.json``)::

    {"preprocessing": "0..255", "name": "Birds, quick training 3", "side": 224}

``preprocessing`` is one of ``0..255`` (as they are), ``0..1``, ``-1..1``, ``imagenet`` (0..1, then less ImageNet's mean
and by its deviation, as torch's models want). ``name`` is what people call it; ``side`` in pixels is asked for only where
the file leaves its input's size open. All three may be left out. The preprocessing may also stand behind the name:
``file:birds.onnx@imagenet``.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = "own"
SUFFIXES = (".keras", ".h5", ".tflite", ".onnx")
PREPROCESSINGS = ("0..255", "0..1", "-1..1", "imagenet")


def own_folder(store_dir: Path) -> Path:
    """Where uploaded and home-made model files lie, beside the frozen networks."""
    return Path(store_dir) / "encoders" / FOLDER
