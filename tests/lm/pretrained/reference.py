"""Writes what the tests of `lm.pretrained` compare with: run it where transformers is installed.

    python -m experiments.parity --set-up runs/torch
    runs/torch/bin/python -m tests.lm.pretrained.reference tests/lm/pretrained

Small models of the true layout with random weights, as transformers itself saves them, and what
transformers makes of three prompts at once, padded on the left, and of one alone: logits, and what
it says greedily. Embeddings and heads are spread out, so that no two logits are nearly equal.

With the name of a model it is that one in about the size that is published, which
`experiments.parity` then asks for its times, line by line.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.codec.pretrained.reference import serve

try:
    import torch
    from tokenizers import Tokenizer, models
    from transformers import CsmConfig, CsmForConditionalGeneration, LlamaConfig, LlamaForCausalLM
except ImportError:  # the tests need the constants alone
    torch = None

ALPHABET = "abcdefghijklmnopqrstuvwxyz 0123456789[]:.,!?'"
CONTROLS = ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|AUDIO|>", "<|audio_eos|>")
BEGIN, END, EOT, AUDIO, AUDIO_END = range(len(ALPHABET), len(ALPHABET) + len(CONTROLS))

TOKENS = {
    "start_of_speech": 50, "end_of_speech": 51, "start_of_human": 52, "end_of_human": 53,
    "start_of_ai": 54, "end_of_ai": 55, "end_of_text": EOT, "first_code": 56, "codes": 24,
}  # fmt: skip
TEXTS = ("so it goes on", "hello there, how are you?", "a")
FRAMES = 200
BOOKS, ENTRIES, SPARE = 5, 32, 3  # of CSM: books, entries of the codec, ids that it does not have

PUBLISHED_TOKENS = {
    "start_of_human": 128_259, "end_of_text": 128_009, "end_of_human": 128_260,
    "start_of_ai": 128_261, "start_of_speech": 128_257, "end_of_speech": 128_258,
    "first_code": 128_266, "codes": 4096,
}  # fmt: skip
PUBLISHED_FRAMES = 4
LAYERS = 4
"""Of Orpheus; the published one has 28, and would take 13 GB here and as much again there."""


def letters(text: str) -> list[int]:
    """The tokens of a text: one a letter."""
    return [ALPHABET.index(letter) for letter in text]


def rope(original: int, factor: float = 8.0, low: float = 1.0, high: float = 4.0) -> dict[str, Any]:
    """With wavelengths in all three bands of the rescaling."""
    return {
        "rope_type": "llama3", "rope_theta": 500_000.0, "factor": factor, "low_freq_factor": low,
        "high_freq_factor": high, "original_max_position_embeddings": original,
    }  # fmt: skip


def spread(model, seed: int) -> None:
    """Random values that matter: maps that keep the size of what they are given, wide heads."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.randn(tensor.shape, generator=generator)
            if "norm" in name:
                tensor.copy_(1 + 0.2 * noise)
            elif "embed" in name:
                tensor.copy_(noise)
            elif "head" in name:
                tensor.copy_(4 * noise * model.config.hidden_size**-0.5)
            else:
                gain = 5.0 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.5
                tensor.copy_(gain * noise * tensor.shape[-1] ** -0.5)


def tokenizer(folder: Path) -> None:
    """One token a letter, controls, and as in Orpheus' own one that is not called special."""
    made = Tokenizer(models.BPE({letter: i for i, letter in enumerate(ALPHABET)}, []))
    made.add_special_tokens(list(CONTROLS))
    made.add_tokens(["<custom_token_1>"])
    made.save(str(folder / "tokenizer.json"))


