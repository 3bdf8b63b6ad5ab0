"""Encoders: the only place that imports TensorFlow, and only once an encoder is made."""

from modeling.backends.choose import BACKENDS, choose_encoder, likely, survey
from modeling.backends.encoder import Encoder, EncoderUnavailable

__all__ = ["BACKENDS", "Encoder", "EncoderUnavailable", "choose_encoder", "likely", "survey"]
