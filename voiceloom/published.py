"""Other people's speech LMs in the engine: the same rows, chunks, scheduler, server and page.

`Engine` does what `voiceloom.engine.Engine` does with a model that reads the text itself and tells
nobody where in it it is: CSM with its Mimi, Orpheus with SNAC. Where in the text speech has come to
is guessed from how long its sounds usually are, and is right again at the end of every sentence.

A sentence is a prompt. CSM goes on from what it has said before, like a conversation, as long as
there is room in the cache; Orpheus was trained on single sentences and begins each anew.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float32, Int, Integer

from codec import pretrained as codecs
from data.markup import Steer
from data.phones import Units, boundary_class
from data.published import ImportFailed
from lm import pretrained
from lm.pretrained import Sampling, SpeechLM, State
from lm.sample import put
from voiceloom import engine, hub
from voiceloom.engine import BUCKETS, MAX_FRAMES, where
from voiceloom.loudness import LoudnessState
from voiceloom.step import Step
from voiceloom.voice import Voice, VoiceError
from voiceloom.weights import Model

CAPACITY = 2048
"""Places in a row's cache: all that CSM knows, 25 s of Orpheus."""

PHONE_S, PAUSE_S = 0.075, 0.25
"""What a sound and a pause last, about: for the guess of where in the text speech is."""

PATIENCE = 3.0
"""A sentence that takes so many times what was guessed, and two seconds, is babble: it is cut."""


class Published(NamedTuple):
    """A speech LM and the codec whose codes it writes."""

    codec: Model
    lm: pretrained.Pretrained


def load(folder: Path, codec: str | os.PathLike | None = None) -> Published:
    """The speech LM of a folder.

    Args:
        folder: As `lm.pretrained.load` takes it.
        codec: Folder or name of its codec; None where the LM's folder has it, as CSM's has.

    Raises:
        ImportFailed, HubError: With the cause and the cure.
    """
    found, lm = Model(*codecs.load(hub.folder(codec or folder))), pretrained.load(folder)
    module = nnx.merge(lm.graphdef, lm.params)
    if found.config.sizes != (module.entries,) * module.books:
        raise ImportFailed(
            f"{folder}: writes {module.books} codes of {module.entries} a frame, and the codec of "
            f"{codec or folder} has {len(found.config.sizes)}: give the codec that it belongs to"
        )
    return Published(found, lm)


class Said(NamedTuple):
    """The sentences of B rows."""

    units: Int[Array, " B"]  # sounds and pauses of it
    expected: Int[Array, " B"]  # frames that it will take, about
    limit: Int[Array, " B"]  # frames that it may take


class Prompt(NamedTuple):
    """A sentence for one row."""

    said: Said
    tokens: Int[np.ndarray, "1 N ..."]
    length: Int[np.ndarray, " 1"]


class Rows(NamedTuple):
    """Where B rows stand."""

    lm: State
    frames: Int[Array, " B"]  # of the sentence
    flush: Int[Array, " B"]  # frames of nothing that are still to be written
    done: Bool[Array, " B"]


class Frames(NamedTuple):
    """Several frames of every row."""

    codes: Int[Array, "F B Q"]  # -1 where the codec is to bring out what it has
    pointer: Int[Array, "F B"]
    valid: Bool[Array, "F B"]
    said: None = None  # which symbols these are nobody knows


class States(NamedTuple):
    """What B rows keep on the device."""

    lm: Rows
    decoder: Any


class Engine(engine.Engine):
    """The compiled steps of a published pair; what is asked of them is the same."""

    looks_ahead = steerable = False
    voice_width = 1  # a voice is its number
    longest = 2**31  # units in one segment; it is the tokens that count

    def __init__(self, loaded: Published):
        codec, lm = loaded.codec, loaded.lm
        self._sound_by(codec)
        self._lm, self.books = lm, len(codec.config.sizes)
        self.lm_hash = lm.hash
        model = Model(lm.config, lm.graphdef, lm.params, lm.hash)
        flush = self.codec.flush_frames
        self.init = Step(_init, model, codec)
        self.restart = Step(_restart, model, codec, donate=2)
        self._load = {bucket: Step(_load, model, donate=3) for bucket in BUCKETS}
        self.generate = Step(partial(_generate, flush), model, donate=5)
        self._sampling = Step(_sampling, model)

    @property
    def voices(self) -> dict[str, Voice]:
        """Those that the model was trained to tell apart, by their names."""
        return {
            name: Voice(name, np.array([number], np.float32), "us", self.lm_hash)
            for number, name in enumerate(self._lm.config.voices)
        }

    def blank(self, one: Prompt, rows: int) -> Said:
        """Sentences of rows that have none."""
        return Said(*(np.zeros(rows, np.int32) for _ in one.said))

    def load(self, rows: Bool[np.ndarray, " B"], fresh: np.bool_, one: Prompt, kept: tuple) -> Any:
        """Sentences and states with `one` in the row of `rows`, which has heard it."""
        return self._load[one.tokens.shape[1]](rows, fresh, one, kept)

    def level(
        self, samples: Float32[np.ndarray, "B S"], state: LoudnessState
    ) -> tuple[Float32[np.ndarray, "B S"], LoudnessState]:
        """As it is: at the level that the model was trained on."""
        return samples, state

    def encode_voice(self, codes: Integer[np.ndarray, "T Q"]) -> Float32[np.ndarray, " Dv"]:
        """Raises VoiceError: there is no encoder of voices."""
        raise VoiceError(
            f"this model speaks in voices of its own: {', '.join(self._lm.config.voices)}"
        )

    def memory(self, voice: Voice) -> None:
        """Its voices are known by their numbers."""

    def sampling(self, rows: int) -> Sampling:
        """The settings that the model's authors ship."""
        return jax.tree.map(np.array, self._sampling(np.zeros(rows, np.int32)))

    def settings(
        self,
        temperature: float | None = None,
        rate: float = 1.0,
        pitch: float = 0.0,
        pitch_range: float = 1.0,
        lookahead: int | None = None,
    ) -> Sampling:
        """A row's settings; raises ValueError for all but a temperature."""
        if (rate, pitch, pitch_range, lookahead) != (1.0, 0.0, 1.0, None):
            raise ValueError(
                "this model reads whole sentences in its own manner: rate, pitch and look-ahead "
                "cannot be asked for"
            )
        default = jax.tree.map(lambda a: a[0], self.sampling(1))
        return default if temperature is None else default._replace(temperature=temperature)

    def read(
        self,
        units: Units,
        steer: Steer | None,
        text: str,
        voice: Float32[np.ndarray, " Dv"],
        lookahead: int | None,
        complete: bool,
    ) -> Prompt:
        """What `load` puts into a row for this text; raises ValueError if it is too long."""
        name = self._lm.config.voices[int(voice[0])]
        tokens = self._lm.config.prompt(self._lm.tokenizer, text, name)
        bucket = next((b for b in BUCKETS if b >= len(tokens)), None)
        if bucket is None:
            raise ValueError(f"a sentence of {len(tokens)} tokens, at most {BUCKETS[-1]}: cut it")
        pauses = sum(boundary_class(int(symbol)) > 0 for symbol in units.symbol)
        expected_s = PHONE_S * (len(units.symbol) - pauses) + PAUSE_S * pauses
        one = lambda value: np.array([value], np.int32)  # noqa: E731
        said = Said(
            units=one(len(units.symbol)),
            expected=one(max(1, round(expected_s / self.frame_s))),
            limit=one(int((PATIENCE * expected_s + 2.0) / self.frame_s)),
        )
        padding = [(0, bucket - len(tokens)), *[(0, 0)] * (tokens.ndim - 1)]
        return Prompt(said, np.pad(tokens, padding)[None].astype(np.int32), one(len(tokens)))


