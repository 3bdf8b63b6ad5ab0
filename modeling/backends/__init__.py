"""Encoders: the only place that imports TensorFlow, and only once an encoder is made."""

from modeling.backends.choose import BACKENDS, Line, choose_encoder, is_backend, likely, survey
from modeling.backends.encoder import Encoder, EncoderUnavailable

__all__ = [
    "BACKENDS",
    "Encoder",
    "EncoderUnavailable",
    "Line",
    "choose_encoder",
    "is_backend",
    "likely",
    "survey",
]
