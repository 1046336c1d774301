"""Streaming generation: units in, samples out, a few frames at a time.

Two compiled steps do all the work, and both loop over a *traced* number of frames inside one
executable: the language model writes up to MAX_FRAMES frames of codes, the codec decodes them one
by one. So a stream is bit for bit the same at any chunk size, and nothing compiles while somebody
listens. (Measured on two cores: decoding frame by frame costs 0.9 ms a frame, in one block of
eight 0.8 ms; `jit` around a block of its own size would be another executable and other last bits.)
States are explicit and donated; a `Stream` holds them and dies with them.

Text is encoded at a few bucket sizes and padded to the largest, so that the step is one executable
for all of them. Today an engine's step serves one slot and a `Stream` is called by whoever listens;
nothing in the interface of `Stream` says so, which leaves room for many slots in one dispatch.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int, Integer

from codec import Codec
from data.markup import Steer, steer_nothing
from data.phones import Units
from lm import LM, sample
from lm.text import Steer as TextSteer
from lm.text import Text
from voiceloom import loudness
from voiceloom.speech_codec import SpeechCodec
from voiceloom.step import Step
from voiceloom.weights import Weights

MAX_FRAMES = 8
"""Frames in one dispatch at most: 0.64 s at 12.5 Hz."""

BUCKETS = (64, 192, 512)
"""Units of text in one segment: short, nearly every, and any sentence; 64 are about 4 s."""

CROP_S = 4.0
"""Longest stretch of a reference that the voice encoder hears at once: as in training."""

RESERVE = 0.5
"""Part of the lead that the making of one chunk may use up."""


class Block(NamedTuple):
    """What one dispatch gave, T frames of it; fewer than asked for where the text ended or has
    not arrived."""

    samples: Float32[np.ndarray, " S"]
    codes: Int[np.ndarray, "T Q"]
    pointer: Int[np.ndarray, " T"]  # unit being spoken at the end of each frame; -1 before all
    done: bool  # all units are spoken
    lm_s: float
    decode_s: float


class Engine:
    """The compiled steps of one pair of models, shared by all streams and threads."""

    def __init__(self, weights: Weights):
        codec, lm = weights.codec, weights.lm
        self.books, self.voice_width = lm.config.books, lm.config.voice_width
        self.codec = SpeechCodec(codec)
        self.sample_rate, self.frame_samples = codec.config.sample_rate, codec.config.frame_samples
        self.delay_samples = codec.config.delay_samples
        self.frame_s = self.frame_samples / self.sample_rate
        self.steerable = lm.config.pitches > 0
        self.init = Step(_init, lm, codec)
        self.encode_text = Step(_encode_text, lm)
        self.generate = Step(_generate, lm, donate=4)
        self.decode_frames = Step(_decode, codec, donate=2)
        self._encode_voice = Step(_encode_voice, lm)

    @property
    def compile_s(self) -> float:
        """Seconds spent compiling so far, or fetching what an earlier process compiled."""
        return sum(step.compile_s for step in vars(self).values() if isinstance(step, Step))

    def warm(self) -> None:
        """Compiles every step that speaking needs; else each compiles when it is first called."""
        stream = self.open(np.zeros(self.voice_width, np.float32), seed=0)
        for count in BUCKETS:
            stream.begin(Units(*(np.ones((count, *rest), np.int32) for rest in _UNIT_SHAPES)))
        stream.frames(1)

    def open(
        self,
        voice: Float32[np.ndarray, " Dv"],
        seed: int,
        temperature: float | None = None,
        rate: float = 1.0,
        pitch: float = 0.0,
        pitch_range: float = 1.0,
    ) -> "Stream":
        """A stream that has said nothing yet.

        Args:
            voice: The voice vector.
            seed: Of everything random in the stream.
            temperature: Of the first book and the durations, the other books in proportion; None
                for the sampler's own.
            rate: Speaking rate, a factor.
            pitch: Semitones above the voice's own.
            pitch_range: Factor on the rise and fall of the melody.

        Raises:
            ValueError: Pitch is asked of a model that has no prosody stream.
        """
        if not self.steerable and (pitch, pitch_range) != (0.0, 1.0):
            raise ValueError("these weights have no prosody stream: pitch cannot be asked for")
        sampling = sample.Sampling.default(1)
        if temperature is not None:
            ratio = temperature / sampling.temperature
            sampling = sampling._replace(
                temperature=ratio * sampling.temperature,
                depth_temperature=ratio * sampling.depth_temperature,
            )
        sampling = sampling._replace(
            rate=rate * sampling.rate,
            pitch=sampling.pitch + pitch,
            pitch_range=pitch_range * sampling.pitch_range,
        )
        return Stream(self, voice, seed, jax.tree.map(np.asarray, sampling))

    def encode_voice(self, codes: Integer[np.ndarray, "T Q"]) -> Float32[np.ndarray, " Dv"]:
        """The voice vector of an utterance: the mean over crops as long as those of training."""
        longest = int(CROP_S / self.frame_s)
        count = max(1, round(len(codes) / longest))
        vectors = []
        for crop in np.array_split(codes[: count * longest], count):
            padded = np.zeros((1, longest, codes.shape[1]), np.int32)
            padded[0, : len(crop)] = crop
            length = np.array([len(crop)], np.int32)
            vectors.append(np.asarray(self._encode_voice(padded, length))[0])
        return mean_voice(vectors)


def mean_voice(vectors: Sequence[Float32[np.ndarray, " Dv"]]) -> Float32[np.ndarray, " Dv"]:
    """The mean of voice vectors, with a root mean square of one as each of them has."""
    vector = np.mean(vectors, axis=0)
    return (vector / np.sqrt(np.mean(vector**2) + 1e-12)).astype(np.float32)


class Stream:
    """One voice speaking: text segments in, blocks of samples out. Not for two threads at once."""

    def __init__(
        self,
        engine: Engine,
        voice: Float32[np.ndarray, " Dv"],
        seed: int,
        sampling: sample.Sampling,
    ):
        self._engine, self._sampling = engine, sampling
        self._voice = np.asarray(voice, np.float32)[None]
        self._lm, self._decoder = engine.init(np.array([seed % 2**31], np.int32))
        self._loudness = loudness.init_state(1)
        self._text = None
        self._late = engine.delay_samples  # samples to drop: the codec's delay, once

    def begin(
        self,
        units: Units,
        steer: Steer | None = None,
        lookahead: int | None = None,
        complete: bool = True,
    ) -> None:
        """Takes up the next segment in the voice's present state; arguments as `extend`'s."""
        self.extend(units, steer, lookahead, complete)
        # Caches, previous codes and position stay: the next sentence goes on from this one.
        none = np.zeros(1, np.int32)
        self._lm = self._lm._replace(pointer=none, dwell=none, tail=none, done=np.zeros(1, bool))

    def extend(
        self,
        units: Units,
        steer: Steer | None = None,
        lookahead: int | None = None,
        complete: bool = True,
    ) -> None:
        """More of the segment has been written: takes all of it in place of what there was.

        Args:
            units: At most BUCKETS[-1] of them; those spoken already must not have changed.
            steer: How they are to be said.
            lookahead: Words that the model may know of beyond the one it speaks; None for all.
            complete: Whether the segment ends here. If not, speech waits before the last
                `lookahead` words.
        """
        count = len(units.symbol)
        bucket = next((b for b in BUCKETS if b >= count), None)
        if bucket is None:
            raise ValueError(f"{count} units in one segment, at most {BUCKETS[-1]}: split it")
        pad = lambda a: np.pad(a, (0, bucket - count))[None]  # noqa: E731
        steer = steer_nothing(count) if steer is None else steer
        self._text = self._engine.encode_text(
            *(pad(a) for a in units[:3]),
            np.array([count], np.int32),
            np.array([bucket if lookahead is None else lookahead], np.int32),
            np.array([complete]),
            TextSteer(
                hold=pad(np.ceil(steer.hold_s / self._engine.frame_s).astype(np.int32)),
                stretch=pad(steer.stretch),
                lift=pad(steer.lift),
                level=pad(steer.level),
            ),
        )

    def frames(self, count: int) -> Block:
        """Up to `count` frames, at most MAX_FRAMES; fewer where segment or text end."""
        engine, begun = self._engine, time.perf_counter()
        self._lm, out = engine.generate(
            self._text, self._voice, self._sampling, np.int32(count), self._lm
        )
        # Copies: a view would keep the device's buffers alive as long as somebody keeps the codes.
        codes, pointer, valid = (np.array(a)[:, 0] for a in (out.codes, out.pointer, out.valid))
        written = time.perf_counter()
        made = int(valid.sum())
        samples, self._decoder = engine.decode_frames(codes[None], np.int32(made), self._decoder)
        samples = np.asarray(samples)[:, : made * engine.frame_samples]
        samples, self._loudness = loudness.level(samples, engine.sample_rate, self._loudness)
        drop = min(self._late, samples.shape[1])
        self._late -= drop
        return Block(
            samples[0, drop:],
            codes[:made],
            pointer[:made],
            done=bool(np.asarray(self._lm.done)[0]),
            lm_s=written - begun,
            decode_s=time.perf_counter() - written,
        )


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


_UNIT_SHAPES = ((), (), (), (2,))  # of symbol, stress, word and span, behind their axis U


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


def _generate(lm: LM, text, voice, sampling, frames, state):
    return sample.generate(lm, text, voice, sampling, state, frames, MAX_FRAMES)


def _decode(codec: Codec, codes: Int[Array, "B T Q"], frames: Int[Array, ""], state):
    """Samples [B, T * P] of the first `frames` frames, and the state after them."""
    size = codec.cfg.frame_samples

    def body(i, carry):
        samples, state = carry
        block, state = codec.decode(jax.lax.dynamic_slice_in_dim(codes, i, 1, axis=1), state)
        return jax.lax.dynamic_update_slice_in_dim(samples, block, i * size, axis=1), state

    samples = jnp.zeros((codes.shape[0], codes.shape[1] * size))
    return jax.lax.fori_loop(0, frames, body, (samples, state))


def _encode_voice(lm: LM, codes: Int[Array, "B T Q"], length: Int[Array, " B"]):
    return sample.encode_voice(lm, codes, length)
