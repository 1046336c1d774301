"""The codec as a product: recordings to codes and back, whole or as they come, one or many at once.

    codec = voiceloom.load_codec()
    codes = codec.encode(samples, books=8)           # [B, S] -> [B, T, Q]
    again = codec.decode(codes)                      # [B, S or a little more], in step with it
    hear, play = codec.encoder(streams=8), codec.decoder(streams=8)
    play.push(hear.push(block)[..., :8])             # eight calls, one dispatch a frame and side

Whole recordings go through in blocks of BLOCK frames, so that memory does not grow with them and
one executable serves every length. Streams go frame by frame, so that any schedule gives the same.

Published codecs may look ahead (DAC, SNAC). Their streams are late on both sides, and end with
frames of nothing, which is a code of -1 or a sample that is not a number:

    hear.push(np.full((8, codec.lag_frames * codec.frame_samples), np.nan))  # the last codes
    play.push(np.full((8, codec.flush_frames, len(codec.sizes)), -1))  # the last samples
"""

import hashlib
import math
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Int, Integer

from codec import pretrained
from codec.bitstream.entropy import EntropyModel
from codec.bitstream.token_file import Header
from voiceloom import hub, weights
from voiceloom.step import Step, use_compilation_cache

BLOCK = 25
"""Frames of a block of a whole recording: two seconds."""

PACKET_FRAMES = 25
"""Frames of a packet of a token file: framing takes 2 % at 1 kbit/s, damage at most two seconds."""

PACKET_BITS = 512
"""At least so many in a packet, or framing would weigh too much: few books have longer ones."""


