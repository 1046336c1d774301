"""What an engine holds, whichever speech LM it is: rows that hear prompts and write frames.

A row's codes depend on its own prompts, seed and settings, and on nothing else: its key is folded
with its position, its cache is written for it alone, and frames are counted by a traced number, so
that neither its company nor the chunk schedule changes a bit within one executable. Rows that are
done, or not active, stay exactly as they are.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from lm.pretrained.llama import Cache, Llama
from lm.pretrained.sampling import Sampling


class State(NamedTuple):
    """Where B rows stand; every leaf has their axis first."""

    cache: Cache
    hidden: Float[Array, "B D"]  # what the first of the next frame's codes is drawn from
    said: Bool[Array, "B Q K"]  # the codes that each column has had
    key: UInt32[Array, "B 2"]  # PRNG key data
    done: Bool[Array, " B"]  # nothing more to come before the next prompt
    full: Bool[Array, " B"]  # done because the cache has no room: for the prompt, or a frame more


class Written(NamedTuple):
    """One frame, and what was heard of it."""

    codes: Int[Array, "B Q"]
    ended: Bool[Array, " B"]  # it is no frame, but the end of speech
    hidden: Float[Array, "B D"]
    cache: Cache


class SpeechLM(nnx.Module):
    """A speech LM: `embed`, `score`, `write` and the constants below are its own."""

    backbone: Llama
    books: int  # codes of a frame, in the codec's order
    entries: int  # of each of them
    places: int  # that a frame takes in the cache at most
    remembers: bool  # was trained to go on from what it has said: a further prompt needs no restart

    def embed(self, tokens: Int[Array, "B N ..."]) -> Float[Array, "B N D"]:
        """What the backbone hears of tokens."""
        raise NotImplementedError

    def score(self, hidden: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Logits over everything that the backbone's head knows, allowed or not."""
        raise NotImplementedError

    def sampling(self, batch: int) -> Sampling:
        """The settings that its authors ship, for `batch` rows."""
        raise NotImplementedError

    def write(
        self, state: State, keys: Key[Array, " B"], go: Bool[Array, " B"], sampling: Sampling
    ) -> Written:
        """A frame of the rows that `go`, which have room for it."""
        raise NotImplementedError

    def init_state(self, batch: int, seed: Int[Array, " B"], capacity: int) -> State:
        """Rows that have heard nothing, and are done until they do.

        Args:
            batch: How many.
            seed: Of all that is random in each.
            capacity: Places of prompts and frames that each has room for.

        Raises:
            ValueError: More places than the model was trained on.
        """
        if capacity > self.backbone.shape.positions:
            raise ValueError(
                f"room for {capacity} places: this model knows {self.backbone.shape.positions}"
            )
        return State(
            cache=self.backbone.init_state(batch, capacity),
            hidden=jnp.zeros((batch, self.backbone.shape.width)),
            said=jnp.zeros((batch, self.books, self.entries), bool),
            key=_key_data(seed),
            done=jnp.ones(batch, bool),
            full=jnp.zeros(batch, bool),
        )

    def restart(self, state: State, rows: Bool[Array, " B"], seed: Int[Array, " B"]) -> State:
        """`state` with new streams in `rows`: what they have heard counts as unwritten."""
        return state._replace(
            cache=state.cache._replace(pos=jnp.where(rows, 0, state.cache.pos)),
            said=state.said & ~rows[:, None, None],
            key=jnp.where(rows[:, None], _key_data(seed), state.key),
            done=state.done | rows,
            full=state.full & ~rows,
        )

    def prefill(
        self,
        tokens: Int[Array, "B N ..."],
        lengths: Int[Array, " B"],
        state: State,
        rows: Bool[Array, " B"] | None = None,
    ) -> State:
        """`state` after prompts: after what the rows have heard before, or to begin with.

        Args:
            tokens: As the config's `prompt` makes them, padded on the right.
            lengths: Tokens of each row; 0 leaves it alone. One that has no room for its prompt
                hears nothing of it, and is `done` and `full`.
            state: Of the rows.
            rows: Those that it is for; None for all.

        Raises:
            ValueError: N is more than the capacity.
        """
        asked = lengths > 0 if rows is None else rows & (lengths > 0)
        heard = asked & (lengths <= state.cache.room)
        hidden, cache = self.backbone(self.embed(tokens), state.cache, jnp.where(heard, lengths, 0))
        last = jnp.take_along_axis(hidden, lengths[:, None, None] - 1, axis=1, mode="clip")[:, 0]
        return state._replace(
            cache=cache,
            hidden=jnp.where(heard[:, None], last, state.hidden),
            done=jnp.where(asked, ~heard, state.done),
            full=jnp.where(asked, ~heard, state.full),
        )

    def generate(
        self,
        sampling: Sampling,
        state: State,
        frames: Int[Array, ""],
        max_frames: int,
        active: Bool[Array, " B"] | None = None,
    ) -> tuple[State, Int[Array, "F B Q"], Bool[Array, "F B"]]:
        """Up to `frames` frames (traced) in buffers of `max_frames` (static): state, codes, valid.

        It stops early when no row can go on; what is not `valid` holds nothing of use.
        """
        batch = state.done.shape[0]
        active = jnp.ones(batch, bool) if active is None else active

        def going(carry):
            i, state, *_ = carry
            return (i < jnp.minimum(frames, max_frames)) & jnp.any(active & ~state.done)

        def body(carry):
            i, state, codes, valid = carry
            state, new, there = self._step(sampling, state, active)
            return i + 1, state, codes.at[i].set(new), valid.at[i].set(there)

        codes = jnp.zeros((max_frames, batch, self.books), jnp.int32)
        start = (jnp.int32(0), state, codes, jnp.zeros((max_frames, batch), bool))
        return jax.lax.while_loop(going, body, start)[1:]

    def _step(
        self, sampling: Sampling, state: State, active: Bool[Array, " B"]
    ) -> tuple[State, Int[Array, "B Q"], Bool[Array, " B"]]:
        able, room = active & ~state.done, state.cache.room >= self.places
        go = able & room
        keys = jax.vmap(jax.random.fold_in)(jax.random.wrap_key_data(state.key), state.cache.pos)
        new = self.write(state, keys, go, sampling)
        there = go & ~new.ended
        said = jax.nn.one_hot(new.codes, self.entries, dtype=bool) & there[:, None, None]
        state = State(
            cache=new.cache,
            hidden=jnp.where(go[:, None], new.hidden, state.hidden),
            said=state.said | said,
            key=state.key,
            done=state.done | (able & (new.ended | ~room)),
            full=state.full | (able & ~room),
        )
        return state, new.codes, there


def _key_data(seed: Int[Array, " B"]) -> UInt32[Array, "B 2"]:
    return jax.vmap(lambda s: jax.random.key_data(jax.random.key(s)))(seed)
