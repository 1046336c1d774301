"""The aligner as a listener: whether it hears in speech the sounds that are asked for."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from data.phones import SYMBOLS
from data.said import NOTHING
from lm.aligner import SILENCE
from lm.aligner_task import pauses
from voiceloom.aligner import Phones

DOUBT = 0.02  # what cannot be heard at all (a pause, a pointer that was early) pulls no harder
EARLY = 2  # of 100 frames a second: a sound may begin so much before its frame, or end after it


class Listener:
    """To a codec of so many frames a second; what a frame says is as in `data.said`."""

    def __init__(self, frame_rate: float):
        self.phones = Phones()
        self._each = round(100 / frame_rate)
        symbols = np.arange(len(SYMBOLS))
        sounds = np.where(pauses(symbols), SILENCE, symbols)
        self._sound = np.append(sounds, SILENCE)  # of a symbol; of NOTHING, the last

    def heard(self, samples: Float[Array, "B S"]) -> Float[Array, "B H V"]:
        """Log posteriors of the sounds, 100 frames a second."""
        return self.phones.heard(samples)

    def nats(self, heard: Float[Array, "B H V"], said: Int[Array, "B T N"]) -> Float[Array, "B H"]:
        """How unlikely what frames say is in what is heard, in nats."""
        likely = jnp.where(self.asked(said, heard.shape[1]), jnp.exp(heard), 0.0).sum(axis=-1)
        return -jnp.log(likely + DOUBT)

    def asked(self, said: Int[Array, "B T N"], count: int) -> Bool[Array, "B H V"]:
        """Whether a sound may be heard in each of `count` frames of 10 ms."""
        sound = jnp.asarray(self._sound)[said]
        # A slot without a symbol says nothing; but where none goes on there is silence.
        sound = jnp.where((said == NOTHING) & (jnp.arange(said.shape[-1]) > 0), -1, sound)
        each = jax.nn.one_hot(sound, self.phones.cfg.symbols, dtype=bool).any(axis=2)
        each = jnp.repeat(each, self._each, axis=1)[:, :count]
        padded = jnp.pad(each, ((0, 0), (EARLY, EARLY), (0, 0)))
        return each | padded[:, : -2 * EARLY] | padded[:, 2 * EARLY :]
