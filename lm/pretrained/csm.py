"""CSM (Sesame 2025, github.com/SesameAILabs/csm): a backbone over text and frames of Mimi, and a
small decoder that writes a frame book by book.

A place is a text token or a frame, in Q + 1 columns: the codes of the books, then the text. A
column that is not there is -1. The backbone hears the sum of a place's columns and writes the first
book; the depth decoder hears what the backbone made of it, then one code after the other, and has a
head of its own for every book. A frame of zeros is the end of an utterance. What was said before,
with its sound, is heard as context: so a voice is cloned.

Here only those codes are drawn that the codec has; the ids behind them pad batches in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from data.published import ImportFailed, Tensors
from lm.pretrained.interface import SpeechLM, State, Written
from lm.pretrained.llama import Llama, Shape, Source, field_of, product, read_shape
from lm.pretrained.sampling import Sampling, draw
from lm.pretrained.text import Tokenizer, Utterance


@dataclass(frozen=True)
class Config:
    """What a published config says, as far as it can vary here."""

    backbone: Shape
    depth: Shape
    books: int
    entries: int  # of a book of the codec
    ids: int  # of a book of the model: the entries, and some to pad with
    vocabulary: int  # of the text

    voices = tuple("0123456789")  # speakers of a conversation

    def prompt(
        self,
        tokenizer: Tokenizer,
        text: str,
        voice: str = "0",
        context: Sequence[Utterance] = (),
    ) -> Int[np.ndarray, "N C"]:
        """Tokens for `SpeechLM.prefill`.

        Args:
            tokenizer: Of the model's folder.
            text: What is to be said.
            voice: Number of the speaker; without context it stands for nobody in particular.
            context: What was said before, in order; the speaker's own utterances give the voice.

        Raises:
            ValueError: An utterance's codes are not of the model's books.
        """
        parts = []
        for before in context:
            sound = before.sound(self.books, self.entries).astype(np.int32)
            sound = np.pad(sound, ((0, 1), (0, 0)))  # a frame of zeros ends it
            sound = np.pad(sound, ((0, 0), (0, 1)), constant_values=-1)
            parts += [self._text(tokenizer, before.text, before.voice), sound]
        return np.concatenate([*parts, self._text(tokenizer, text, voice)])

    def _text(self, tokenizer: Tokenizer, text: str, voice: str) -> Int[np.ndarray, "N C"]:
        begin, end = tokenizer.control("<|begin_of_text|>"), tokenizer.control("<|end_of_text|>")
        ids = np.array([[begin, *tokenizer(f"[{voice}]{text}"), end]], np.int32)
        return np.pad(ids.T, ((0, 0), (self.books, 0)), constant_values=-1)


def read_config(told: dict[str, Any]) -> Config:
    """Of a published `config.json`.

    Raises:
        ImportFailed: A field is missing, or it is a variant that this is not.
    """
    inner = field_of(told, "depth_decoder_config")
    books, ids = field_of(told, "num_codebooks"), field_of(told, "vocab_size")
    width = field_of(told, "hidden_size")
    for where, field, wanted in (
        (told, "tie_codebooks_embeddings", True), (told, "codebook_eos_token_id", 0),
        (inner, "num_codebooks", books), (inner, "vocab_size", ids),
        (inner, "backbone_hidden_size", width),
    ):  # fmt: skip
        if where.get(field, wanted) != wanted:
            raise ImportFailed(f"config: {field} is {where[field]!r}, here only {wanted!r}")
    return Config(
        backbone=read_shape(told),
        depth=read_shape(inner),
        books=books,
        entries=field_of(field_of(told, "codec_config"), "codebook_size"),
        ids=ids,
        vocabulary=field_of(told, "text_vocab_size"),
    )


class Csm(SpeechLM):
    """CSM. Codes are in the order of Mimi's books."""

    RENAMES = {"codec_model.": None}  # its Mimi, which a codec reads
    places, remembers = 1, True

    def __init__(self, cfg: Config, tensors: Tensors, dtype: Any):
        self.cfg, self.books, self.entries = cfg, cfg.books, cfg.entries
        source, width = Source(tensors, dtype), cfg.backbone.width
        self.backbone = Llama(cfg.backbone, source, "backbone_model")
        self.depth = Llama(cfg.depth, source, "depth_decoder.model")
        self.text = source.table("embed_text_tokens.weight", cfg.vocabulary, width)
        self.codes = source.tied(
            ("depth_decoder.model.embed_tokens.weight",
             "backbone_model.embed_tokens.embed_audio_tokens.weight"),
            cfg.books * cfg.ids, width,
        )  # fmt: skip
        self.narrow = source.maps(
            ["depth_decoder.model.inputs_embeds_projector"], width, [cfg.depth.width]
        )
        self.first_head = source.table("lm_head.weight", cfg.ids, width)
        self.heads = source.table(
            "depth_decoder.codebooks_head.weight", cfg.books - 1, cfg.depth.width, cfg.ids
        )

    def embed(self, tokens: Int[Array, "B N C"]) -> Float[Array, "B N D"]:
        """The sum of what is there."""
        columns = jnp.arange(self.books) * self.cfg.ids
        codes, text = tokens[..., :-1], tokens[..., -1:]
        found = [(self.codes, codes + columns, codes >= 0), (self.text, text, text >= 0)]
        return sum(
            jnp.sum(jnp.where(there[..., None], table[...][ids], 0.0), axis=-2, dtype=jnp.float32)
            for table, ids, there in found
        )

    def score(self, hidden: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Of the first book, with the ids that the codec does not have."""
        return product("btd,vd->btv", hidden, self.first_head[...])

    def score_depth(
        self, hidden: Float[Array, "B D"], codes: Int[Array, "B Q"]
    ) -> Float[Array, "B Q-1 V"]:
        """Of the other books, given the backbone's `hidden` and the codes before each."""
        offset = jnp.arange(self.books - 1) * self.cfg.ids
        before = self.codes[...][codes[:, :-1] + offset]
        x = jnp.concatenate([hidden[:, None], before], axis=1)
        y, _ = self.depth(self._narrowed(x))
        return product("bqd,qdv->bqv", y[:, 1:], self.heads[...])

    def sampling(self, batch: int) -> Sampling:
        """A temperature of 0.9 among the 50 best."""
        return Sampling.of(batch, temperature=0.9, top_k=50, top_p=1.0, repetition=1.0)

    def write(
        self, state: State, keys: Key[Array, " B"], go: Bool[Array, " B"], sampling: Sampling
    ) -> Written:
        """The first book, then one by one the others; then the backbone hears them."""
        batch = state.hidden.shape[0]
        logits = self.score(state.hidden[:, None])[:, 0, : self.entries]
        first = draw(logits, state.said[:, 0], keys, 0, sampling)
        past = self.depth.init_state(batch, self.books)
        _, past = self.depth(self._narrowed(state.hidden[:, None]), past)

        def book(q, carry):
            codes, past = carry
            x = self.codes[...][codes[:, q - 1] + (q - 1) * self.cfg.ids]
            y, past = self.depth(self._narrowed(x[:, None]), past)
            logits = product("bd,dv->bv", y[:, 0], self.heads[...][q - 1])[:, : self.entries]
            return codes.at[:, q].set(draw(logits, state.said[:, q], keys, q, sampling)), past

        codes = jnp.zeros((batch, self.books), jnp.int32).at[:, 0].set(first)
        codes, _ = jax.lax.fori_loop(1, self.books, book, (codes, past))
        place = jnp.pad(codes, ((0, 0), (0, 1)), constant_values=-1)[:, None]
        hidden, cache = self.backbone(self.embed(place), state.cache, go.astype(jnp.int32))
        return Written(codes, jnp.all(codes == 0, axis=-1), hidden[:, 0], cache)

    def _narrowed(self, x: Float[Array, "B T D"]) -> Float[Array, "B T E"]:
        return product("bti,io->bto", x, self.narrow[...])