def _init(lm: SpeechLM, codec: Any, seed: Int[Array, " B"]) -> States:
    batch = seed.shape[0]
    zeros, capacity = jnp.zeros(batch, jnp.int32), min(CAPACITY, lm.backbone.shape.positions)
    rows = Rows(lm.init_state(batch, seed, capacity), zeros, zeros, jnp.ones(batch, bool))
    return States(rows, codec.init_decoder_state(batch))


def _sampling(lm: SpeechLM, rows: Int[Array, " B"]) -> Sampling:
    return lm.sampling(rows.shape[0])


def _restart(lm: SpeechLM, codec: Any, rows: Bool[Array, " B"], seed: Int[Array, " B"], kept):
    """States with new streams in `rows`."""
    state, decoder = kept
    fresh = codec.init_decoder_state(rows.shape[0])
    state = state._replace(lm=lm.restart(state.lm, rows, seed), done=state.done | rows)
    return state, jax.tree.map(partial(where, rows), fresh, decoder)


def _load(lm: SpeechLM, rows: Bool[Array, " B"], fresh: Bool[Array, ""], one: Prompt, kept: tuple):
    """Sentences with `one` in the row of `rows`, which has heard its prompt."""
    said, state = kept
    row = jnp.argmax(rows)  # only this row is computed, whatever the batch
    own = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, row, 1), state.lm)
    forget = own.cache.room < one.length + lm.places * one.said.limit
    forget |= (own.cache.pos == 0) | (not lm.remembers)
    own = own._replace(
        cache=own.cache._replace(pos=jnp.where(forget, 0, own.cache.pos)),
        said=own.said & ~forget[:, None, None],
    )
    own = lm.prefill(one.tokens, one.length, own)
    zero = jnp.zeros(1, jnp.int32)
    return put(rows, one.said, said), put(rows, Rows(own, zero, zero, own.done), state)


def _generate(
    flush: int, lm: SpeechLM, active: Bool[Array, " B"], said: Said,
    voice: Float32[Array, "B Dv"], sampling: Sampling, frames: Int[Array, ""], state: Rows,
) -> tuple[Rows, Frames]:  # fmt: skip
    """The next frames; after the last of a sentence, frames of nothing for a codec that is late."""
    going = active & ~state.done
    speaking = going & (state.flush == 0)
    new, codes, valid = lm.generate(sampling, state.lm, frames, MAX_FRAMES, speaking)
    count = state.frames + jnp.cumsum(valid, axis=0)
    valid &= count <= said.limit
    made = valid.sum(axis=0)
    cut = speaking & (state.frames + made >= said.limit)
    # Babble is no context, and how far it came beyond the limit depends on the chunk.
    cache = new.cache._replace(pos=jnp.where(cut, 0, new.cache.pos))
    new, ended = new._replace(cache=cache, done=new.done | cut), speaking & (new.done | cut)
    left = jnp.where(ended, flush, state.flush)
    empty = jnp.where(going, jnp.minimum(left, frames - made), 0)
    at = jnp.arange(MAX_FRAMES)[:, None]
    nothing = (at >= made) & (at < made + empty)
    pointer = jnp.minimum(count * said.units // said.expected, said.units - 1)
    left = left - empty
    state = Rows(
        new,
        state.frames + made,
        left,
        state.done | (going & (ended | (state.flush > 0)) & (left == 0)),
    )
    codes = jnp.where(nothing[..., None], -1, codes)
    return state, Frames(codes, pointer, valid | nothing)
