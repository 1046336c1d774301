"""Voiceloom, the assembled product: text in, a voice out, while it is still being written.

    synth = voiceloom.load()                              # the weights of this repository
    synth.voices                                          # names
    speech = synth.say("Good evening.", voice="af_heart") # .samples, .sample_rate, .save(path)
    for chunk in synth.stream(text, voice=synth.voice("reference.wav")):
        play(chunk.samples)
    codec = voiceloom.load_codec()                        # .encode, .decode, and their streams

The names below are what a user needs; jax is imported when the first of them that needs it is.
"""

import importlib
from typing import TYPE_CHECKING

from voiceloom.waveform import Chunk, Waveform

if TYPE_CHECKING:
    from data.text import TextError
    from voiceloom.hub import HubError
    from voiceloom.speech_codec import SpeechCodec, load_codec
    from voiceloom.synthesizer import Speech, Synthesizer, load
    from voiceloom.voice import Voice, VoiceError
    from voiceloom.weights import WeightsError

_HOME = {
    "HubError": "voiceloom.hub",
    "load": "voiceloom.synthesizer",
    "load_codec": "voiceloom.speech_codec",
    "SpeechCodec": "voiceloom.speech_codec",
    "Synthesizer": "voiceloom.synthesizer",
    "Speech": "voiceloom.synthesizer",
    "Voice": "voiceloom.voice",
    "VoiceError": "voiceloom.voice",
    "WeightsError": "voiceloom.weights",
    "TextError": "data.text",
}

__all__ = [
    "Chunk",
    "HubError",
    "Speech",
    "SpeechCodec",
    "Synthesizer",
    "TextError",
    "Voice",
    "VoiceError",
    "Waveform",
    "WeightsError",
    "load",
    "load_codec",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'voiceloom' has no attribute {name!r}; it has {__all__}")
    return getattr(importlib.import_module(_HOME[name]), name)
