"""Orpheus (Canopy Labs 2025, github.com/canopyai/Orpheus-TTS): a Llama whose vocabulary has, after
the words, the codes of SNAC.

A frame is seven tokens, one coarse code and those of the finer levels in the order of time: coarse,
middle, fine, fine, middle, fine, fine. Each of the seven has entries of its own in the vocabulary.
Its authors let the model write any token at any place, and drop what makes no frame. Here only that
is drawn which the place allows: its own codes, or at the beginning of a frame the end of speech. A
frame with a code of another level cannot be played, and one token too few or too many would shift
all that comes after; besides, logits of 4,097 entries cost a fortieth of those of 156,940.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from data.published import ImportFailed, Tensors
from lm.layers import NEVER
from lm.pretrained.interface import SpeechLM, State, Written
from lm.pretrained.llama import Llama, Shape, Source, field_of, product, read_shape
from lm.pretrained.sampling import Sampling, draw
from lm.pretrained.text import Tokenizer, Utterance

COLUMN = (0, 1, 3, 4, 2, 5, 6)
"""Column of each token of a frame: the coarse code, two middle, four fine, each in time order."""


class Tokens(NamedTuple):
    """What the vocabulary has after the words; those of the 3B models."""

    start_of_human: int = 128_259
    end_of_text: int = 128_009
    end_of_human: int = 128_260
    start_of_ai: int = 128_261
    start_of_speech: int = 128_257
    end_of_speech: int = 128_258
    end_of_ai: int = 128_262
    first_code: int = 128_266  # then seven times `codes`
    codes: int = 4096

    @property
    def end(self) -> int:
        """The first token after the codes."""
        return self.first_code + len(COLUMN) * self.codes


@dataclass(frozen=True)
class Config:
    """What a published config says, as far as it can vary here."""

    backbone: Shape
    vocabulary: int
    tied: bool  # the head is the table of embeddings
    tokens: Tokens

    voices = ("tara", "leah", "jess", "leo", "dan", "mia", "zac", "zoe")  # of the English model

    def prompt(
        self,
        tokenizer: Tokenizer,
        text: str,
        voice: str = "tara",
        context: Sequence[Utterance] = (),
    ) -> Int[np.ndarray, " N"]:
        """Tokens for `SpeechLM.prefill`.

        Args:
            tokenizer: Of the model's folder.
            text: What is to be said; sounds are written <laugh>, <sigh> and the like.
            voice: Name of one that the model was trained on.
            context: What was said before, in order, for models that clone a voice by it; those that
                were trained on a few voices do not.

        Raises:
            ValueError: An utterance's codes are not frames of seven columns, or a text spells
                tokens that are not words: <custom_token_1> and so on.
        """
        known, parts = self.tokens, []
        levels = known.first_code + known.codes * np.arange(len(COLUMN))
        for before in context:
            sound = before.sound(len(COLUMN), known.codes)[:, list(COLUMN)] + levels
            parts += [*self._text(tokenizer, before.text, before.voice), *sound.ravel()]
            parts += [known.end_of_speech, known.end_of_ai]
        return np.array([*parts, *self._text(tokenizer, text, voice)], np.int32)

    def _text(self, tokenizer: Tokenizer, text: str, voice: str) -> list[int]:
        known, words = self.tokens, tokenizer(f"{voice}: {text}")
        # Its tokenizer does not call them special, so it does not spell them out by itself.
        if any(known.start_of_speech <= word < known.end for word in words):
            raise ValueError("the text has tokens of speech in it, not words alone")
        begin = [known.start_of_human, tokenizer.control("<|begin_of_text|>")]
        after = [known.end_of_text, known.end_of_human, known.start_of_ai, known.start_of_speech]
        return [*begin, *words, *after]


def read_config(told: dict[str, Any], tokens: Tokens) -> Config:
    """Of a published `config.json`.

    Raises:
        ImportFailed: A field is missing, or there is no room for the codes: another Llama.
    """
    vocabulary = field_of(told, "vocab_size")
    if vocabulary < tokens.end:
        raise ImportFailed(
            f"config: a Llama with a vocabulary of {vocabulary}; Orpheus has SNAC's codes up to "
            f"{tokens.end}"
        )
    return Config(read_shape(told), vocabulary, told.get("tie_word_embeddings", False), tokens)


class Orpheus(SpeechLM):
    """Orpheus. A frame's codes: the coarse one, the two of SNAC's middle level, the four of its
    fine level, each level in the order of time."""

    RENAMES: dict[str, str | None] = {}
    places = books = len(COLUMN)
    remembers = False
    remembers = False

    def __init__(self, cfg: Config, tensors: Tensors, dtype: Any):
        self.cfg, self.entries = cfg, cfg.tokens.codes
        source, shape = Source(tensors, dtype), (cfg.vocabulary, cfg.backbone.width)
        self.backbone = Llama(cfg.backbone, source, "model")
        table, head = "model.embed_tokens.weight", "lm_head.weight"
        self.words = source.tied((table, head) if cfg.tied else (table,), *shape)
        self.head = self.words if cfg.tied else source.table(head, *shape)

    def embed(self, tokens: Int[Array, "B N"]) -> Float[Array, "B N D"]:
        """A vector a token."""
        return self.words[...][tokens].astype(jnp.float32)

    def score(self, hidden: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Of every token, words too."""
        return product("btd,vd->btv", hidden, self.head[...])

    def sampling(self, batch: int) -> Sampling:
        """A temperature of 0.6, 80 % of the mass, a repetition penalty of 1.3."""
        return Sampling.of(
            batch, temperature=0.6, top_k=self.entries + 1, top_p=0.8, repetition=1.3
        )

    def write(
        self, state: State, keys: Key[Array, " B"], go: Bool[Array, " B"], sampling: Sampling
    ) -> Written:
        """Seven tokens, each heard before the next; after an end of speech nothing is heard."""
        tokens, column, head = self.cfg.tokens, jnp.array(COLUMN), self.head[...]
        stop = product("bd,vd->bv", state.hidden, head[tokens.end_of_speech][None])

        def token(place, carry):
            codes, ended, hidden, cache = carry
            own = tokens.first_code + place * self.entries
            rows = jax.lax.dynamic_slice_in_dim(head, own, self.entries)
            logits = product("bd,vd->bv", hidden, rows)
            logits = jnp.concatenate([logits, jnp.where(place == 0, stop, NEVER)], axis=1)
            said = jnp.pad(state.said[:, column[place]], ((0, 0), (0, 1)))
            drawn = draw(logits, said, keys, place, sampling)
            heard = go & ~ended
            ended = ended | (drawn == self.entries)
            spoken = jnp.where(ended, tokens.end_of_speech, own + drawn)
            new, cache = self.backbone(self.embed(spoken[:, None]), cache, heard.astype(jnp.int32))
            return codes.at[:, column[place]].set(drawn), ended, new[:, 0], cache

        batch = go.shape[0]
        codes, ended = jnp.zeros((batch, self.books), jnp.int32), jnp.zeros(batch, bool)
        start = (codes, ended, state.hidden, state.cache)
        return Written(*jax.lax.fori_loop(0, self.books, token, start))
