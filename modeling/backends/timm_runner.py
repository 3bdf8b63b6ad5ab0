"""Describe and run models of timm, in the process for model files. Only here timm and PyTorch are imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeling.backends.encoder import EncoderUnavailable, one_line


@dataclass(frozen=True)
class TimmModel:
    """Hold what timm says about a model: license, input (side in pixels, resizing and scaling), and its hub."""

    name: str
    license: str
    side: int
    dim: int
    mean: list[float]
    std: list[float]
    crop: float
    crop_mode: str
    interpolation: str
    hub: str


class TimmRunner:
    """Represent a model that is ready to run."""

    def __init__(self, name: str, file: Path) -> None:
        """Open a model with the weights in a file. Raises EncoderUnavailable if they are not those of the model."""
        import timm
        import torch

        try:
            # Files of PyTorch are read with weights_only, so they cannot contain code.
            model = timm.create_model(
                name, pretrained=True, pretrained_cfg_overlay={"file": str(file), "custom_load": False}, num_classes=0
            )
        except Exception as error:
            raise EncoderUnavailable(
                f"{file.name} does not hold the weights of {name} ({one_line(error)})",
                "Check that it is a .safetensors or PyTorch file of the same model.",
            ) from error
        self._model = model.eval()
        config = timm.data.resolve_model_data_config(model)
        self._mean, self._std = (torch.tensor(config[key]).reshape(3, 1, 1) for key in ("mean", "std"))
        self.side = int(config["input_size"][-1])
        self.dim = int(self.run(np.zeros((1, self.side, self.side, 3), np.uint8)).shape[1])

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features float32 (n, dim) of pixels uint8 (n, side, side, 3)."""
        import torch

        with torch.inference_mode():
            images = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 255
            features = self._model((images - self._mean) / self._std)
        found: NDArray[np.float32] = features.flatten(1).numpy().astype(np.float32)
        return found


def describe(name: str) -> TimmModel:
    """Return what timm says about a model. Raises EncoderUnavailable if it has none of that name."""
    import timm
    import torch

    try:
        with torch.device("meta"):  # no memory for weights
            model = timm.create_model(name, pretrained=False, num_classes=0)
    except Exception as error:
        raise EncoderUnavailable(f"timm has no model {name} ({one_line(error)})", "See timm.list_models().") from error
    facts: dict[str, Any] = model.pretrained_cfg
    config = timm.data.resolve_model_data_config(model)
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise EncoderUnavailable(f"{name} takes images of {channels} × {height} × {width}", "Only square RGB images.")
    return TimmModel(
        name,
        str(facts.get("license") or ""),
        int(width),
        int(getattr(model, "head_hidden_size", model.num_features)),
        list(config["mean"]),
        list(config["std"]),
        float(config["crop_pct"]),
        str(config["crop_mode"]),
        str(config["interpolation"]),
        str(facts.get("hf_hub_id") or ""),
    )
