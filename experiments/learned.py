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

from data.utterances import Rows, Utterance
from experiments import finetune
from lm.task import LMTask
from voiceloom import weights
from voiceloom.prompt import FRAMES, Prompt
from voiceloom.step import use_compilation_cache
from voiceloom.synthesizer import Synthesizer
from voiceloom.voice import Voice, read_reference
from voiceloom.waveform import Waveform

ROWS = 4  # all of them the recording, each with another crop for the voice
UNITS = 192  # of a row, padding included; a longer prompt has a longer one
CROP = 50  # frames of the voice at most, as in training
RATE = 1e-4


class Learner:
    """Speaks as a `Synthesizer` does, in the voice that it was given last, after learning it."""

    def __init__(self, folder: Path | None, steps: int):
        use_compilation_cache()
        folder = folder or weights.DEFAULT
        self._loaded, self._steps = weights.load(folder), steps
        self._synth = self._plain = Synthesizer(self._loaded)
        task, params = LMTask(_config(folder, steps)), self._loaded.lm.params
        self._step = jax.jit(task.train_step)
        self._begin = jax.jit(task.init)(jax.random.key(0))._replace(params=params, ema=params)

    def voice(self, reference: Waveform, accent: str = "us") -> Voice:
        """The voice of a recording, once the model has learned it."""
        voice, self._synth = self._plain.voice(reference, accent), self._plain
        if voice.prompt is not None:  # hardly anything is said there that it could learn
            state, rng = self._begin, np.random.default_rng(0)
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
    """Rows of `data.utterances` that all say the prompt, stacked.

    Args:
        prompt: What is said in the recording.
        heard: Its codes, of which each row's voice is another crop.
        rng: Chooses those.
    """
    said = Utterance(
        prompt.codes, prompt.prosody, prompt.symbol, np.zeros_like(prompt.symbol), prompt.word,
        onset=np.repeat(np.arange(len(prompt.codes)), prompt.advance), speaker="", clip=0,
    )  # fmt: skip
    units, limit = max(UNITS, len(prompt.symbol)), int(prompt.advance.max())
    rows = Rows([said], frames=FRAMES, units=units, limit=limit, voice_frames=(CROP, CROP))
    stacked = {name: np.stack([value] * ROWS) for name, value in rows[0].items()}
    length = min(len(heard), CROP)
    starts = rng.integers(len(heard) - length + 1, size=ROWS)
    return stacked | {
        "voice": np.stack([heard[at : at + length] for at in starts]),
        "voice_length": np.full(ROWS, length, np.int32),
    }


def _config(folder: Path, steps: int) -> ml_collections.ConfigDict:
    """That of fine-tuning, at half its rate and with half of the rows behind their own past."""
    config = finetune.config_of(folder, Path(), [], steps)
    config.own_past = 0.5
    config.optimizer.update(learning_rate=RATE, warmup=5, decay=0.5)
    return config
