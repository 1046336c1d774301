"""Sampling: one frame at a time, any number of streams, each with its own text, voice and seed.

Everything a stream can differ in is a traced array [B], so one executable serves all requests, and
a frame depends on the stream alone: its key is folded with its position, its ring cache with its
own `pos`. A row that may not go on (finished, paused, or its text has not arrived) keeps its state
and is computed again later with the same numbers: hence a stream's codes depend neither on its
neighbours, nor on the chunk schedule, nor on when its text came in.

Speech ends by structure: when the pointer has reached <end>, `tail_frames` more frames are written.
A unit held as long as its symbol ever is in the corpus is left by force, so nothing can get stuck.

A voice is steered where it is decided: rate, breaks and stretched words through the odds of the
advance, melody and loudness by moving the prosody token that was drawn before the codes hear of it
(and by exaggerating the difference: guidance, arXiv 2207.12598, without its second pass).

Noise is Gumbel over the best `CANDIDATES` entries of a book: a sort of all 1024 would cost more
than the product before it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree, Shaped, UInt32

from lm.config import Config
from lm.layers import NEVER, BackboneState
from lm.model import LM, before, before_prosody, walk
from lm.text import FREE, Steer, Text, said

CANDIDATES = 64

SLOWER, FASTER, SEVERAL = 12.0, 20.0, 0.6
"""Log odds of an onset per logarithm of the tempo, and the power of their number to be faster.