def left(rows: list[list[int]]):
    """Rows padded on the left, and where they are not."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    return ids, torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])


def right(values: np.ndarray, lengths: list[int], fill: float) -> np.ndarray:
    """Rows [B, N, ...] that are padded on the left, on the right."""
    moved = np.full_like(values, fill)
    for row, length in enumerate(lengths):
        moved[row, :length] = values[row, values.shape[1] - length :]
    return moved


def small_csm() -> Any:
    """What the tests load."""
    shape = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
             "num_hidden_layers": 2, "vocab_size": ENTRIES + SPARE}  # fmt: skip
    return CsmConfig(
        **shape, hidden_size=32, intermediate_size=48, text_vocab_size=56, num_codebooks=BOOKS,
        max_position_embeddings=512, rope_parameters=rope(64), audio_token_id=AUDIO,
        audio_eos_token_id=AUDIO_END, pad_token_id=AUDIO, bos_token_id=BEGIN,
        codebook_pad_token_id=ENTRIES + SPARE - 1, codec_config=small_mimi(BOOKS, ENTRIES),
        depth_decoder_config=shape | {
            "hidden_size": 24, "intermediate_size": 40, "num_codebooks": BOOKS,
            "backbone_hidden_size": 32, "max_position_embeddings": 33,
            "rope_parameters": rope(32),
        },
    )  # fmt: skip


def published_csm() -> Any:
    """CSM-1B, but for its tokenizer and its Mimi."""
    return CsmConfig(
        rope_parameters=rope(1024, 32.0, 0.125, 0.5), audio_token_id=AUDIO,
        audio_eos_token_id=AUDIO_END, pad_token_id=AUDIO, bos_token_id=BEGIN,
        codec_config=small_mimi(32, 2048),
        depth_decoder_config={"rope_parameters": rope(16, 32.0, 2**-9, 2**-7)},
    )  # fmt: skip


def small_mimi(books: int, entries: int) -> dict[str, Any]:
    """A codec for CSM to hear with."""
    return {
        "model_type": "mimi", "num_filters": 2, "codebook_size": entries, "hidden_size": 8,
        "codebook_dim": 4, "vector_quantization_hidden_dimension": 4, "num_quantizers": books,
        "upsample_groups": 8, "num_hidden_layers": 1, "intermediate_size": 8,
        "num_attention_heads": 2, "num_key_value_heads": 2, "sliding_window": 10,
    }  # fmt: skip


def csm(folder: Path, config: Any, frames: int) -> tuple[Any, Callable]:
    """CSM: the first prompt has an utterance before it, with its sound.

    Returns:
        The model, and what says the second prompt.
    """
    books, ids = config.num_codebooks, config.vocab_size
    model = CsmForConditionalGeneration(config).eval()
    spread(model, 0)
    with torch.no_grad():
        for name, tensor in model.codec_model.named_buffers():
            if name.endswith("embed_sum"):
                tensor.normal_(generator=torch.Generator().manual_seed(len(name)))
    model.save_pretrained(folder)
    tokenizer(folder)

    sound = 0.3 * torch.randn(1, 1, 1920 * 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        codes = model.codec_model.encode(sound).audio_codes[0].T
    texts = [[BEGIN, *letters(f"[{row % 2}]{text}"), END] for row, text in enumerate(TEXTS)]
    texts[0] = [BEGIN, *letters("[0]hm."), END, *[AUDIO] * len(codes), AUDIO_END, *texts[0]]
    lengths = list(map(len, texts))
    tokens = np.full((len(texts), max(lengths), books + 1), -1)
    for row, text in enumerate(texts):
        tokens[row, : len(text), -1] = text
    heard = (tokens[0, :, -1] == AUDIO) | (tokens[0, :, -1] == AUDIO_END)
    tokens[0, heard, :-1] = np.concatenate([codes.numpy(), np.zeros((1, books))])
    tokens[0, heard, -1] = -1

    def inputs(rows):
        ids, mask = left(rows)
        cuts = [[sound.shape[-1]] if AUDIO in row else [-1] for row in rows]
        made = {"input_ids": ids, "attention_mask": mask}
        if AUDIO in rows[0]:
            silent = torch.zeros(len(rows) - 1, *sound.shape[1:])
            made |= {"input_values": torch.cat([sound, silent]),
                     "input_values_cutoffs": torch.tensor(cuts)}  # fmt: skip
        return made

    never = list(range(config.codec_config.codebook_size, ids))

    def say(rows):
        return model.generate(
            **inputs(rows), max_new_tokens=frames, do_sample=False, depth_decoder_do_sample=False,
            suppress_tokens=never, depth_decoder_suppress_tokens=never,
        )  # fmt: skip

    with torch.no_grad():
        out = model(**inputs(texts), output_hidden_states=True)
        alone = model(**inputs(texts[1:2]))
        said = say(texts)
        hidden = out.hidden_states[-1][:, -1]
        depth = model.depth_decoder(
            input_ids=torch.nn.functional.pad(said[:, 0], (1, 0))[:, :books],
            backbone_last_hidden_state=hidden,
        )
    np.savez_compressed(
        folder / "answers.npz", tokens=tokens.astype(np.int16), lengths=np.array(lengths),
        logits=right(out.logits.numpy(), lengths, 0), alone=alone.logits.numpy(),
        hidden=hidden.numpy(), depth=depth.logits.numpy(), said=said.numpy().astype(np.int16),
    )  # fmt: skip
    return model, lambda: say(texts[1:2])


def orpheus(
    folder: Path, tokens: dict[str, int], frames: int, **sizes: Any
) -> tuple[Any, Callable]:
    """Orpheus: once with every token, once with those alone that a frame may have at a place.

    Returns:
        The model, and what says the second prompt.
    """
    first, codes, end = tokens["first_code"], tokens["codes"], tokens["end_of_speech"]
    config = LlamaConfig(
        **sizes, vocab_size=first + 7 * codes + 2, tie_word_embeddings=True, rms_norm_eps=1e-5,
        bos_token_id=BEGIN, eos_token_id=tokens["end_of_text"],
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    spread(model, 0)
    with torch.no_grad():
        model.model.embed_tokens.weight[end] *= 0.6  # so that it takes them a while
    model.save_pretrained(folder)
    tokenizer(folder)

    after = [tokens[name] for name in ("end_of_text", "end_of_human", "start_of_ai",
                                       "start_of_speech")]  # fmt: skip
    texts = [[tokens["start_of_human"], BEGIN, *letters(f"tara: {text}"), *after] for text in TEXTS]
    lengths = list(map(len, texts))

    def allowed(row, so_far):
        place = (len(so_far) - max(lengths)) % 7
        begin = first + place * codes
        return [*range(begin, begin + codes), *([] if place else [end])]

    ids, mask = left(texts)
    pad = {"attention_mask": mask, "pad_token_id": 0, "do_sample": False}
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask)
        alone = model(input_ids=torch.tensor(texts[1:2]))
        free = model.generate(ids, **pad, max_new_tokens=frames, eos_token_id=None)
        more = {"max_new_tokens": 7 * frames, "eos_token_id": end, **pad}
        said = model.generate(ids, **more, prefix_allowed_tokens_fn=allowed)
        varied = model.generate(
            ids, **more, prefix_allowed_tokens_fn=allowed, repetition_penalty=1.3
        )
    kind = np.int16 if config.vocab_size < 2**15 else np.int32
    cut = lambda made: made[:, ids.shape[1] :].numpy().astype(kind)  # noqa: E731
    np.savez_compressed(
        folder / "answers.npz", tokens=right(ids.numpy(), lengths, 0).astype(kind),
        lengths=np.array(lengths), logits=right(out.logits.numpy(), lengths, 0),
        alone=alone.logits.numpy(), free=cut(free), said=cut(said), varied=cut(varied),
    )  # fmt: skip
    one = ids[1:2, -lengths[1] :]
    more = {"attention_mask": torch.ones_like(one), "max_new_tokens": 7 * frames,
            "pad_token_id": 0, "do_sample": False, "eos_token_id": None}  # fmt: skip
    return model, lambda: model.generate(one, **more)


def main(out: Path, name: str | None = None) -> None:
    """Writes both small ones, or one of true size, and answers for it."""
    if name is None:
        csm(out / "csm", small_csm(), FRAMES)
        orpheus(
            out / "orpheus", TOKENS, FRAMES, hidden_size=32, intermediate_size=48,
            num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
            max_position_embeddings=2048, rope_parameters=rope(64),
        )  # fmt: skip
        return
    if name == "csm":
        model, say = csm(out, published_csm(), PUBLISHED_FRAMES)
    else:
        model, say = orpheus(
            out, PUBLISHED_TOKENS, PUBLISHED_FRAMES, hidden_size=3072, intermediate_size=8192,
            num_hidden_layers=LAYERS, num_attention_heads=24, num_key_value_heads=8, head_dim=128,
            max_position_embeddings=131_072, rope_parameters=rope(8192, 32.0),
        )  # fmt: skip
    serve(model, {"say": say})


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
