"""The compiled steps of a pair of models: text and voices in, codes, samples out.

Two of them do all the work, and both loop over a *traced* number of frames inside one executable:
the language model writes up to MAX_FRAMES frames of codes, the codec decodes them one by one. So a
stream is bit for bit the same at any chunk size, and nothing compiles while somebody listens.
(Measured on two cores: decoding frame by frame costs 0.9 ms a frame, in one block of eight 0.8 ms;
`jit` around a block of its own size would be another executable and other last bits.) States are
explicit and donated; `voiceloom.batch` holds them, for one stream or for many.

Text is encoded at a few bucket sizes and padded to the largest, so that the step is one executable
for all of them.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float32, Int, Integer

from codec import Codec
from data.markup import Steer, steer_nothing
from data.phones import Units
from lm import LM, sample
from lm.text import FREE, Text
from lm.text import Steer as TextSteer
from voiceloom import loudness
from voiceloom.loudness import LoudnessState
from voiceloom.prompt import FRAMES
from voiceloom.speech_codec import SpeechCodec
from voiceloom.step import Step
from voiceloom.voice import Voice
from voiceloom.weights import Model, Weights

MAX_FRAMES = 8
"""Frames in one dispatch at most: 0.64 s at 12.5 Hz."""

BUCKETS = (64, 192, 512)
"""Units of text in one segment: short, nearly every, and any sentence; 64 are about 4 s."""

CROP_S = 4.0
"""Longest stretch of a reference that the voice encoder hears at once: as in training."""

MEMORIES = 64
"""Of cloned voices, 1.8 MB each."""

RESERVE = 0.5
"""Part of the lead that the making of one chunk may use up."""


class Engine:
    """The compiled steps of one pair of models, shared by all streams and threads."""

    looks_ahead = True  # it can speak words while their sentence is being written

    def __init__(self, weights: Weights):
        codec, lm = weights.codec, weights.lm
        self._sound_by(codec)
        self.books, self.voice_width = lm.config.books, lm.config.voice_width
        self.voices = weights.voices
        self.steerable = lm.config.pitches > 0
        self.longest = BUCKETS[-1]  # units in one segment
        self.advance = lm.config.advance
        self.init = Step(_init, lm, codec)
        self.restart = Step(_restart, lm, codec, donate=2)
        self.encode_text = Step(_encode_text, lm)
        self.load = Step(_load, donate=3)
        self.generate = Step(_generate, lm, donate=5)
        self._encode_voice = Step(_encode_voice, lm)
        self._remember = Step(sample.remember, lm)
        self.recall = Step(sample.recall, donate=2)
        self._memories: dict[bytes, sample.Memory] = {}

    def _sound_by(self, codec: Model) -> None:
        """The codec's step, and what its frames are."""
        self.codec = SpeechCodec(codec)
        self.sample_rate, self.frame_samples = codec.config.sample_rate, codec.config.frame_samples
        self.delay_samples = codec.config.delay_samples
        self.frame_s = self.frame_samples / self.sample_rate
        self.decode_frames = Step(decode, codec, donate=4)
        self.move, self.move_text = Step(_move), Step(_move)

    @property
    def compile_s(self) -> float:
        """Seconds spent compiling so far, or fetching what an earlier process compiled."""
        steps = jax.tree.leaves(list(vars(self).values()))
        return sum(step.compile_s for step in steps if isinstance(step, Step))

    def sampling(self, rows: int) -> sample.Sampling:
        """The settings of so many rows, before anybody has asked for others."""
        return jax.tree.map(np.array, sample.Sampling.default(rows))

    def settings(
        self,
        temperature: float | None = None,
        rate: float = 1.0,
        pitch: float = 0.0,
        pitch_range: float = 1.0,
        lookahead: int | None = None,
    ) -> sample.Sampling:
        """A row's settings: see `Batch.open`; raises ValueError where the model has none such."""
        if not self.steerable and (pitch, pitch_range) != (0.0, 1.0):
            raise ValueError("these weights have no prosody stream: pitch cannot be asked for")
        default = jax.tree.map(lambda a: a[0], self.sampling(1))
        hotter = 1.0 if temperature is None else temperature / default.temperature
        return default._replace(
            temperature=hotter * default.temperature,
            depth_temperature=hotter * default.depth_temperature,
            prosody_temperature=hotter * default.prosody_temperature,
            rate=rate,
            pitch=pitch,
            pitch_range=pitch_range,
        )

    def read(
        self,
        units: Units,
        steer: Steer | None,
        text: str,
        voice: Float32[np.ndarray, " Dv"],
        lookahead: int | None,
        complete: bool,
    ) -> Text:
        """What `load` puts into a row for these units: see `Slot.extend`."""
        count = len(units.symbol)
        bucket = next((b for b in BUCKETS if b >= count), None)
        if bucket is None:
            raise ValueError(f"{count} units in one segment, at most {BUCKETS[-1]}: split it")
        pad = lambda a: np.pad(a, (0, bucket - count))[None]  # noqa: E731
        steer = steer_nothing(count) if steer is None else steer
        return self.encode_text(
            *(pad(a) for a in units[:3]),
            np.array([count], np.int32),
            np.array([bucket if lookahead is None else lookahead], np.int32),
            np.array([complete]),
            TextSteer(
                hold=pad(np.ceil(steer.hold_s / self.frame_s).astype(np.int32)),
                stretch=pad(steer.stretch),
                lift=pad(steer.lift),
                level=pad(steer.level),
                least=pad(np.maximum(steer.least + FREE, 0).astype(np.float32)),
            ),
        )

    def blank(self, one: Text, rows: int) -> Text:
        """Texts of rows that have none."""
        return jax.tree.map(lambda a: np.zeros((rows, *a.shape[1:]), a.dtype), one)

    def level(
        self, samples: Float32[np.ndarray, "B S"], state: LoudnessState
    ) -> tuple[Float32[np.ndarray, "B S"], LoudnessState]:
        """What the listener gets of whole frames: see `voiceloom.loudness`."""
        return loudness.level(samples, self.sample_rate, state)

    def encode_voice(self, codes: Integer[np.ndarray, "T Q"]) -> Float32[np.ndarray, " Dv"]:
        """The voice vector of an utterance: the mean over crops as long as those of training.

        A second apart, so that all of it is heard, and a pause in one of them is in others less:
        of 69 people at home 97 % of the clips were nearest to their own other one with crops side
        by side, 99 % with these; of the six of the crowd 92 and 100.
        """
        longest = int(CROP_S / self.frame_s)
        last = max(0, len(codes) - longest)
        vectors = []
        for start in np.linspace(0, last, 1 + math.ceil(last * self.frame_s)).astype(int):
            crop = codes[start : start + longest]
            padded = np.zeros((1, longest, codes.shape[1]), np.int32)
            padded[0, : len(crop)] = crop
            length = np.array([len(crop)], np.int32)
            vectors.append(np.asarray(self._encode_voice(padded, length))[0])
        return mean_voice(vectors)

    def memory(self, voice: Voice) -> sample.Memory | None:
        """What a stream in this voice has heard before it begins; None for a vector alone.

        Made once and kept, for the `MEMORIES` voices that were asked for last.
        """
        prompt = voice.prompt
        if prompt is None:
            return None
        key = voice.vector.tobytes() + prompt.codes.tobytes()
        found = self._memories.pop(key, None)
        if found is None:
            count, frames = len(prompt.symbol), len(prompt.codes)
            nothing = np.zeros((count, 2), np.int32)
            units = Units(prompt.symbol, np.zeros(count, np.int32), prompt.word, nothing)
            pad = lambda a: np.pad(a, [(0, FRAMES - frames), *[(0, 0)] * (a.ndim - 1)])[None]  # noqa: E731
            found = self._remember(
                self.read(units, None, "", voice.vector, None, complete=True),
                voice.vector[None],
                *map(pad, (prompt.advance, prompt.codes, prompt.prosody)),
                np.array([frames], np.int32),
            )
        self._memories[key] = found
        if len(self._memories) > MEMORIES:
            self._memories.pop(next(iter(self._memories)), None)
        return found


