"""The prosody stream: how high and how loud a frame is, said before what it sounds like.

Between the advance and the first book every frame draws one token of pitch and level together
(`data.prosody`). To learn that a question ends high is a matter of two dozen classes here and of a
thousand codes there; and who holds the token holds the melody: range, key and emphasis are moved by
moving it. Pitch before codes, after RALL-E's chain of thought (arXiv 2404.03204), frame by frame.
"""

from flax import nnx
from jaxtyping import Array, Float, Int

from lm.config import Config
from lm.layers import Dense, Mlp, Norm, lookup, table


class ProsodyTable(nnx.Module):
    """An embedding of tokens: that of the pitch plus that of the level."""

    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        self.levels = cfg.levels
        self.pitch = table(cfg.pitches, cfg.width, rngs=rngs)
        self.level = table(cfg.levels, cfg.width, rngs=rngs)

    def __call__(self, token: Int[Array, "*B"]) -> Float[Array, "*B D"]:
        pitch = lookup(self.pitch[...], token // self.levels)
        return pitch + lookup(self.level[...], token % self.levels)


class Prosody(nnx.Module):
    """Reads the token of the frame before, writes that of this one, and tells the code heads."""

    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        width = cfg.width
        self.heard = ProsodyTable(cfg, rngs=rngs)
        self.said = ProsodyTable(cfg, rngs=rngs)
        self.norm_head, self.norm = Norm(width, rngs=rngs), Norm(width, rngs=rngs)
        self.head = Dense(width, cfg.pitches * cfg.levels, rngs=rngs, scale=0.5)
        self.mlp = Mlp(width, cfg.mlp_width, rngs=rngs, scale=0.5)

    def hear(self, token: Int[Array, "*B"]) -> Float[Array, "*B D"]:
        """What the backbone hears of the token of the frame before."""
        return self.heard(token)

    def logits(self, hidden: Float[Array, "*B D"]) -> Float[Array, "*B N"]:
        """Logits of the token, from what a frame says as `LM.first_hidden` gives it."""
        return self.head(self.norm_head(hidden))

    def say(self, hidden: Float[Array, "*B D"], token: Int[Array, "*B"]) -> Float[Array, "*B D"]:
        """What a frame says once its token is known; input of all code heads."""
        x = hidden + self.said(token)
        return x + self.mlp(self.norm(x))
