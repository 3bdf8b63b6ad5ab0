"""Provide the encoders. The only package that imports TensorFlow, and only when an encoder needs it."""

from modeling.backends.encoder import Encoder, EncoderUnavailable
from modeling.backends.registry import (
    AUTO,
    AUTO_WITH_OLD_FALLBACK,
    BACKENDS,
    OLD_FALLBACK,
    Line,
    choose_encoder,
    is_backend,
    likely,
    survey,
)

__all__ = [
    "AUTO",
    "AUTO_WITH_OLD_FALLBACK",
    "BACKENDS",
    "OLD_FALLBACK",
    "Encoder",
    "EncoderUnavailable",
    "Line",
    "choose_encoder",
    "is_backend",
    "likely",
    "survey",
]