class SpeechCodec:
    """The compiled steps of a codec, for any number of threads.

    Attributes:
        sample_rate: Of what goes in and comes out, hertz.
        frame_rate: Frames of codes a second.
        frame_samples: Samples P of a frame.
        delay_samples: How much later than its frame a stream's audio comes out.
        lag_frames: How many frames later than its samples a stream's codes come out, which are -1
            until then; 0 unless the codec looks ahead.
        flush_frames: Frames of nothing that bring out the end of a stream's audio; 0 unless the
            codec looks ahead: one that does not hears `delay_samples` more instead.
        first_frames: A stream begins with so many at least.
        memory_frames: A decoder that begins so many frames early says the same from there on.
        sizes: Entries of each book.
        entropy: The model that token files are coded with, or None.
        hash: SHA-256 of its weights.
        codes_hash: Of the codec whose codes it speaks: another's only if its decoder was tuned.
        model_id: Four bytes that say whose codes a token file holds.
    """

    def __init__(self, model: weights.Model, entropy: EntropyModel | None = None):
        cfg = model.config
        self.sample_rate, self.frame_rate = cfg.sample_rate, cfg.frame_rate
        self.frame_samples, self.delay_samples = cfg.frame_samples, cfg.delay_samples
        self.memory_frames, self.sizes, self.entropy = cfg.memory_frames, cfg.sizes, entropy
        self.lag_frames = getattr(cfg, "lag_frames", 0)  # our own codec knows of no such thing
        self.flush_frames = cfg.flush_frames if self.lag_frames else 0
        self.first_frames = cfg.first_frames
        self.hash, self.codes_hash = model.hash, model.codes_hash or model.hash
        identity = self.codes_hash + (entropy.fingerprint if entropy else "")
        self.model_id = hashlib.sha256(identity.encode()).digest()[:4]
        self._codec = nnx.merge(model.graphdef, model.params)
        self._encode = Step(lambda codec, *args: codec.encode(*args), model, donate=1)
        self._decode = Step(lambda codec, *args: codec.decode(*args), model, donate=1)
        self._step_encoder = Step(_step_encoder, model, donate=2)
        self._step_decoder = Step(_step_decoder, model, donate=2)

    def frames(self, samples: int) -> int:
        """Frames that so many samples take, with the last of them heard to its end."""
        if self.lag_frames:
            return self._codec.cfg.frames(samples)
        return -(-(samples + self.delay_samples) // self.frame_samples)

    def books_for(self, kbps: float) -> int:
        """The number of books whose nominal rate is nearest; raises ValueError beyond the most."""
        rates = [self._codec.cfg.nominal_kbps(books + 1) for books in range(len(self.sizes))]
        if not 0 < kbps <= rates[-1] * 1.02:
            raise ValueError(
                f"{kbps:g} kbit/s: this codec goes from {rates[0]:.2f} to {rates[-1]:.2f}"
            )
        return int(np.argmin(np.abs(np.array(rates) - kbps))) + 1

    def encode(
        self, samples: Float[np.ndarray, "B S"], books: int | None = None
    ) -> Int[np.ndarray, "B T Q"]:
        """Codes in the first `books` books (default: all), T = `frames(S)`.

        Rows do not see each other, nor what comes later: of a row that was padded with silence the
        first `frames(length)` frames are those of the row alone, unless the codec looks ahead.

        Raises:
            ValueError: Empty, not finite, or more books than there are.
        """
        sizes = self._sizes(books)
        if not samples.size or not np.isfinite(samples).all():
            raise ValueError("no samples, or some that are not finite numbers: nothing to encode")
        frames, lag, size = self.frames(samples.shape[1]), self.lag_frames, self.frame_samples
        rest = frames * size - samples.shape[1]  # silence; after it, nothing
        whole = np.pad(samples.astype(np.float32), ((0, 0), (0, rest)))
        state, codes = self._codec.init_encoder_state(len(samples)), []
        for block in _blocks(whole, frames + lag, size, np.nan if lag else 0.0):
            found, state = self._encode(block, state)
            codes.append(np.asarray(found)[..., : len(sizes)])
        return np.concatenate(codes, axis=1)[:, lag : lag + frames]

    def decode(self, codes: Integer[np.ndarray, "B T Q"]) -> Float32[np.ndarray, "B S"]:
        """Samples in step with what was encoded: [B, T * P - delay_samples], or from a codec that
        looks ahead [B, T * P]."""
        batch, frames, _ = codes.shape
        late, flush, end = self.delay_samples, self.flush_frames, frames * self.frame_samples
        state, samples = self._codec.init_decoder_state(batch), []
        for block in _blocks(codes.astype(np.int32), frames + flush, 1, -1.0 if flush else 0.0):
            found, state = self._decode(block, state)
            samples.append(np.asarray(found))
        return np.concatenate(samples, axis=1)[:, late : late + end if flush else end]

    def encoder(self, streams: int = 1) -> "CodecStream":
        """Streams that take samples [B, n * P] and give codes [B, n, Q] in all books."""
        state = self._codec.init_encoder_state(streams)
        return CodecStream(self._step_encoder, state, self.frame_samples, self.first_frames)

    def decoder(self, streams: int = 1) -> "CodecStream":
        """Streams that take codes [B, n, Q] and give samples [B, n * P], `delay_samples` late."""
        state = self._codec.init_decoder_state(streams)
        return CodecStream(self._step_decoder, state, 1, self.first_frames)

    def header(self, books: int, packet_frames: int | None = None) -> Header:
        """The header of a token file of `books` books; raises ValueError beyond those there are."""
        sizes = self._sizes(books)
        enough = math.ceil(PACKET_BITS / np.log2(sizes).sum())
        frames = packet_frames or max(PACKET_FRAMES, enough)
        return Header(self.model_id, self.sample_rate, self.frame_samples, frames, sizes)

    def _sizes(self, books: int | None) -> tuple[int, ...]:
        if books is not None and not 1 <= books <= len(self.sizes):
            raise ValueError(f"{books} books: this codec has 1 to {len(self.sizes)}")
        return self.sizes[:books]


class CodecStream:
    """Audio on its way through one half of the codec, B streams in one dispatch a frame."""

    def __init__(self, step: Callable, state: Any, unit: int, first: int = 1):
        self._step, self._unit = step, unit
        self._state, self._fresh = state, jax.tree.map(np.asarray, state)
        self._first, self._begun = first, False  # frames that a stream begins with, at least

    def push(
        self, block: Float[np.ndarray, "B S"] | Integer[np.ndarray, "B T Q"],
        active: Bool[np.ndarray, " B"] | None = None,
    ) -> Float32[np.ndarray, "B S"] | Int[np.ndarray, "B T Q"]:  # fmt: skip
        """What whole frames become.

        Args:
            block: Samples [B, n * P] for an encoder, codes [B, n, Q] for a decoder.
            active: Streams that have something in it; the others stay as they are, and what comes
                out of them means nothing.

        Raises:
            ValueError: Not whole frames, or too few to begin with (EnCodec mirrors its beginning).
        """
        count, rest = divmod(block.shape[1], self._unit)
        if rest or not count:
            raise ValueError(
                f"{block.shape[1]} samples are not whole frames of {self._unit}; keep the rest for "
                "the next push"
            )
        active = np.ones(len(block), bool) if active is None else active
        first = 1 if self._begun else self._first
        if count < first:
            raise ValueError(f"a stream of this codec begins with {first} frames, not {count}")
        self._begun = True
        kind = np.float32 if np.issubdtype(block.dtype, np.floating) else np.int32
        parts = []
        ends = self._unit * np.arange(first, count)
        for piece in np.split(block.astype(kind), ends, axis=1):
            out, self._state = self._step(piece, active, self._state)
            parts.append(np.asarray(out))
        return np.concatenate(parts, axis=1)

    def reset(self, rows: Bool[np.ndarray, " B"]) -> None:
        """Makes the streams of these rows new ones; all of them where they begin with a block."""
        if self._first > 1:
            if not rows.all():
                raise ValueError("streams of this codec begin together")
            self._begun = False
        self._state = _choose(jnp.asarray(rows), self._fresh, self._state)


def load_codec(path: str | os.PathLike | None = None, *, entropy: bool = True) -> SpeechCodec:
    """The codec of a folder of weights, by default the repository's.

    Args:
        path: Folder with codec.safetensors and codec.json; or with config.json and
            model.safetensors, as transformers saves Mimi, EnCodec and DAC, or so saved SNAC; or
            the name of such a model at Hugging Face: "kyutai/mimi".
        entropy: Take up its entropy model, if there is one.

    Raises:
        WeightsError, ImportFailed, HubError: With the cause and the cure.
    """
    use_compilation_cache()
    folder = hub.folder(path or weights.DEFAULT)
    if (folder / "config.json").exists() and not (folder / "codec.json").exists():
        return SpeechCodec(weights.Model(*pretrained.load(folder)))
    model = weights.load_codec(folder)
    return SpeechCodec(model, weights.load_entropy(folder, model) if entropy else None)


def _blocks(array: np.ndarray, frames: int, size: int, fill: float) -> list[np.ndarray]:
    """`array` [B, N, ...] cut along N into blocks for so many frames of `size`, and filled up."""
    count, rest = -(-frames // BLOCK), [(0, 0)] * (array.ndim - 2)
    widths = [(0, 0), (0, count * BLOCK * size - array.shape[1]), *rest]
    return np.split(np.pad(array, widths, constant_values=fill), count, axis=1)


def _choose(rows: Bool[Array, " B"], chosen: Any, others: Any) -> Any:
    """The states of `chosen` in these rows, of `others` elsewhere."""
    pick = lambda a, b: jnp.where(rows.reshape(-1, *[1] * (b.ndim - 1)), a, b)  # noqa: E731
    return jax.tree.map(pick, chosen, others)


def _step_encoder(
    codec: nnx.Module, samples: Float[Array, "B S"], active: Bool[Array, " B"], state
):
    codes, after = codec.encode(samples, state)
    return codes, _choose(active, after, state)


def _step_decoder(codec: nnx.Module, codes: Int[Array, "B T Q"], active: Bool[Array, " B"], state):
    samples, after = codec.decode(codes, state)
    return samples, _choose(active, after, state)
