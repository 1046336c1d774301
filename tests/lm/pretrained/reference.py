"""Writes what the tests of `lm.pretrained` compare with: run it where transformers is installed.

    python -m tests.lm.pretrained.reference tests/lm/pretrained

Small models of the true layout with random weights, as transformers itself saves them, and what
transformers makes of three prompts at once, padded on the left, and of one alone: logits, and what
it says greedily. Embeddings and heads are spread out, so that no two logits are nearly equal.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

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


def letters(text: str) -> list[int]:
    """The tokens of a text: one a letter."""
    return [ALPHABET.index(letter) for letter in text]


def rope(original: int) -> dict[str, Any]:
    """With wavelengths in all three bands of the rescaling."""
    return {
        "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": original,
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


def csm(folder: Path) -> None:
    """CSM: the first prompt has an utterance before it, with its sound."""
    shape = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
             "num_hidden_layers": 2, "vocab_size": ENTRIES + SPARE}  # fmt: skip
    codec = {
        "model_type": "mimi", "num_filters": 2, "codebook_size": ENTRIES, "hidden_size": 8,
        "codebook_dim": 4, "vector_quantization_hidden_dimension": 4, "num_quantizers": BOOKS,
        "upsample_groups": 8, "num_hidden_layers": 1, "intermediate_size": 8,
        "num_attention_heads": 2, "num_key_value_heads": 2, "sliding_window": 10,
    }  # fmt: skip
    config = CsmConfig(
        **shape, hidden_size=32, intermediate_size=48, text_vocab_size=56, num_codebooks=BOOKS,
        max_position_embeddings=512, rope_parameters=rope(64), audio_token_id=AUDIO,
        audio_eos_token_id=AUDIO_END, pad_token_id=AUDIO, bos_token_id=BEGIN,
        codebook_pad_token_id=ENTRIES + SPARE - 1, codec_config=codec,
        depth_decoder_config=shape | {
            "hidden_size": 24, "intermediate_size": 40, "num_codebooks": BOOKS,
            "backbone_hidden_size": 32, "max_position_embeddings": 33,
            "rope_parameters": rope(32),
        },
    )  # fmt: skip
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
    tokens = np.full((len(texts), max(lengths), BOOKS + 1), -1)
    for row, text in enumerate(texts):
        tokens[row, : len(text), -1] = text
    heard = (tokens[0, :, -1] == AUDIO) | (tokens[0, :, -1] == AUDIO_END)
    tokens[0, heard, :-1] = np.concatenate([codes.numpy(), np.zeros((1, BOOKS))])
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

    with torch.no_grad():
        out = model(**inputs(texts), output_hidden_states=True)
        alone = model(**inputs(texts[1:2]))
        never = list(range(ENTRIES, ENTRIES + SPARE))
        said = model.generate(
            **inputs(texts), max_new_tokens=FRAMES, do_sample=False, depth_decoder_do_sample=False,
            suppress_tokens=never, depth_decoder_suppress_tokens=never,
        )  # fmt: skip
        hidden = out.hidden_states[-1][:, -1]
        depth = model.depth_decoder(
            input_ids=torch.nn.functional.pad(said[:, 0], (1, 0))[:, :BOOKS],
            backbone_last_hidden_state=hidden,
        )
    np.savez_compressed(
        folder / "answers.npz", tokens=tokens.astype(np.int16), lengths=np.array(lengths),
        logits=right(out.logits.numpy(), lengths, 0), alone=alone.logits.numpy(),
        hidden=hidden.numpy(), depth=depth.logits.numpy(), said=said.numpy().astype(np.int16),
    )  # fmt: skip


def orpheus(folder: Path) -> None:
    """Orpheus: once with every token, once with those alone that a frame may have at a place."""
    first, codes, end = TOKENS["first_code"], TOKENS["codes"], TOKENS["end_of_speech"]
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, vocab_size=first + 7 * codes + 2,
        max_position_embeddings=2048, rope_parameters=rope(64), tie_word_embeddings=True,
        rms_norm_eps=1e-5, bos_token_id=BEGIN, eos_token_id=EOT,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    spread(model, 0)
    with torch.no_grad():
        model.model.embed_tokens.weight[end] *= 0.6  # so that it takes them a while
    model.save_pretrained(folder)
    tokenizer(folder)

    after = [TOKENS[name] for name in ("end_of_text", "end_of_human", "start_of_ai",
                                       "start_of_speech")]  # fmt: skip
    texts = [[TOKENS["start_of_human"], BEGIN, *letters(f"tara: {text}"), *after] for text in TEXTS]
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
        free = model.generate(ids, **pad, max_new_tokens=FRAMES, eos_token_id=None)
        more = {"max_new_tokens": 7 * FRAMES, "eos_token_id": end, **pad}
        said = model.generate(ids, **more, prefix_allowed_tokens_fn=allowed)
        varied = model.generate(
            ids, **more, prefix_allowed_tokens_fn=allowed, repetition_penalty=1.3
        )
    tokens = right(ids.numpy(), lengths, 0)
    cut = lambda made: made[:, ids.shape[1] :].numpy().astype(np.int16)  # noqa: E731
    np.savez_compressed(
        folder / "answers.npz", tokens=tokens.astype(np.int16), lengths=np.array(lengths),
        logits=right(out.logits.numpy(), lengths, 0), alone=alone.logits.numpy(), free=cut(free),
        said=cut(said), varied=cut(varied),
    )  # fmt: skip


def main(out: Path) -> None:
    """Writes both of them."""
    csm(out / "csm")
    orpheus(out / "orpheus")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
