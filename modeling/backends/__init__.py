"""Provide the encoders. The only package that imports TensorFlow, and only when an encoder needs it."""

from modeling.backends.encoder import Encoder, EncoderUnavailable
from modeling.backends.joined import JoinedEncoder
from modeling.backends.registry import (
    AUTO,
    BACKENDS,
    BUILT_IN,
    OLD_BEST,
    OLD_FALLBACKS,
    OUTDATED,
    WITH_ONE_NETWORK,
    Line,
    auto_with,
    choose_encoder,
    is_backend,
    likely,
    parts_of,
    survey,
)

__all__ = [
    "AUTO",
    "BACKENDS",
    "BUILT_IN",
    "OLD_BEST",
    "OLD_FALLBACKS",
    "OUTDATED",
    "WITH_ONE_NETWORK",
    "Encoder",
    "EncoderUnavailable",
    "JoinedEncoder",
    "Line",
    "auto_with",
    "choose_encoder",
    "is_backend",
    "likely",
    "parts_of",
    "survey",
]