def mean_voice(vectors: Sequence[Float32[np.ndarray, " Dv"]]) -> Float32[np.ndarray, " Dv"]:
    """The mean of voice vectors, with a root mean square of one as each of them has."""
    vector = np.mean(vectors, axis=0)
    return (vector / np.sqrt(np.mean(vector**2) + 1e-12)).astype(np.float32)


def next_size(previous: int, lead_s: float, frame_cost_s: float) -> int:
    """Frames of the next chunk: as many as the lead pays for, at most twice the `previous`.

    Args:
        previous: Frames of the chunk before.
        lead_s: Audio given out, minus time since the first of it.
        frame_cost_s: The dearest frame so far.
    """
    size = 1
    while 2 * size <= min(2 * previous, MAX_FRAMES) and (
        2 * size * frame_cost_s <= RESERVE * lead_s
    ):
        size *= 2
    return size


class States(NamedTuple):
    """What one stream keeps on the device."""

    lm: sample.SamplerState
    decoder: Any  # the codec's DecoderState


def _init(lm: LM, codec: Codec, seed: Int[Array, " B"]) -> States:
    batch = seed.shape[0]
    return States(sample.init_state(lm, batch, seed), codec.init_decoder_state(batch))


def _encode_text(lm: LM, *units: Array | TextSteer) -> Text:
    """The encoded text, padded to the largest bucket."""
    text = sample.encode_text(lm, *units[:-2], complete=units[-2], steer=units[-1])
    count = text.context.shape[1]

    def pad(a):
        rest = [(0, 0)] * (a.ndim - 2)
        return jnp.pad(a, [(0, 0), (0, BUCKETS[-1] + 2 - count), *rest]) if a.ndim > 1 else a

    return jax.tree.map(pad, text)