Asked for .8 and 1.25, 14 sentences came .80 and 1.25 times as fast. Were several onsets in a frame
as many times likelier (a power of 1, 12), 17 % of the fast words would be misheard in place of 10;
were they no likelier (0, 18), the speech would be 1.06 times as fast (157 words)."""

PULL = 0.5
"""How much further than from the token drawn to the token said the codes are led: guidance where
a voice is steered, and nowhere else. (Pulls of 0, .5, 1, 2: 61, 77, 82, 89 % of the questions end
high, a pitch of 2 semitones is heard as 2.0, 2.6, 3.3, 4.2; at 2, twice as many errors.)"""


class Sampling(NamedTuple):
    """How to draw, per stream."""

    temperature: Float[Array, " B"]  # of the advance and the first book; 0 takes the best
    depth_temperature: Float[Array, " B"]  # of the other books
    prosody_temperature: Float[Array, " B"]  # of the prosody token
    top_k: Int[Array, " B"]  # best entries of a book to draw from, 1 to 64
    top_p: Float[Array, " B"]  # probability mass to draw from, of the `top_k` best
    rate: Float[Array, " B"]  # of speaking, a factor; holds from about 0.7 to 1.4
    pitch: Float[Array, " B"]  # semitones added to the pitch of every frame
    pitch_range: Float[Array, " B"]  # factor on its distance from the speaker's median

    @classmethod
    def default(cls, batch: int) -> "Sampling":
        """The settings that `voiceloom` ships, for `batch` streams.

        Word errors at 0.3, 0.4, 0.5, 0.65 (538 words): 7.2, 5.9, 7.6, 8.7 %.
        """
        full = lambda value: jnp.full(batch, value)  # noqa: E731
        return cls(
            temperature=full(0.4),
            depth_temperature=full(0.35),
            prosody_temperature=full(0.6),
            top_k=full(50),
            top_p=full(0.95),
            rate=full(1.0),
            pitch=full(0.0),
            pitch_range=full(1.0),
        )


class SamplerState(NamedTuple):
    """Where B streams stand; everything but the caches is a few bytes."""

    backbone: BackboneState  # ring caches and frames so far
    pointer: Int[Array, " B"]  # unit at the end of the last frame; 0 is <start>
    dwell: Int[Array, " B"]  # frames since the pointer came there
    codes: Int[Array, "B Q"]  # of the last frame; -1 before the first
    prosody: Int[Array, " B"]  # token of the last frame; 0 before the first
    key: UInt32[Array, "B 2"]  # PRNG key data
    tail: Int[Array, " B"]  # frames written at <end>
    done: Bool[Array, " B"]  # nothing more to come


class Memory(NamedTuple):
    """What one stream has heard before it begins."""

    backbone: BackboneState
    codes: Int[Array, "1 Q"]  # of the last frame
    prosody: Int[Array, " 1"]


class Frame(NamedTuple):
    """One frame of every stream (or, with a leading time axis, several)."""

    codes: Int[Array, "*N B Q"]
    pointer: Int[Array, "*N B"]  # unit of the *input* being spoken; -1 before, U after all of them
    advance: Int[Array, "*N B"]  # units passed in this frame
    prosody: Int[Array, "*N B"]  # token; 0 where the model has no such stream
    said: Int[Array, "*N B A+1"]  # symbols: in speech as it begins, passed in it; -1 for none
    valid: Bool[Array, "*N B"]  # whether the stream went on; other rows hold nothing of use
    starved: Bool[Array, "*N B"]  # whether it could not, because its text has not arrived


def encode_text(model: LM, *units: Array, **kwargs: Array | Steer | None) -> Text:
    """The encoded text, for any padding the same: see `lm.text.TextEncoder`."""
    return model.encode_text(*units, **kwargs)


def encode_voice(model: LM, codes: Array, length: Array) -> Float[Array, "B Dv"]:
    """Voice vectors: see `lm.model.VoiceEncoder`; a length of 0 gives that of no voice."""
    return model.encode_voice(codes, length)


def init_state(model: LM, batch: int, seed: Int[Array, " B"]) -> SamplerState:
    """The state of `batch` streams before their first frame, each with its own seed."""
    zeros = jnp.zeros(batch, jnp.int32)
    return SamplerState(
        backbone=model.backbone.init_state(batch),
        pointer=zeros,
        dwell=zeros,
        codes=jnp.full((batch, model.cfg.books), -1, jnp.int32),
        prosody=zeros,
        key=jax.vmap(lambda s: jax.random.key_data(jax.random.key(s)))(seed),
        tail=zeros,
        done=jnp.zeros(batch, bool),
    )


def restart(state: SamplerState, rows: Bool[Array, " B"], seed: Int[Array, " B"]) -> SamplerState:
    """`state` with new streams in `rows`: their caches stay as they are and count as unwritten."""
    key = jax.vmap(lambda s: jax.random.key_data(jax.random.key(s)))(seed)
    zero = lambda a: jnp.where(rows, jnp.zeros_like(a), a)  # noqa: E731
    return SamplerState(
        backbone=state.backbone._replace(pos=zero(state.backbone.pos)),
        pointer=zero(state.pointer),
        dwell=zero(state.dwell),
        codes=jnp.where(rows[:, None], -1, state.codes),
        prosody=zero(state.prosody),
        key=jnp.where(rows[:, None], key, state.key),
        tail=zero(state.tail),
        done=zero(state.done),
    )


def remember(
    model: LM,
    text: Text,
    voice: Float[Array, "1 Dv"],
    advance: Int[Array, "1 T"],
    codes: Int[Array, "1 T Q"],
    prosody: Int[Array, "1 T"],
    length: Int[Array, " 1"],
) -> Memory:
    """What a stream knows that has heard `length` frames of a text spoken by somebody.

    Frames beyond that are as if they had not been written; T is at most the backbone's window.
    """
    pointer, dwell = walk(advance)
    _, backbone = model.listen(
        before(codes), pointer, dwell, text, voice,
        prosody=before_prosody(prosody) if model.cfg.pitches else None,
    )  # fmt: skip
    last = length[0] - 1
    return Memory(backbone._replace(pos=length), codes[:, last], prosody[:, last])


def recall(rows: Bool[Array, " B"], memory: Memory, state: SamplerState) -> SamplerState:
    """`state` with the memory in the row of `rows`, which has said nothing yet."""
    return state._replace(
        **{name: put(rows, one, getattr(state, name)) for name, one in memory._asdict().items()}
    )


def put(rows: Bool[Array, " B"], one: PyTree, all: PyTree) -> PyTree:
    """`all` [B, ...] with `one` [1, ...] in the row of `rows`: not a selection, so that only the
    row's own memory is touched."""
    row = jnp.argmax(rows)
    return jax.tree.map(lambda kept, new: kept.at[row].set(new[0]), all, one)


def shift(state: SamplerState, units: Int[Array, " B"]) -> SamplerState:
    """`state` for texts that have lost their first `units` units, spoken long ago.

    Exact as long as `text_layers * text_window` units before the pointer are still there.
    """
    return state._replace(pointer=state.pointer - units)


def sum_before(x: Shaped[Array, "B C"]) -> Shaped[Array, "B C"]:
    """Of every place, the sum of those before it: one kernel, where cumsum is fourteen on a CPU."""
    place = jnp.arange(x.shape[1])
    return jnp.sum(jnp.where(place < place[:, None], x[:, None], 0), axis=-1)


def draw(
    logits: Float[Array, "B K"],
    noise: Float[Array, "B C"],
    temperature: Float[Array, " B"],
    sampling: Sampling,
) -> Int[Array, " B"]:
    """Entries drawn from the `top_k` best of which `top_p` of the mass is kept."""
    best, ids = jax.lax.top_k(logits, noise.shape[-1])
    inside = jnp.arange(noise.shape[-1]) < sampling.top_k[:, None]
    scaled = best / jnp.maximum(temperature, 1e-3)[:, None]
    mass = jax.nn.softmax(jnp.where(inside, scaled, NEVER), axis=-1)
    inside &= sum_before(mass) < sampling.top_p[:, None]
    inside = inside.at[:, 0].set(True)
    chosen = jnp.argmax(jnp.where(inside, best + temperature[:, None] * noise, NEVER), axis=-1)
    return jnp.take_along_axis(ids, chosen[:, None], axis=-1, mode="clip")[:, 0]


