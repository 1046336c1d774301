"""A voice that the language model has learned: a few steps on its one recording.

    voiceloom voice learn mum recording.wav mum_weights
    voiceloom serve --weights mum_weights

A vector and a prompt say who speaks as well as some hundred people could teach it; who is unlike
all of them is missed. Some steps on the recording itself bring such a voice in, half of the rows
behind what the model says of its own (`lm.own_past`). Three things keep the words (LOG.md,
2026-11-30): only what makes codes learns, so that the times and the melody of one sentence are not
taken for those of all; the weights go half of the way, for at its end the model begins to know the
recording by heart (averaging with where one came from: arXiv 2109.01903); and the units are those
of a text, if there is one, for the aligner hears one phone in several wrong.

It is the whole language model that learns, so the result is a release of its own, with all other
voices still in it, and whatever speaks with a release speaks with it.
"""

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import NamedTuple

import jax
import ml_collections
import numpy as np
from jaxtyping import Float32

from data import prosody
from data.phones import SYMBOL_IDS
from data.text import TextError
from data.utterances import Rows, Utterance, read
from lm import aligner
from lm.aligner import AlignmentError
from lm.aligner_task import pauses
from lm.task import LMTask
from voiceloom import weights
from voiceloom.aligner import MIN_SCORE
from voiceloom.library import check_name
from voiceloom.prompt import FRAMES, LEAST
from voiceloom.step import use_compilation_cache
from voiceloom.synthesizer import Synthesizer
from voiceloom.voice import Voice, VoiceError, read_reference
from voiceloom.waveform import Waveform

# 16 steps: .75 of the way for .80 (six people of VoxForge), and as many words.
STEPS, RATE, ROWS = 32, 1e-4, 4
UNITS = 256  # of a row: one shape, or every recording would be compiled for
CROP = (25, 50)  # frames of a row's voice, 2 to 4 s, as in training
SHARE = 0.5  # of the way from the released weights to the learned ones

# Beside the voice encoder, whose vectors all other voices are: what decides about times and melody.
FROZEN = ("voice", "text", "advance", "advanced", "dwell", "prosody")


class Learned(NamedTuple):
    """What has come of a recording."""

    voice: Voice
    weights: weights.Weights


