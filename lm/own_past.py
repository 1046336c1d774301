"""What a model would have said itself, had it begun somewhere in a row of training speech.

In training every frame follows the true one, and so does its voice: with the true past, all eight
books of held-out readers sampled, they sound nearly as their codec does (.84 of .86 alike); with
its own past, at the same times and with the same melody, half of the voice is lost within seconds
(.79; LOG.md). Teacher forcing never shows a model what it makes of itself. So some rows of a batch
hear, in place of their past, what the model says there, and still have to write what the speaker
did: to come back to the voice that the vector and the beginning of the row have told (DAgger,
arXiv 1011.0686; scheduled sampling, arXiv 1506.03099, with whole pasts in place of single symbols).
Times and melody stay those of the row, or its frames would mean something else.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lm.model import LM, before_prosody, walk
from lm.sample import CANDIDATES, Sampling, draw_codes
from lm.text import Text


def say_again(
    model: LM,
    batch: dict,
    text: Text,
    voice: Float[Array, "B Dv"],
    begin: Int[Array, " B"],
    sampling: Sampling,
    key: Array,
) -> Int[Array, "B T Q"]:
    """Codes of the rows, from `begin` on the model's own, at the rows' advance and prosody.

    Args:
      model: Of which nothing is learned here.
      batch: Fields of `data.utterances.Row`, stacked.
      text: The rows' encoded text.
      voice: Their voices.
      begin: First frame of each that is not the row's own.
      sampling: How codes are drawn; the temperatures of advance and prosody play no part.
      key: Of the noise.
    """
    cfg = model.cfg
    advance, prosody = batch["advance"], batch["prosody"]
    rows, count = advance.shape
    pointer, dwell = walk(advance)
    melody = before_prosody(prosody)
    shape = (rows, cfg.books, min(CANDIDATES, cfg.entries))

    def frame(carry, t):
        state, last = carry
        now = lambda a: jax.lax.dynamic_index_in_dim(a, t, axis=1)  # noqa: E731
        frames, state = model.listen(
            last[:, None], now(pointer), now(dwell), text, voice, state,
            prosody=now(melody) if cfg.pitches else None,
        )  # fmt: skip
        hidden = model.first_hidden(frames, text, now(pointer), now(advance))[:, 0]
        if cfg.pitches:
            hidden = model.with_prosody(hidden, now(prosody)[:, 0])
        noise = jax.random.gumbel(jax.random.fold_in(key, t), shape)
        own = draw_codes(model, hidden, noise, sampling)
        true = now(batch["codes"])[:, 0, : cfg.books]
        codes = jnp.where((t < begin)[:, None], true, own)
        return (state, codes), codes

    start = model.backbone.init_state(rows), jnp.full((rows, cfg.books), -1, jnp.int32)
    _, codes = jax.lax.scan(frame, start, jnp.arange(count))
    return codes.swapaxes(0, 1)