def _restart(lm: LM, codec: Codec, rows: Bool[Array, " B"], seed: Int[Array, " B"], kept: tuple):
    """States with new streams in `rows`."""
    state, decoder = kept
    fresh = codec.init_decoder_state(rows.shape[0])
    return sample.restart(state, rows, seed), jax.tree.map(partial(where, rows), fresh, decoder)


def _load(rows: Bool[Array, " B"], fresh: Bool[Array, ""], one: Text, kept: tuple):
    """Texts with `one` in the row of `rows`; where it is `fresh` the row's pointer begins anew."""
    text, state = kept
    text = sample.put(rows, one, text)
    begin = lambda a: jnp.where(rows & fresh, jnp.zeros_like(a), a)  # noqa: E731
    pointers = {name: begin(getattr(state, name)) for name in ("pointer", "dwell", "tail", "done")}
    return text, state._replace(**pointers)


def _move(rows: Bool[Array, "N B"], kept: Any) -> Any:
    """N rows, each the one of B that it names; one that names none holds nothing of use."""
    return jax.tree.map(lambda a: a[jnp.argmax(rows, axis=1)], kept)


def where(rows: Bool[Array, " B"], new: Array, old: Array) -> Array:
    """`new` in these rows, `old` elsewhere; of one leaf of a state."""
    return jnp.where(rows.reshape(-1, *[1] * (old.ndim - 1)), new, old)


def _generate(lm: LM, active, text, voice, sampling, frames, state):
    return sample.generate(lm, text, voice, sampling, state, frames, MAX_FRAMES, active)


def decode(
    codec: nnx.Module,
    codes: Int[Array, "B T Q"],
    said: Int[Array, "T B N"] | None,
    valid: Bool[Array, "B T"],
    frames: Int[Array, ""],
    state: Any,
):
    """Samples [B, T * P] of the first `frames` frames, and the state after those that are valid.

    A codec hears what the frames say where the language model knows it (not None).
    """
    size = codec.cfg.frame_samples
    now = jax.lax.dynamic_index_in_dim

    def body(i, carry):
        samples, state = carry
        told = () if said is None else (now(said, i, keepdims=False)[:, None],)
        block, new = codec.decode(now(codes, i, axis=1), state, *told)
        there = now(valid, i, axis=1, keepdims=False)
        state = jax.tree.map(partial(where, there), new, state)
        return jax.lax.dynamic_update_slice_in_dim(samples, block, i * size, axis=1), state

    samples = jnp.zeros((codes.shape[0], codes.shape[1] * size))
    return jax.lax.fori_loop(0, frames, body, (samples, state))


def _encode_voice(lm: LM, codes: Int[Array, "B T Q"], length: Int[Array, " B"]):
    return sample.encode_voice(lm, codes, length)