class Learner:
    """Learns recordings, each by itself, from one release."""

    def __init__(self, loaded: weights.Weights):
        use_compilation_cache()
        self.loaded, self.synth = loaded, Synthesizer(loaded)
        task, params = LMTask(_config(loaded)), loaded.lm.params
        self._step = jax.jit(task.train_step)
        self._begin = jax.jit(task.init)(jax.random.key(0))._replace(params=params, ema=params)

    def __call__(
        self,
        reference: str | os.PathLike | Waveform,
        accent: str = "us",
        text: str | None = None,
    ) -> Learned:
        """The voice of a recording, and the release once its language model has learned it.

        Args:
            reference: As `Synthesizer.voice` takes it.
            accent: How its speaker reads.
            text: What is said in it, to the word; None if nobody knows: then what a recogniser
                hears (of English, where the extra "transcribe" is installed), or the aligner.

        Raises:
            VoiceError: The recording is of no use, or does not say the text.
        """
        voice = self.synth.voice(reference, accent)
        samples = read_reference(reference, self.synth.sample_rate)
        said = None
        if text is None and (heard := self._heard(samples, accent)):
            with contextlib.suppress(VoiceError, TextError):  # misheard
                said = self._said(samples, accent, heard)
        said = said or self._said(samples, accent, text)
        rows = Rows(
            said, frames=FRAMES, units=UNITS, limit=self.synth.engine.advance, voice_frames=CROP
        )
        state = self._begin
        for step in range(STEPS):
            drawn = [rows[step * ROWS + row] for row in range(ROWS)]
            batch = {name: np.stack([row[name] for row in drawn]) for name in drawn[0]}
            state, _ = self._step(state, batch)
        released = self.loaded.lm
        params = jax.tree.map(
            lambda old, new: old + SHARE * (new - old), released.params, state.params
        )
        return Learned(voice, self.loaded._replace(lm=released._replace(params=params)))

    def _heard(self, samples: Float32[np.ndarray, " S"], accent: str) -> str:
        """The text of an English recording; empty where none is heard or nobody listens."""
        if accent not in ("us", "gb"):
            return ""
        try:
            return self.synth.hear(samples)
        except ImportError:
            return ""

    def _said(
        self, samples: Float32[np.ndarray, " S"], accent: str, text: str | None
    ) -> list[Utterance]:
        """A recording as training reads it: what is said in it, and when."""
        engine, log_probs = self.synth.engine, self.synth.phones(samples)
        if text is None:
            heard = aligner.transcribe(log_probs)
            if len(heard.symbol) < LEAST:
                raise VoiceError("reference: hardly anything is said in it; take another recording")
            symbol = np.append(heard.symbol, np.int32(SYMBOL_IDS["."]))
            stress, word = np.zeros_like(symbol), np.append(heard.word, heard.word[-1])
            bounds_s = np.append(heard.bounds_s, len(samples) / self.synth.sample_rate)
        else:
            symbol, stress, word, _ = self.synth.front_end(accent)(text)
            try:
                found = aligner.align(log_probs, symbol, word, pauses(symbol))
            except AlignmentError as error:
                raise VoiceError(f"reference: {error}; give the text that it says") from error
            if found.score < MIN_SCORE:
                raise VoiceError(
                    f"reference: it does not say this text (score {found.score:.1f}, at least "
                    f"{MIN_SCORE} is needed); give the words that it says, or none"
                )
            bounds_s = found.bounds_s
        codes, frame_rate = engine.codec.encode(samples[None])[0], 1 / engine.frame_s
        melody = prosody.measure(
            samples, self.synth.sample_rate, frame_rate, len(codes), prosody.yin
        )
        record = dict(
            codes=codes, frame_rate=frame_rate, symbol=symbol, stress=stress, word=word,
            bounds_s=bounds_s, speaker="", **melody._asdict(),
        )  # fmt: skip
        return read([record], FRAMES)


def learn(
    reference: str | os.PathLike,
    name: str,
    folder: str | os.PathLike,
    accent: str = "us",
    text: str | None = None,
    release: str | os.PathLike | None = None,
) -> Voice:
    """Writes a release whose language model has learned a recording; returns the voice in it.

    Args:
        reference: An audio file, 3 to 10 s of one person.
        name: Of the voice.
        folder: To write; must not be there.
        accent: How the speaker reads: "us", "gb", or an espeak-ng code.
        text: What is said in it, to the word; None if nobody knows: see `Learner`.
        release: Folder to begin from; None for the one in the repository.

    Raises:
        VoiceError: The recording, the name or the folder is of no use.
        WeightsError: The release is not.
    """
    release, folder = Path(release or weights.DEFAULT), Path(folder)
    if folder.exists():
        raise VoiceError(f"{folder}: is there already; delete it or name another folder")
    check_name(name)
    voice, made = Learner(weights.load(release))(reference, accent, text)
    about = f"learned {name} in {STEPS} steps"
    return weights.save_tuned(release, folder, made, voice.renamed(name), about)


def _config(loaded: weights.Weights) -> ml_collections.ConfigDict:
    """What `LMTask` asks for; nothing is learned of advance and melody."""
    return ml_collections.ConfigDict(
        dict(
            model=dataclasses.asdict(loaded.lm.config),
            steps=STEPS,
            ema_decay=0.98,
            weights=dict(advance=0.0, prosody=0.0, depth=2.0),
            noise=0.1,
            own_past=0.5,
            dropout=0.1,
            voice_dropout=0.1,
            depth_share=0.25,
            lookaheads=(0, 1, 2, 4, 10_000),
            evaluation_lookahead=2,
            frozen=FROZEN,
            optimizer=dict(
                learning_rate=RATE, warmup=5, decay=0.5, final=0.05, b2=0.98, weight_decay=0.05,
                clip=1.0,
            ),
        )
    )  # fmt: skip
