"""A clone that has learned its one recording: the language model takes a few steps on it.

    python -m experiments.cloning --learn 16 --out experiments/results/cloning_learned

A vector and a prompt say who speaks as well as some hundred people could teach it; who is unlike
all of them is missed. Some steps on the recording itself, half of the rows behind what the model
says of its own (`lm.own_past`), bring such a voice in (LOG.md, 2026-11-30). No transcript is
needed: the units are those that the aligner heard. It is the whole language model that learns, so
such a voice is a release of its own, as `experiments.finetune` makes them of many recordings.
"""

from pathlib import Path

import jax
import ml_collections
import numpy as np
from jaxtyping import Int

from experiments import finetune
from lm.task import LMTask
from voiceloom import weights
from voiceloom.prompt import FRAMES, Prompt
from voiceloom.synthesizer import Synthesizer
from voiceloom.voice import Voice, read_reference
from voiceloom.waveform import Waveform

ROWS = 4  # all of them the recording, each with another crop for the voice
UNITS = 192
CROP = 50  # frames of the voice at most, as in training
RATE = 1e-4


class Learner:
    """Speaks as a `Synthesizer` does, in the voice that it was given last, after learning it."""

    def __init__(self, folder: Path | None, steps: int):
        self._loaded = weights.load(folder or weights.DEFAULT)
        self._plain, self._steps = Synthesizer(self._loaded), steps
        self._task = LMTask(_config(folder or weights.DEFAULT, steps))
        self._step = jax.jit(self._task.train_step)
        self._synth = self._plain

    def voice(self, reference: Waveform, accent: str = "us") -> Voice:
        """The voice of a recording, once the model has learned it."""
        voice, self._synth = self._plain.voice(reference, accent), self._plain
        if voice.prompt is not None:  # hardly anything is said there that it could learn
            state = jax.jit(self._task.init)(jax.random.key(0))
            params = self._loaded.lm.params
            state, rng = state._replace(params=params, ema=params), np.random.default_rng(0)
            samples = read_reference(reference, self._plain.sample_rate)
            heard = self._plain.engine.codec.encode(samples[None])[0]
            for _ in range(self._steps):
                state, _ = self._step(state, batch(voice.prompt, heard, rng))
            model = self._loaded.lm._replace(params=state.params)
            self._synth = Synthesizer(self._loaded._replace(lm=model))
        return voice

    def say(self, text: str, voice: Voice, seed: int = 0) -> Waveform:
        """A sentence."""
        return self._synth.say(text, voice, seed=seed)

    def codec_roundtrip(self, samples: np.ndarray) -> Waveform:
        """See `Synthesizer`."""
        return self._plain.codec_roundtrip(samples)


def batch(
    prompt: Prompt, heard: Int[np.ndarray, "T Q"], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Rows of `data.utterances.Row` that all say the prompt, stacked.

    Args:
        prompt: What is said in the recording.
        heard: Its codes, of which each row's voice is another crop.
        rng: Chooses those.
    """
    frames, units, length = len(prompt.codes), len(prompt.symbol), min(len(heard), CROP)
    pad = lambda a, size: np.pad(a, [(0, size - len(a)), *[(0, 0)] * (a.ndim - 1)])  # noqa: E731
    row = {
        name: pad(np.asarray(getattr(prompt, name), np.int32), FRAMES)
        for name in ("codes", "prosody", "advance")
    }
    row |= {name: pad(getattr(prompt, name)[:UNITS], UNITS) for name in ("symbol", "word")}
    row |= {"stress": np.zeros(UNITS, np.int32), "length": np.int32(min(units, UNITS))}
    row |= {"mask": np.arange(FRAMES) < frames, "voice_length": np.int32(length)}
    starts = rng.integers(len(heard) - length + 1, size=ROWS)
    stacked = {name: np.stack([value] * ROWS) for name, value in row.items()}
    return stacked | {"voice": np.stack([heard[at : at + length] for at in starts])}


def _config(folder: Path, steps: int) -> ml_collections.ConfigDict:
    """Of fine-tuning, for one recording: at half its rate, no averages, half of the rows' pasts."""
    config = finetune.config_of(folder, Path(), [], max(steps, 2))
    config.own_past = 0.5
    config.optimizer.update(learning_rate=RATE, warmup=5, decay=0.5)
    return config
