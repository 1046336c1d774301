"""When each phone of a text sounds in a clip: a frame classifier and a lattice of the text.

A corpus with text but without timings becomes trainable here. A small network reads the log-mel
spectrogram with context to both sides and names, 100 times a second, the phone that sounds, or
silence (class 0). The lattice of a text is its phones in order, with a silence *allowed* between
two words, at the beginning and at pause marks, and *required* at the closing mark. The best path
through it (Viterbi) is the alignment. The sum over all paths is a training loss that needs no
timings: connectionist temporal classification (Graves et al. 2006) with its blanks only where
speech can be silent, so that the posteriors of a phone fill its whole length; CTC proper lets them
collapse to peaks.

The trunk runs at 50 Hz on pairs of spectrogram frames and is all matrix products: each block is a
dilated three-frame window unfolded into one dense layer, +-0.34 s of context in all.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Int32

SAMPLE_RATE = 24_000
HOP_S = 0.01
BANDS = 80
SILENCE = 0
"""The class of silence: the id that symbols leave free for padding."""

_HOP, _WINDOW, _FFT = 240, 600, 768  # samples; 31.25 Hz per bin
_FLOOR_DB = 60.0  # what lies deeper under the clip's peak is the recording's, not the speaker's
_SEAM_S = 0.03  # of an unwritten pause, what at most belongs to the word after it
_CLOSING_S = 0.25  # of the silence at the end, what at most belongs to the closing mark
_LEAST = 2  # frames of a phone; one alone is a seam between two others
_STILL = 6  # frames of a silence that parts
_NEVER = -1e30


class AlignmentError(ValueError):
    """A text that cannot be what a clip says."""


@dataclass(frozen=True)
class Config:
    """Shape of the aligner.

    Attributes:
        symbols: Classes V: the alphabet, with silence as class 0.
        width: Trunk width D.
        hidden: Width inside a block.
        dilations: One block each, distance of its three frames at 50 Hz.
    """

    symbols: int
    width: int = 160
    hidden: int = 320
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 1)


class Lattice(NamedTuple):
    """The order in which classes may sound; a path visits the states in order.

    Attributes:
        label: Class of each state, `[N]`.
        optional: Whether a path may leave the state out, `[N]`; no two in a row, and not the last.
        unit: Unit of the text that the state's time belongs to, -1 for none, `[N]`.
    """

    label: Int32[np.ndarray, " N"]
    optional: Bool[np.ndarray, " N"]
    unit: Int32[np.ndarray, " N"]


class Alignment(NamedTuple):
    """Times of a text in a clip.

    Attributes:
        bounds_s: Unit u sounds from `bounds_s[u]` to `bounds_s[u + 1]` seconds, `[U + 1]`.
        unit_score: Mean log posterior over the frames of each unit, 0 for a pause left out, `[U]`.
        score: Mean of `unit_score` over the phones; near 0 for a clip that says the text.
    """

    bounds_s: Float[np.ndarray, " U+1"]
    unit_score: Float[np.ndarray, " U"]
    score: float


class Transcript(NamedTuple):
    """The phones of a clip whose text nobody knows.

    Attributes:
        symbol: Phones in order, `[U]`.
        word: The stretch between two silences that each is in, `[U]`.
        bounds_s: When each begins, and when the last one ends, `[U + 1]`.
    """

    symbol: Int32[np.ndarray, " U"]
    word: Int32[np.ndarray, " U"]
    bounds_s: Float[np.ndarray, " U+1"]


def log_mel(samples: Float[np.ndarray, " S"]) -> Float[np.ndarray, "T bands"]:
    """Log-mel spectrogram at 100 Hz without the channel: each band has mean 0 over the clip.

    Args:
        samples: Speech at 24 kHz; what lies above 8 kHz is not looked at.

    Returns:
        T = S / 240 frames of 80 bands, frame t centred at (t + 1/2) 10 ms, in units of 10 dB.
    """
    frames = max(1, len(samples) // _HOP)
    lead = (_WINDOW - _HOP) // 2
    padded = np.zeros((frames - 1) * _HOP + _WINDOW, np.float32)
    used = samples[: len(padded) - lead]
    padded[lead : lead + len(used)] = used
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    bank = _bank()
    power = np.abs(np.fft.rfft(windows * _HANN, _FFT)[:, : len(bank)]) ** 2 @ bank
    power = np.maximum(power, max(power.max() * 10 ** (-_FLOOR_DB / 10), 1e-20))
    mel = np.log10(power)
    return (mel - mel.mean(axis=0)).astype(np.float32)


def log_mels(samples: Float[Array, "B S"]) -> Float[Array, "B T bands"]:
    """`log_mel` of a batch, inside jax: with a gradient, for who learns to speak clearly."""
    count, part = samples.shape[1] // _HOP, _HOP // 2
    lead = (_WINDOW - _HOP) // 2
    padded = jnp.pad(samples, ((0, 0), (lead, _WINDOW)))
    parts = padded[:, : (2 * count + 3) * part].reshape(len(samples), -1, part)
    windows = [parts[:, i : i + 2 * count : 2] for i in range(_WINDOW // part)]
    bank = _bank()
    spectrum = jnp.fft.rfft(jnp.concatenate(windows, axis=-1) * _HANN, _FFT)[..., : len(bank)]
    power = (jnp.square(spectrum.real) + jnp.square(spectrum.imag)) @ bank
    floor = power.max(axis=(1, 2), keepdims=True) * 10 ** (-_FLOOR_DB / 10)
    mel = jnp.log10(jnp.maximum(power, jax.lax.stop_gradient(jnp.maximum(floor, 1e-20))))
    return mel - mel.mean(axis=1, keepdims=True)


_HANN = np.hanning(_WINDOW).astype(np.float32)


@functools.cache
def _bank() -> Float[np.ndarray, "bins bands"]:
    import librosa  # a second or two, which only who aligns or clones should wait for

    bank = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=_FFT, n_mels=BANDS, fmax=8000.0).T
    return np.ascontiguousarray(bank[: _FFT // 3])  # 8 kHz is a third of the spectrum's 768 points


class Block(nnx.Module):
    """A residual block over three frames, `dilation` apart."""

    def __init__(self, cfg: Config, dilation: int, *, rngs: nnx.Rngs):
        self.dilation = dilation
        self.norm = nnx.RMSNorm(cfg.width, rngs=rngs)
        self.wide = nnx.Linear(3 * cfg.width, cfg.hidden, rngs=rngs)
        self.narrow = nnx.Linear(cfg.hidden, cfg.width, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B T D"], valid: Float[Array, "B T 1"]
    ) -> Float[Array, "B T D"]:
        """`x` and what its neighbours add; frames that are not valid count as zeros."""
        steps, d = x.shape[1], self.dilation
        padded = jnp.pad(self.norm(x) * valid, ((0, 0), (d, d), (0, 0)))
        unfolded = [padded[:, k * d : k * d + steps] for k in range(3)]
        return x + self.narrow(jax.nn.gelu(self.wide(jnp.concatenate(unfolded, axis=-1))))


class Aligner(nnx.Module):
    """Log posteriors of the phones, frame by frame."""

    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        self.embed = nnx.Linear(2 * BANDS, cfg.width, rngs=rngs)
        self.blocks = nnx.List([Block(cfg, d, rngs=rngs) for d in cfg.dilations])
        self.norm = nnx.RMSNorm(cfg.width, rngs=rngs)
        self.head = nnx.Linear(cfg.width, 2 * cfg.symbols, rngs=rngs)

    def __call__(
        self, mel: Float[Array, "B T bands"], length: Int[Array, " B"]
    ) -> Float[Array, "B T V"]:
        """Log posteriors of every class.

        Args:
            mel: `log_mel` of clips, padded to an even number of frames.
            length: Frames of each clip that count; the others change nothing.

        Returns:
            Log posteriors, normalised over the classes.
        """
        batch, steps, bands = mel.shape
        mel = mel * (jnp.arange(steps) < length[:, None])[..., None]
        valid = jnp.arange(0, steps, 2)[:, None] < length[:, None, None]  # [B, T/2, 1]
        x = self.embed(mel.reshape(batch, steps // 2, 2 * bands))
        for block in self.blocks:
            x = block(x, valid.astype(x.dtype))
        logits = self.head(self.norm(x)).reshape(batch, steps, -1)
        return jax.nn.log_softmax(logits)


def lattice(
    symbol: Int[np.ndarray, " U"], word: Int[np.ndarray, " U"], pause: Bool[np.ndarray, " U"]
) -> Lattice:
    """The lattice of a text.

    Args:
        symbol: Its units.
        word: The word each belongs to.
        pause: Which of them are pause marks: silences that a reader may leave out.

    Returns:
        Its states: silence, the units, silences between words that no mark parts.
    """
    states = [(SILENCE, True, -1)]
    for u in range(len(symbol)):
        states.append((SILENCE if pause[u] else symbol[u], bool(pause[u]), u))
        between = u + 1 < len(symbol) and word[u] != word[u + 1]
        if between and not pause[u] and not pause[u + 1]:
            states.append((SILENCE, True, -1))
    label, optional, unit = (np.array(column) for column in zip(*states, strict=True))
    # Of two marks in a row the second stays, and so does the last of all: silence is at least
    # one frame there.
    optional[1:] &= ~optional[:-1]
    optional[-1] = False
    return Lattice(label.astype(np.int32), optional, unit.astype(np.int32))


def path_likelihood(
    log_probs: Float[Array, "B T V"],
    length: Int[Array, " B"],
    label: Int[Array, "B N"],
    optional: Bool[Array, "B N"],
    states: Int[Array, " B"],
) -> Float[Array, " B"]:
    """Log of the summed probability of all paths through padded lattices.

    Args:
        log_probs: Log posteriors.
        length: Frames of each clip.
        label: Classes of the states.
        optional: Which states may be left out.
        states: States of each lattice.
    """
    # A product with one-hot rows, since the gradient of a gather is a scatter, slow on CPUs.
    onehot = jax.nn.one_hot(label, log_probs.shape[-1], dtype=log_probs.dtype)
    emit = jnp.einsum("btv,bnv->tbn", log_probs, onehot)
    at = jnp.arange(label.shape[1])
    may_skip = jnp.pad(optional[:, :-1], ((0, 0), (1, 0)))  # [B, N]: past the state before this
    start = (at == 0) | ((at == 1) & may_skip)
    first = jnp.where(start, emit[0], _NEVER)

    def shift(alpha, n):
        return jnp.pad(alpha[:, :-n], ((0, 0), (n, 0)), constant_values=_NEVER)

    def advance(alpha, frame):
        emitted, t = frame
        step = jnp.logaddexp(alpha, shift(alpha, 1))
        step = jnp.logaddexp(step, jnp.where(may_skip, shift(alpha, 2), _NEVER))
        return jnp.where(t < length[:, None], step + emitted, alpha), None

    frames = (emit[1:], jnp.arange(1, log_probs.shape[1]))
    alpha, _ = jax.lax.scan(advance, first, frames)
    return jnp.sum(jnp.where(at == states[:, None] - 1, alpha, 0.0), axis=1)


def best_path(log_probs: Float[np.ndarray, "T V"], lattice: Lattice) -> Int32[np.ndarray, " T"]:
    """The state of every frame on the most probable path through a lattice.

    Raises:
        AlignmentError: The clip has fewer frames than the lattice has states to visit.
    """
    steps, needed = len(log_probs), int(np.sum(~lattice.optional))
    if steps < needed:
        raise AlignmentError(
            f"the text needs {needed * HOP_S:.2f} s at the very least, the clip has "
            f"{steps * HOP_S:.2f} s: it says something shorter, or was cut; check text and audio"
        )
    emit = log_probs[:, lattice.label]
    may_skip = np.r_[False, lattice.optional[:-1]]
    skipping = np.where(may_skip, 0.0, -np.inf)
    score = np.full(emit.shape[1], -np.inf)
    start = np.flatnonzero(np.r_[True, may_skip[1:2]])
    score[start] = emit[0, start]
    came = np.zeros(emit.shape, np.int8)  # how many states back the best way into each state is
    ways = np.full((3, len(score)), -np.inf)
    for t in range(1, steps):
        ways[0] = score
        ways[1, 1:] = score[:-1]
        ways[2, 2:] = score[:-2]
        ways[2] += skipping
        came[t] = ways.argmax(axis=0)
        score = ways.max(axis=0) + emit[t]
    path = np.empty(steps, np.int32)
    path[-1] = len(score) - 1
    for t in range(steps - 1, 0, -1):
        path[t - 1] = path[t] - came[t, path[t]]
    return path


def align(
    log_probs: Float[np.ndarray, "T V"],
    symbol: Int[np.ndarray, " U"],
    word: Int[np.ndarray, " U"],
    pause: Bool[np.ndarray, " U"],
) -> Alignment:
    """Times of a text's units in a clip.

    A pause without a mark is shared: half of it, 30 ms at most, begins the word after it, the
    rest ends the word before. The closing mark ends 250 ms after its beginning at the latest.

    Args:
        log_probs: Log posteriors of the clip, without padding.
        symbol: Units of the text; the last is a pause mark.
        word: The word each belongs to.
        pause: Which of them are pause marks.

    Raises:
        AlignmentError: The text is too long for the clip.
    """
    text = lattice(symbol, word, pause)
    path = best_path(log_probs, text)
    states = len(text.label)
    begin = np.searchsorted(path, np.arange(states + 1))  # [N + 1] first frame at or past a state
    spoken = np.add.reduceat(log_probs[np.arange(len(path)), text.label[path]], begin[:-1].clip(
        max=len(path) - 1)) / np.maximum(1, np.diff(begin))  # fmt: skip
    of_unit = np.flatnonzero(text.unit >= 0)  # [U] state of each unit
    unit_score = np.where(np.diff(begin)[of_unit] > 0, spoken[of_unit], 0.0)
    bounds_s = begin[np.append(of_unit, states)] * HOP_S
    seam = np.flatnonzero(text.unit[1:] < 0) + 1
    length_s = (begin[seam + 1] - begin[seam]) * HOP_S
    bounds_s[text.unit[seam + 1]] -= np.minimum(length_s / 2, _SEAM_S)
    bounds_s[-1] = min(bounds_s[-1], bounds_s[-2] + _CLOSING_S)
    score = float(unit_score[~np.asarray(pause)].mean())
    return Alignment(bounds_s.astype(np.float32), unit_score.astype(np.float32), score)


def transcribe(log_probs: Float[np.ndarray, "T V"]) -> Transcript:
    """What is said, by the posteriors alone; no phones where nothing is."""
    best = log_probs.argmax(axis=1)
    begin = np.flatnonzero(np.diff(best, prepend=-1))  # of runs of one class
    length, symbol = np.diff(begin, append=len(best)), best[begin]
    phone = (symbol != SILENCE) & (length >= _LEAST)
    stretch = np.cumsum((symbol == SILENCE) & (length >= _STILL))[phone]
    _, word = np.unique(stretch, return_inverse=True)
    bounds = np.append(begin[phone], (begin + length)[phone][-1:])
    return Transcript(
        symbol[phone].astype(np.int32), word.astype(np.int32), (bounds * HOP_S).astype(np.float32)
    )