def draw_codes(
    model: LM, hidden: Float[Array, "B D"], noise: Float[Array, "B Q C"], sampling: Sampling
) -> Int[Array, "B Q"]:
    """The books of a frame, one after another, given what the frame says."""
    first = draw(model.first_logits(hidden), noise[:, 0], sampling.temperature, sampling)
    codes, past = [first], None
    for book in range(1, model.cfg.books):
        logits, past = model.grow_depth(hidden, codes[-1], book, past)
        codes.append(draw(logits, noise[:, book], sampling.depth_temperature, sampling))
    return jnp.stack(codes, axis=-1)


def draw_advance(
    logits: Float[Array, "B N"],
    noise: Float[Array, "B N"],
    text: Text,
    sampling: Sampling,
    state: SamplerState,
) -> Int[Array, " B"]:
    """Units to pass: never beyond <end>, at least one where the dwell is at its upper bound, none
    where it is below its lower one, and never over a unit that is to be held."""
    count = jnp.arange(logits.shape[-1])
    left = (text.end - state.pointer)[:, None]
    at = lambda values: of_unit(values, state.pointer)[:, None]  # noqa: E731
    faster = jnp.log(sampling.rate)[:, None] - at(text.steer.stretch)
    # Who speaks slowly may stay longer than anybody did in the corpus.
    longest = jnp.round(at(text.max_dwell) * jnp.exp(jnp.maximum(-faster, 0.0)))
    due = (state.dwell[:, None] + 1 >= longest) & (left > 0)
    held = state.dwell[:, None] + 1 < at(text.steer.hold)
    ahead = jnp.take_along_axis(
        text.steer.hold, state.pointer[:, None] + count[1:], axis=1, mode="clip"
    )
    # The units before the last one passed: none of them may be one that is to be held.
    over = jnp.pad(sum_before(ahead), ((0, 0), (1, 0))) > 0
    allowed = (count <= left) & ((count > 0) | ~due) & ((count == 0) | ~held) & ~over
    logits = logits + faster * jnp.where(faster > 0, FASTER * count**SEVERAL, SLOWER * count)
    logits = logits + sampling.temperature[:, None] * noise
    return jnp.argmax(jnp.where(allowed, logits, NEVER), axis=-1)


def of_unit(values: Array, unit: Int[Array, " B"]) -> Array:
    """Of every stream, the value of one of its units."""
    return jnp.take_along_axis(values, unit[:, None], axis=1, mode="clip")[:, 0]


