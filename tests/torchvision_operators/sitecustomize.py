"""Let torchvision be imported beside a build of PyTorch that cannot load its compiled operators.

timm imports torchvision for its transforms, none of which uses these operators. Python imports this module at the start
of each process with this folder on PYTHONPATH; it acts when torchvision is first imported. Where the compiled operators
load, declaring them a second time would fail, so they are tried first.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

_DECLARED = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_libraries = []


class _Finder(importlib.abc.MetaPathFinder):
    """Declare the operators before torchvision is imported, unless its own file provides them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            _declare()
        return None


def _declare() -> None:
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    compiled = [*Path(spec.origin).parent.glob("_C*.so"), *Path(spec.origin).parent.glob("_C*.pyd")]
    try:
        for file in compiled:
            torch.ops.load_library(str(file))
    except OSError:
        compiled = []
    if not compiled:
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(operator + _DECLARED)
        _libraries.append(library)  # its declarations end with it


sys.meta_path.insert(0, _Finder())
