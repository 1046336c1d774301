"""Training the aligner: clips with timings and clips with text alone, in one batch.

Where a corpus carries timings (`corpora/synthetic`), the cross-entropy of every frame gives sharp
boundaries without bias; everywhere, the likelihood of the text's lattice asks no more than that the
phones come in order. The two together carry the alignment from a synthetic voice over to people and
to phones that only other languages have. Clips are packed end to end into rows (grain's first fit),
so that a batch has one shape and little padding; a row's lattice is the lattices of its clips.
"""

from functools import cache
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import soxr
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Int32

from data.phones import SYMBOLS, Units, boundary_class
from data.records import Reader, Record, to_float
from data.text import FrontEnd, TextError
from lm import aligner

_RATE = (0.85, 1.2)
_NOISE_DB = (-60.0, -15.0)  # against the clip's level
_ESPEAK = {"fr": "fr-fr", "es": "es-419"}  # the rest of the languages have their code's voice


class TrainState(NamedTuple):
    step: Int[Array, ""]
    params: Any
    opt_state: optax.OptState
    ema: Any
    key: Array


def pauses(symbol: Int[np.ndarray, " U"]) -> Bool[np.ndarray, " U"]:
    """Which units are pause marks."""
    return _IS_PAUSE[symbol]


_IS_PAUSE = np.array([boundary_class(i) > 0 for i in range(len(SYMBOLS))])


def read_units(record: Record) -> Units:
    """The units of a record: those it carries, or the front end's for its text and language.

    Raises:
        TextError: Nothing in the text can be spoken.
    """
    if "symbol" in record:
        none = np.full((len(record["symbol"]), 2), -1, np.int32)
        return Units(record["symbol"], record["stress"], record["word"], none)
    if not record["text"]:
        raise TextError("the record has no text: only clips with their text can be aligned")
    language = record["language"].split("-")[0].lower()
    accent = record.get("accent") or "us" if language in ("", "en") else language
    return _front_end(_ESPEAK.get(accent, accent))(record["text"])


_front_end = cache(FrontEnd)


def frame_labels(
    units: Units, bounds_s: Float[np.ndarray, " bounds"], frames: int
) -> Int32[np.ndarray, " T"]:
    """Class of each 10 ms frame by a clip's timings: pause marks are silence, and so is the rest
    of the clip before the first unit and after the last."""
    centre = (np.arange(frames) + 0.5) * aligner.HOP_S
    symbol = np.pad(np.where(pauses(units.symbol), aligner.SILENCE, units.symbol), 1)
    return symbol[np.searchsorted(bounds_s, centre, side="right")].astype(np.int32)


class _Example:
    """Number of a clip and chance in, one clip's part of a row out; None where no path exists."""

    def __init__(self, reader: Reader, augmented: bool):
        self._reader, self._augmented = reader, augmented

    def __call__(self, number: int, rng: np.random.Generator) -> dict[str, np.ndarray] | None:
        record = self._reader[number]
        samples = to_float(record["samples"])
        try:
            units = read_units(record)
        except TextError:
            return None
        rate = rng.uniform(*_RATE) if self._augmented else 1.0
        if self._augmented:
            hz = aligner.SAMPLE_RATE
            samples = soxr.resample(samples, hz * rate, hz, quality="LQ")
            level = np.sqrt(np.mean(np.square(samples))) * 10 ** (rng.uniform(*_NOISE_DB) / 20)
            samples += np.float32(level) * rng.standard_normal(len(samples), np.float32)
        mel = aligner.log_mel(samples)
        timed = "bounds_s" in record
        text = aligner.lattice(units.symbol, units.word, pauses(units.symbol))
        if np.sum(~text.optional) > len(mel):
            return None
        label = np.zeros(len(mel), np.int32)
        if timed:
            label = frame_labels(units, record["bounds_s"] / rate, len(mel))
        return {
            "mel": mel,
            "label": label,
            "labelled": np.full(len(mel), timed, np.float32),
            "state": text.label,
            "optional": text.optional,
        }


