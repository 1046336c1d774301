"""Writes what the tests of `codec.pretrained` compare with: run it where transformers is installed.

    python tests/codec/pretrained/reference.py tests/codec/pretrained

Small models of the true layout with random weights, as transformers itself saves them, and what
transformers makes of a noise: codes and samples for lengths that fill their frames and that do not.
Random codebooks are spread out, so that no two entries are nearly equally near.
"""

import sys
from pathlib import Path

import numpy as np

try:
    import torch
    from transformers import EncodecConfig, EncodecModel, MimiConfig, MimiModel
except ImportError:  # the tests need `noise` alone
    torch = None


def spread(model) -> None:
    """Random values where a fresh model has zeros, and no weight that hardly matters."""
    generator = torch.Generator().manual_seed(0)
    rand = lambda t, scale: torch.randn(t.shape, generator=generator) * scale  # noqa: E731
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith((".embed", ".embed_sum", ".embed_avg")):
                tensor.copy_(rand(tensor, 1.0))
            elif name.endswith("cluster_usage"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif name.endswith("scale"):
                tensor.copy_(0.5 + rand(tensor, 0.1))
            elif "layernorm" in name:
                tensor.copy_(rand(tensor, 0.2) + (1.0 if name.endswith("weight") else 0.0))
            elif ".bias" in name:
                tensor.copy_(rand(tensor, 0.1))


def noise(length: int) -> np.ndarray:
    """What is coded: one row, or three if the length is odd."""
    rows = 3 if length % 2 else 1
    return 0.3 * np.random.default_rng(length).standard_normal((rows, length)).astype(np.float32)


def write(folder: Path, model, lengths: list[int], encode) -> None:
    """The model, and its answers."""
    spread(model)
    model.eval()
    model.save_pretrained(folder)
    answers = {}
    for length in lengths:
        samples = noise(length)
        with torch.no_grad():
            codes = encode(model, torch.from_numpy(samples)[:, None])
            if codes.dim() == 4:
                decoded = model.decode(codes, [None]).audio_values
                codes = codes[0]
            else:
                decoded = model.decode(codes).audio_values
        answers |= {
            f"codes_{length}": codes.transpose(1, 2).numpy().astype(np.int16),
            f"decoded_{length}": decoded[:, 0].numpy(),
        }
    np.savez_compressed(folder / "answers.npz", **answers)


def main(out: Path) -> None:
    """Writes all of them."""
    shared = {"num_filters": 2, "codebook_size": 32}
    mimi = MimiConfig(
        **shared, hidden_size=16, codebook_dim=8, vector_quantization_hidden_dimension=8,
        num_quantizers=6, upsample_groups=16, num_hidden_layers=2, intermediate_size=32,
        num_attention_heads=2, num_key_value_heads=2, sliding_window=10,
    )  # fmt: skip
    write(
        out / "mimi", MimiModel(mimi), [1920 * 12, 1920 * 3 + 701, 501],
        lambda model, x: model.encode(x).audio_codes,
    )  # fmt: skip
    encodec = EncodecConfig(**shared, hidden_size=16, target_bandwidths=[1.5, 3.0])
    write(
        out / "encodec", EncodecModel(encodec), [320 * 40, 320 * 11 + 77, 501],
        lambda model, x: model.encode(x, bandwidth=3.0).audio_codes,
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
