"""A voice is one small vector, from a name or from a few seconds of somebody's speech.

What a reference recording must be is checked here, with the cause and the cure in every refusal:
readable, finite, not silent, not clipped, at least a second of speech. It is then brought to the
level that the training voices have, so that a quiet microphone does not become a whispering voice.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soxr
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from data import audio
from voiceloom.loudness import TARGET_DB
from voiceloom.prompt import Prompt
from voiceloom.waveform import Waveform

MIN_SPEECH_S = 1.0
MAX_SPEECH_S = 12.0  # more adds nothing that the encoder was trained on
FULL_SCALE = 0.98
CLIPPED = 0.002  # share of samples that lie on a flat top; a clean recording has none


class VoiceError(ValueError):
    """A voice that cannot be used, with the cause and the cure."""


@dataclasses.dataclass(frozen=True, eq=False)
class Voice:
    """Who speaks.

    Attributes:
        name: For people.
        vector: What the language model is conditioned on, `[Dv]`.
        accent: How text is read for it: "us", "gb", or an espeak-ng language code.
        lm_hash: Of the language model that made it: to any other the numbers mean nothing.
        prompt: The recording that it was made of, as the model hears it; None for a vector alone.
    """

    name: str
    vector: Float32[np.ndarray, " Dv"]
    accent: str
    lm_hash: str
    prompt: Prompt | None = None

    def renamed(self, name: str) -> "Voice":
        """The same voice under another name."""
        return dataclasses.replace(self, name=name)

    def save(self, path: str | os.PathLike) -> None:
        """Writes a file of a few kilobytes, `.safetensors`."""
        about = {"name": self.name, "accent": self.accent, "lm_hash": self.lm_hash}
        save_file(self.tensors(), path, about)

    def tensors(self) -> dict[str, np.ndarray]:
        """The numbers of it, as a file holds them; `of_tensors` takes them back."""
        prompt = {} if self.prompt is None else self.prompt._asdict()
        tensors = {"vector": self.vector} | {f"prompt.{n}": a for n, a in prompt.items()}
        return {name: np.ascontiguousarray(a) for name, a in tensors.items()}

    @staticmethod
    def of_tensors(
        name: str, tensors: Mapping[str, np.ndarray], accent: str, lm_hash: str
    ) -> "Voice":
        """The voice of those numbers; raises KeyError where some are missing."""
        there = "prompt.codes" in tensors
        prompt = Prompt(*(tensors[f"prompt.{n}"] for n in Prompt._fields)) if there else None
        return Voice(name, tensors["vector"], accent, lm_hash, prompt)

    @staticmethod
    def mix(name: str, parts: "Mapping[Voice, float]") -> "Voice":
        """Somebody between the voices, each with its share; reads text as the largest share does.

        Raises:
            VoiceError: Fewer than two voices, shares that are not positive, or several models.
        """
        if len(parts) < 2 or min(parts.values()) <= 0:
            raise VoiceError("mix at least two voices, each with a positive share: anna=0.6 bo=0.4")
        if len({voice.lm_hash for voice in parts}) > 1:
            raise VoiceError("the voices are of several language models and cannot be mixed")
        vector = sum(share * voice.vector for voice, share in parts.items())
        vector = vector / np.sqrt(np.mean(vector**2) + 1e-12)
        first = max(parts, key=lambda voice: parts[voice])
        return Voice(name, vector.astype(np.float32), first.accent, first.lm_hash)

    @staticmethod
    def load(path: str | os.PathLike) -> "Voice":
        """The voice that `save` wrote; raises VoiceError if the file is none."""
        try:
            with safe_open(path, "numpy") as file:
                about = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return Voice.of_tensors(about["name"], tensors, about["accent"], about["lm_hash"])
        except FileNotFoundError as error:
            raise VoiceError(f"{path}: no such file; check the path") from error
        except (SafetensorError, OSError, KeyError, TypeError) as error:
            raise VoiceError(
                f"{path}: not a voice file, or a damaged one ({error}); make it again with "
                "synth.voice('reference.wav').save(path)"
            ) from error


def read_reference(
    source: str | os.PathLike | Waveform, sample_rate: int
) -> Float32[np.ndarray, " S"]:
    """Speech of a reference, trimmed, at the level of the training voices.

    Args:
        source: An audio file or a waveform, at any rate.
        sample_rate: Of the result, hertz.

    Raises:
        VoiceError: Unreadable, not finite, silent, clipped, or less than MIN_SPEECH_S of speech.
    """
    if isinstance(source, Waveform):
        name, samples = "reference", source.samples
        if not np.isfinite(samples).all():
            raise VoiceError("reference: NaN or infinite samples; record or export it again")
        if samples.size == 0 or np.abs(samples).max() < audio.SILENCE:
            raise VoiceError("reference: silent, peak below -60 dBFS; record it again, louder")
        rate = source.sample_rate
    else:
        name = Path(source).name
        try:
            samples, rate, _ = audio.load(source, None)
        except audio.AudioError as error:
            raise VoiceError(str(error)) from error
    if (share := flat_tops(samples)) > CLIPPED:
        raise VoiceError(
            f"{name}: clipped, {share:.1%} of it lies on flat tops; record it again with less gain"
        )
    if rate != sample_rate:
        samples = soxr.resample(samples, rate, sample_rate)
    start, stop = audio.trim(samples, sample_rate)
    samples = samples[start : min(stop, start + round(MAX_SPEECH_S * sample_rate))]

    block = round(0.01 * sample_rate)
    power = np.mean(samples[: len(samples) // block * block].reshape(-1, block) ** 2, axis=1)
    active = power > 0.001 * np.percentile(power, 95) if len(power) else np.zeros(0, bool)
    if active.sum() * 0.01 < MIN_SPEECH_S:
        raise VoiceError(
            f"{name}: {active.sum() * 0.01:.1f} s of speech, and a voice needs at least "
            f"{MIN_SPEECH_S:.0f} s; take a longer recording, best 5 to 10 s without music or noise"
        )
    gain = np.sqrt(10 ** (TARGET_DB / 10) / np.mean(power[active]))
    return samples * np.float32(min(gain, FULL_SCALE / np.abs(samples).max()))


def flat_tops(samples: Float32[np.ndarray, " S"]) -> float:
    """The share of samples in runs of four and more at the highest or the lowest value."""
    top = np.abs(samples) >= 0.9995 * np.abs(samples).max()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], top, [False]])))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= 4].sum() / max(len(samples), 1))
