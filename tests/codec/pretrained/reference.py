"""Writes what the tests of `codec.pretrained` compare with: run it where the references are.

    pip install transformers torch && pip install --no-deps snac einops
    python tests/codec/pretrained/reference.py tests/codec/pretrained

Small models of the true layout with random weights, as transformers itself saves them, and what
transformers makes of a noise: codes and samples for lengths that fill their frames and that do not.
Random codebooks are spread out, so that no two entries are nearly equally near. SNAC's own package
saves no safetensors: its tensors are written under their names.
"""

import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np

try:
    import torch
    from safetensors.torch import save_file
    from snac import SNAC
    from transformers import (
        DacConfig,
        DacFeatureExtractor,
        DacModel,
        EncodecConfig,
        EncodecModel,
        MimiConfig,
        MimiModel,
    )
except ImportError:  # the tests need `noise` and `breath` alone
    torch = None


def spread(model) -> None:
    """Random values where a fresh model has zeros, and no weight that hardly matters."""
    generator = torch.Generator().manual_seed(0)
    rand = lambda t, scale: torch.randn(t.shape, generator=generator) * scale  # noqa: E731
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith((".embed", ".embed_sum", ".embed_avg", "codebook.weight")):
                tensor.copy_(rand(tensor, 1.0))
            elif name.endswith("cluster_usage"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif name.endswith("scale"):
                tensor.copy_(0.5 + rand(tensor, 0.1))
            elif "norm." in name and "parametrizations" not in name:
                tensor.copy_(rand(tensor, 0.2) + (1.0 if name.endswith("weight") else 0.0))
            elif name.endswith("alpha"):
                tensor.copy_(1.0 + rand(tensor, 0.3))
            elif ".bias" in name:
                tensor.copy_(rand(tensor, 0.1))


def noise(length: int) -> np.ndarray:
    """What is coded: one row, or three if the length is odd."""
    rows = 3 if length % 2 else 1
    return 0.3 * np.random.default_rng(length).standard_normal((rows, length)).astype(np.float32)


def breath(at):
    """What stands for a random number at a place, in torch as in JAX."""
    return (at * 7919 % 101) / 50 - 1


def save(folder: Path, model, config: dict | None) -> None:
    """As transformers does; with a config what is not one of its models, in half precision."""
    if config is None:
        return model.save_pretrained(folder)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(model.half().state_dict(), folder / "model.safetensors")
    model.float()


def write(folder: Path, model, lengths: list[int], encode, decode, config=None) -> None:
    """The model, and its answers: codes [B, Q, T], samples [B, S]."""
    spread(model)
    model.eval()
    save(folder, model, config)
    answers = {}
    for length in lengths:
        with torch.no_grad():
            codes = encode(model, torch.from_numpy(noise(length))[:, None])
            decoded = decode(model, codes)
        answers |= {
            f"codes_{length}": codes.transpose(1, 2).numpy().astype(np.int16),
            f"decoded_{length}": decoded.numpy(),
        }
    np.savez_compressed(folder / "answers.npz", **answers)


def dac_encode(model, samples):
    """Filled up to whole frames, as its feature extractor does."""
    config = model.config
    fill = DacFeatureExtractor(sampling_rate=config.sampling_rate, hop_length=config.hop_length)
    filled = fill(list(samples[:, 0].numpy()), sampling_rate=config.sampling_rate)
    return model.encode(torch.from_numpy(np.stack(filled["input_values"]))).audio_codes


def snac_encode(model, samples):
    """Its levels in columns, each in order of time."""
    codes = model.encode(samples)
    batch, frames = codes[0].shape
    return torch.cat([c.reshape(batch, frames, -1) for c in codes], -1).transpose(1, 2)


def snac_decode(model, codes):
    """From columns, with `breath` for noise."""
    counts = [model.vq_strides[0] // stride for stride in model.vq_strides]
    levels = codes.transpose(1, 2).split(counts, -1)
    randn = lambda shape, **_: breath(torch.arange(shape[-1])).expand(shape)  # noqa: E731
    with mock.patch("torch.randn", randn):
        return model.decode([level.flatten(1) for level in levels])[:, 0]


def main(out: Path) -> None:
    """Writes all of them."""
    torch.manual_seed(0)
    shared = {"num_filters": 2, "codebook_size": 32}
    mimi = MimiConfig(
        **shared, hidden_size=16, codebook_dim=8, vector_quantization_hidden_dimension=8,
        num_quantizers=6, upsample_groups=16, num_hidden_layers=2, intermediate_size=32,
        num_attention_heads=2, num_key_value_heads=2, sliding_window=10,
    )  # fmt: skip
    write(
        out / "mimi", MimiModel(mimi), [1920 * 12, 1920 * 3 + 701, 501],
        lambda model, x: model.encode(x).audio_codes,
        lambda model, codes: model.decode(codes).audio_values[:, 0],
    )  # fmt: skip
    encodec = EncodecConfig(**shared, hidden_size=16, target_bandwidths=[1.5, 3.0])
    write(
        out / "encodec", EncodecModel(encodec), [320 * 40, 320 * 11 + 77, 501],
        lambda model, x: model.encode(x, bandwidth=3.0).audio_codes[0],
        lambda model, codes: model.decode(codes[None], [None]).audio_values[:, 0],
    )  # fmt: skip
    dac = DacModel(
        DacConfig(
            encoder_hidden_size=4, decoder_hidden_size=16, downsampling_ratios=[2, 5],
            n_codebooks=3, codebook_size=32, codebook_dim=4, sampling_rate=24_000,
        )
    )  # fmt: skip
    for module in dac.modules():  # transformers begins with weights that hardly matter
        if isinstance(module, torch.nn.Conv1d):
            module.reset_parameters()
    write(
        out / "dac", dac, [10 * 40, 10 * 12 + 7],
        dac_encode, lambda model, codes: model.decode(audio_codes=codes).audio_values,
    )  # fmt: skip
    shared = {"codebook_size": 32, "codebook_dim": 4, "noise": True, "depthwise": True}
    for name, config, lengths in (
        (
            "snac",
            {"encoder_dim": 8, "encoder_rates": [3], "decoder_dim": 16, "decoder_rates": [3],
             "attn_window_size": None, "vq_strides": [4, 2, 1], "sampling_rate": 24_000},
            [12 * 24, 12 * 7 + 5],
        ),
        (
            "snac_windows",
            {"encoder_dim": 32, "encoder_rates": [2], "decoder_dim": 64, "decoder_rates": [2],
             "attn_window_size": 8, "vq_strides": [2, 1], "sampling_rate": 32_000},
            [4 * 64, 4 * 21 + 3],
        ),
    ):  # fmt: skip
        config |= shared
        write(out / name, SNAC(**config), lengths, snac_encode, snac_decode, config)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