class AlignerTask:
    """The aligner's side of the training loop; `config` is `experiments/aligner_base.py`."""

    def __init__(self, config):
        self.config = config
        model = dict(config.model) | {"dilations": tuple(config.model.dilations)}
        self.cfg = aligner.Config(symbols=len(SYMBOLS), **model)

        def make(seed):
            return aligner.Aligner(self.cfg, rngs=nnx.Rngs(seed))

        self._make = make
        self.graphdef = nnx.graphdef(nnx.eval_shape(lambda: make(0)))
        lr = optax.warmup_cosine_decay_schedule(
            0.0, config.opt.lr, config.opt.warmup, config.steps, 0.02 * config.opt.lr
        )
        self._optimizer = optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(lr, b2=0.98, weight_decay=0.01)
        )

    def init(self, key: Array) -> TrainState:
        """Fresh weights and optimiser."""
        params = nnx.to_pure_dict(nnx.state(self._make(key), nnx.Param))
        ema = jax.tree.map(jnp.copy, params)
        return TrainState(jnp.int32(0), params, self._optimizer.init(params), ema, key)

    def train_step(self, train_state: TrainState, batch) -> tuple[TrainState, dict]:
        """One step down the sum of both losses, in nats per frame."""

        def loss_of(params):
            per_row = self._measure(params, batch)
            weights = self.config.loss
            framed = jnp.sum(per_row["frame_nats"]) / jnp.maximum(1, jnp.sum(per_row["labelled"]))
            pathed = jnp.sum(per_row["path_nats"]) / jnp.sum(per_row["frames"])
            loss = weights.frame * framed + weights.path * pathed
            hits = jnp.sum(per_row["hits"]) / jnp.maximum(1, jnp.sum(per_row["labelled"]))
            return loss, {"loss": loss, "frame": framed, "path": pathed, "accuracy": hits}

        grads, metrics = jax.grad(loss_of, has_aux=True)(train_state.params)
        updates, opt_state = self._optimizer.update(
            grads, train_state.opt_state, train_state.params
        )
        params = optax.apply_updates(train_state.params, updates)
        step = train_state.step + 1
        decay = jnp.minimum(self.config.opt.ema, (1 + step) / (10 + step))
        ema = optax.incremental_update(params, train_state.ema, 1 - decay)
        return TrainState(step, params, opt_state, ema, train_state.key), metrics

    def eval_step(self, ema: Any, batch) -> dict[str, Float[Array, " B"]]:
        """Per row: nats per frame of both losses, and the share of labelled frames it names."""
        sums = self._measure(ema, batch)
        labelled = jnp.maximum(1, sums["labelled"])
        return {
            "frame": sums["frame_nats"] / labelled,
            "path": sums["path_nats"] / jnp.maximum(1, sums["frames"]),
            "accuracy": sums["hits"] / labelled,
        }

    def _measure(self, params, batch) -> dict[str, Float[Array, " B"]]:
        """Sums over each row of a batch."""
        length = jnp.sum(batch["mel_segment_ids"] > 0, axis=1)
        states = jnp.sum(batch["state_segment_ids"] > 0, axis=1)
        log_probs = nnx.merge(self.graphdef, params)(batch["mel"], length)
        onehot = jax.nn.one_hot(batch["label"], log_probs.shape[-1])
        nats = -jnp.sum(log_probs * onehot, axis=-1)
        hits = jnp.argmax(log_probs, axis=-1) == batch["label"]
        likelihood = aligner.path_likelihood(
            log_probs, length, batch["state"], batch["optional"], states
        )
        return {
            "frame_nats": jnp.sum(nats * batch["labelled"], axis=1),
            "hits": jnp.sum(hits * batch["labelled"], axis=1),
            "labelled": jnp.sum(batch["labelled"], axis=1),
            "path_nats": -likelihood,
            "frames": length,
        }

    def dataset(self, split: str) -> grain.IterDataset:
        """Packed rows: "train" without end and augmented, any other split once, as it is."""
        config, train = self.config.data, split == "train"
        sources, weights = [], []
        for folder, weight in config.sources if train else config.held_out:
            reader = Reader(folder, split)
            short = [i for i, line in enumerate(reader.index) if line["seconds"] <= config.clip_s]
            clips = grain.MapDataset.source(short).seed(self.config.seed)
            if train:
                clips = clips.shuffle().repeat()
            sources.append(clips.random_map(_Example(reader, train)))
            weights.append(weight)
        mixed = grain.MapDataset.mix(sources, weights)
        frames = round(config.row_s / aligner.HOP_S)
        states = round(config.row_s * config.states_per_s)
        lengths = {"mel": frames, "label": frames, "labelled": frames}
        lengths |= {"state": states, "optional": states}
        rows = grain.experimental.FirstFitPackIterDataset(
            mixed.filter(lambda example: example is not None).to_iter_dataset(),
            length_struct=lengths,
            num_packing_bins=config.batch,
            shuffle_bins=False,
        )
        return rows.batch(config.batch, drop_remainder=True)