def steered(
    token: Int[Array, " B"],
    cfg: Config,
    steer: Steer,
    unit: Int[Array, " B"],
    sampling: Sampling,
) -> Int[Array, " B"]:
    """The prosody token that is said in place of the one drawn: moved as stream and unit ask.

    Unvoiced stays unvoiced, but where a least pitch is asked for; and silence stays silent: the
    lowest quarter of the levels is not raised.
    """
    pitch, level = token // cfg.levels, token % cfg.levels
    middle = cfg.pitches // 2
    moved = middle + (pitch - middle) * sampling.pitch_range + sampling.pitch
    moved = jnp.round(moved + of_unit(steer.lift, unit)).astype(jnp.int32)
    least = of_unit(steer.least, unit)
    floor = jnp.round(middle + least - FREE).astype(jnp.int32)
    pitch = jnp.where((pitch > 0) | (least > 0), jnp.maximum(moved, floor), 0)
    pitch = jnp.where(pitch > 0, jnp.clip(pitch, 1, cfg.pitches - 1), 0)
    louder = jnp.where(level >= cfg.levels // 4, of_unit(steer.level, unit), 0)
    return pitch * cfg.levels + jnp.clip(level + louder, 0, cfg.levels - 1)


def led(
    model: LM, hidden: Float[Array, "B D"], drawn: Int[Array, " B"], said: Int[Array, " B"]
) -> Float[Array, "B D"]:
    """What the codes hear of the token said, the difference from the one drawn exaggerated."""
    ours, natural = model.with_prosody(jnp.stack([hidden] * 2), jnp.stack([said, drawn]))
    return ours + PULL * (ours - natural)


def step(
    model: LM,
    text: Text,
    voice: Float[Array, "B Dv"],
    sampling: Sampling,
    state: SamplerState,
    active: Bool[Array, " B"] | None = None,
) -> tuple[SamplerState, Frame]:
    """One frame of every stream that is `active` (default all), unfinished and has its text."""
    cfg = model.cfg
    candidates = min(CANDIDATES, cfg.entries)
    shape = (cfg.books * candidates + cfg.advance + 1 + cfg.pitches * cfg.levels,)
    keys = jax.vmap(jax.random.fold_in)(jax.random.wrap_key_data(state.key), state.backbone.pos)
    noise = jax.vmap(lambda key: jax.random.gumbel(key, shape))(keys)
    cuts = (cfg.books * candidates, cfg.books * candidates + cfg.advance + 1)
    noise, noise_advance, noise_prosody = jnp.split(noise, cuts, axis=1)
    noise = noise.reshape(-1, cfg.books, candidates)

    frames, backbone = model.listen(
        state.codes[:, None], state.pointer[:, None], state.dwell[:, None], text, voice,
        state.backbone, prosody=state.prosody[:, None] if cfg.pitches else None,
    )  # fmt: skip
    advance_logits = model.advance_logits(frames)[:, 0]
    advance = draw_advance(advance_logits, noise_advance, text, sampling, state)
    pointer = state.pointer + advance

    hidden = model.first_hidden(frames, text, state.pointer[:, None], advance[:, None])[:, 0]
    prosody = state.prosody
    if cfg.pitches:
        noisy = model.prosody_logits(hidden) + sampling.prosody_temperature[:, None] * noise_prosody
        prosody = jnp.argmax(noisy, axis=-1)
        drawn, prosody = prosody, steered(prosody, cfg, text.steer, pointer, sampling)
        hidden = led(model, hidden, drawn, prosody)
    codes = draw_codes(model, hidden, noise, sampling)

    symbols = said(text.symbol, state.pointer, advance, cfg.advance)

    starved = ~state.done & (pointer > text.limit)
    go = ~state.done & ~starved
    if active is not None:
        starved, go = starved & active, go & active
    tail = jnp.where(pointer >= text.end, state.tail + 1, 0)
    keep = lambda new, old: jnp.where(go.reshape(-1, *[1] * (new.ndim - 1)), new, old)  # noqa: E731
    # The caches need no `keep`: a slot written without moving `pos` counts as unwritten.
    new = SamplerState(
        backbone=backbone._replace(pos=keep(backbone.pos, state.backbone.pos)),
        pointer=keep(pointer, state.pointer),
        dwell=keep(jnp.where(advance > 0, 0, state.dwell + 1), state.dwell),
        codes=keep(codes, state.codes),
        prosody=keep(prosody, state.prosody),
        key=state.key,
        tail=keep(tail, state.tail),
        done=keep(tail > cfg.tail_frames, state.done),
    )
    return new, Frame(codes, new.pointer - 1, advance, prosody, symbols, go, starved)


def generate(
    model: LM,
    text: Text,
    voice: Float[Array, "B Dv"],
    sampling: Sampling,
    state: SamplerState,
    frames: Int[Array, ""],
    max_frames: int,
    active: Bool[Array, " B"] | None = None,
) -> tuple[SamplerState, Frame]:
    """Up to `frames` frames (traced) in buffers of `max_frames` (static): [max_frames, B, ...].

    The trip count is traced, so every chunk size runs in the same executable, bit for bit the same.
    It stops early when no stream can go on; what was not computed is not `valid`.
    """
    batch = state.pointer.shape[0]
    active = jnp.ones(batch, bool) if active is None else active
    blank = Frame(
        codes=jnp.zeros((max_frames, batch, model.cfg.books), jnp.int32),
        pointer=jnp.zeros((max_frames, batch), jnp.int32),
        advance=jnp.zeros((max_frames, batch), jnp.int32),
        prosody=jnp.zeros((max_frames, batch), jnp.int32),
        said=jnp.zeros((max_frames, batch, model.cfg.advance + 1), jnp.int32),
        valid=jnp.zeros((max_frames, batch), bool),
        starved=jnp.zeros((max_frames, batch), bool),
    )

    def going(carry):
        i, state, starved, _ = carry
        able = active & ~state.done & ~starved
        return (i < jnp.minimum(frames, max_frames)) & jnp.any(able)

    def body(carry):
        i, state, _, out = carry
        state, frame = step(model, text, voice, sampling, state, active)
        out = jax.tree.map(lambda o, x: o.at[i].set(x.astype(o.dtype)), out, frame)
        return i + 1, state, frame.starved, out

    start = (jnp.int32(0), state, jnp.zeros(batch, bool), blank)
    _, state, _, out = jax.lax.while_loop(going, body, start)
    return state, out
