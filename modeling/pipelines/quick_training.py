"""Quick training: labels and images in, a fine-tuned network with every probability and its files out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hoshina.jobs.runner import Run
from modeling import model_files
from modeling.models import ModelVersion


def quick_train(run: Run) -> dict[str, Any]:
    """The job ``quick_train``; its parameters are those of ``QuickOptions``, or ``{"finish": <job id>}``."""
    raise NotImplementedError


def quick_folder(version: ModelVersion) -> Path:
    """Where a quick training's files lie: the model in several formats, its card, its classes, a program."""
    return model_files.folder_of(version) / "quick"


def make_encoder(version: ModelVersion) -> str:
    """The network of a quick training as an encoder; the name to choose it by (``file:<file name>``)."""
    raise NotImplementedError
