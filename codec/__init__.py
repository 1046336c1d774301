"""Waveform <-> codes. Knows no text; meets the language model only in integers [B, T, Q]."""

from codec.config import Config
from codec.model import Codec

__all__ = ["Codec", "Config"]
