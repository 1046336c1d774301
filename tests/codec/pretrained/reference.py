"""Writes what the tests of `codec.pretrained` compare with: run it where the references are.

    python -m experiments.parity --set-up runs/torch
    runs/torch/bin/python -m tests.codec.pretrained.reference tests/codec/pretrained

Small models of the true layout with random weights, as transformers itself saves them, and what
transformers makes of a noise: codes and samples for lengths that fill their frames and that do not.
Random codebooks are spread out, so that no two entries are nearly equally near. SNAC's own package
saves no safetensors: its tensors are written under their names.

With the name of a codec it is that one in the size that is published, which `experiments.parity`
then asks for its times, line by line.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

try:
    import torch
    import transformers
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


class Reference(NamedTuple):
    """A codec, and how it is asked."""

    make: Callable[[], Any]
    encode: Callable  # of the model and samples [B, 1, S]: codes [B, Q, T]
    decode: Callable  # of the model and codes: samples [B, S]
    lengths: Sequence[int]  # of noises
    config: dict | None = None  # of what is not one of transformers' models


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


@contextmanager
def levelled(model) -> Iterator[None]:
    """Meanwhile convolutions outside the quantiser get weights by which their outputs vary.

    A fresh EnCodec of true size ends with latents that differ by a fiftieth of their mean: there
    the sums of float32 decide between entries, not what was heard.
    """

    def level(conv, _, out):
        weights = ("weight", "weight_g", "parametrizations.weight.original0")
        scale = 0.5 / out.std(-1).mean()
        for name, gain in conv.named_parameters():
            if name in weights:
                gain.mul_(scale)
        bias = 0.0 if conv.bias is None else conv.bias[:, None]
        return (out - bias) * scale + bias

    kinds = (torch.nn.Conv1d, torch.nn.ConvTranspose1d)
    convs = [m for name, m in model.named_modules() if isinstance(m, kinds) and "quant" not in name]
    hooks = [conv.register_forward_hook(level) for conv in convs]
    yield
    for hook in hooks:
        hook.remove()


# ---- searches ------------------------------------------------------------------------------------


@contextmanager
def searched(model, see: Callable) -> Iterator[None]:
    """Meanwhile `see(book, vectors [N, D])` is called before a book is searched for vectors."""

    def watched(book, search):
        def call(x):
            see(book, x if x.ndim == 2 else x.transpose(1, 2).flatten(0, 1))
            return search(x)

        return call

    names = ("quantize", "decode_latents")  # of Mimi and EnCodec, of DAC and SNAC
    found = [(book, name) for book in model.modules() for name in names if hasattr(book, name)]
    for book, name in found:
        setattr(book, name, watched(book, getattr(book, name)))
    yield
    for book, name in found:
        delattr(book, name)


def fit(book, vectors) -> None:
    """Entries spread like the vectors, and half as far, so that what is left does not grow."""
    entries = table(book)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(entries.shape, generator=generator) * 0.5 * vectors.std(0) + vectors.mean(0)
    if hasattr(book, "embed_sum"):  # Mimi's: its table is a sum over a number, and is remembered
        book.embed_sum.copy_(drawn * book.cluster_usage[:, None])
        book._embed = None
    else:
        entries.copy_(drawn)


def table(book):
    """The entries of a book."""
    return book.embed if hasattr(book, "embed") else book.codebook.weight


def nearest(book, vectors) -> np.ndarray:
    """[N, 3] the two nearest entries, and by what part the second square is the larger."""
    x, entries = vectors.double(), table(book).double()
    if hasattr(book, "in_proj"):  # searched by angle
        x, entries = (torch.nn.functional.normalize(a) for a in (x, entries))
    near = torch.cdist(x, entries, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    squares, entries = near.topk(2, largest=False)
    margin = 1 - squares[:, :1] / squares[:, 1:]
    return torch.cat([entries, margin], dim=1).numpy()


# ---- writing -------------------------------------------------------------------------------------


def save(folder: Path, model, config: dict | None) -> None:
    """As transformers does; with a config what is not one of its models, in half precision."""
    if config is None:
        return model.save_pretrained(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(model.half().state_dict(), folder / "model.safetensors")
    model.float()


def write(folder: Path, known: Reference, fitted: bool = False):
    """The model, and its answers: codes [B, T, Q], samples [B, S]; returns the model.

    Args:
        folder: To write to.
        known: What.
        fitted: Levelled, and books by `fit`, or at true size most codes would be the same few; and
            what was nearly as near as each code, since of so many some are ties.
    """
    model = known.make()
    spread(model)
    model.eval()
    if fitted:
        samples = torch.from_numpy(noise(max(known.lengths)))[:, None]
        with torch.no_grad(), levelled(model), searched(model, fit):
            known.decode(model, known.encode(model, samples))
    save(folder, model, known.config)
    answers = {}
    for length in known.lengths:
        near = []
        with torch.no_grad():
            with searched(model, lambda *args, near=near: near.append(nearest(*args))):
                codes = known.encode(model, torch.from_numpy(noise(length))[:, None])
            decoded = known.decode(model, codes)
        codes = codes.transpose(1, 2).numpy().astype(np.int16)
        answers |= {f"codes_{length}": codes, f"decoded_{length}": decoded.numpy()}
        if fitted:
            columns = [part.reshape(*codes.shape[:2], -1, 3) for part in near]
            first, second, margins = np.moveaxis(np.concatenate(columns, axis=2), -1, 0)
            answers |= {
                f"rivals_{length}": np.where(codes == first, second, first).astype(np.int16),
                f"margins_{length}": margins.astype(np.float32),
            }
    np.savez_compressed(folder / "answers.npz", **answers)
    return model


def serve(model, calls: dict[str, Callable[[], Any]]) -> None:
    """Says how large a model is; then for every call that stdin names, the seconds it took."""
    size = sum(p.numel() for p in model.parameters()) / 1e6
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({"parameters_m": size, "threads": torch.get_num_threads()} | versions))
    sys.stdout.flush()
    for line in sys.stdin:
        begun = time.perf_counter()
        with torch.inference_mode():
            calls[line.strip()]()
        print(time.perf_counter() - begun, flush=True)


# ---- codecs --------------------------------------------------------------------------------------


def mimi(lengths: Sequence[int], **sizes) -> Reference:
    """Mimi."""
    return Reference(
        lambda: MimiModel(MimiConfig(**sizes)),
        lambda model, x: model.encode(x).audio_codes,
        lambda model, codes: model.decode(codes).audio_values[:, 0],
        lengths,
    )


def encodec(lengths: Sequence[int], **sizes) -> Reference:
    """EnCodec, with all its books."""
    return Reference(
        lambda: EncodecModel(EncodecConfig(**sizes)),
        lambda model, x: model.encode(x, bandwidth=max(model.config.target_bandwidths)).audio_codes[
            0
        ],
        lambda model, codes: model.decode(codes[None], [None]).audio_values[:, 0],
        lengths,
    )


def dac(lengths: Sequence[int], **sizes) -> Reference:
    """DAC."""

    def make():
        model = DacModel(DacConfig(**sizes))
        for module in model.modules():  # transformers begins with weights that hardly matter
            if isinstance(module, torch.nn.Conv1d):
                module.reset_parameters()
        return model

    def encode(model, samples):
        """Filled up to whole frames, as its feature extractor does."""
        config = model.config
        fill = DacFeatureExtractor(sampling_rate=config.sampling_rate, hop_length=config.hop_length)
        filled = fill(list(samples[:, 0].numpy()), sampling_rate=config.sampling_rate)
        return model.encode(torch.from_numpy(np.stack(filled["input_values"]))).audio_codes

    return Reference(
        make, encode, lambda model, codes: model.decode(audio_codes=codes).audio_values, lengths
    )


def snac(lengths: Sequence[int], **sizes) -> Reference:
    """SNAC: its levels in columns, each in order of time; with `breath` for noise."""
    config = sizes | {"noise": True, "depthwise": True}

    def encode(model, samples):
        codes = model.encode(samples)
        batch, frames = codes[0].shape
        return torch.cat([c.reshape(batch, frames, -1) for c in codes], -1).transpose(1, 2)

    def decode(model, codes):
        counts = [model.vq_strides[0] // stride for stride in model.vq_strides]
        levels = codes.transpose(1, 2).split(counts, -1)
        randn = lambda shape, **_: breath(torch.arange(shape[-1])).expand(shape)  # noqa: E731
        with mock.patch("torch.randn", randn):
            return model.decode([level.flatten(1) for level in levels])[:, 0]

    return Reference(lambda: SNAC(**config), encode, decode, lengths, config)


def small() -> dict[str, Reference]:
    """What the tests load."""
    shared = {"num_filters": 2, "codebook_size": 32}
    angles = {"codebook_size": 32, "codebook_dim": 4, "sampling_rate": 24_000}
    return {
        "mimi": mimi(
            [1920 * 12, 1920 * 3 + 701, 501], **shared, hidden_size=16, codebook_dim=8,
            vector_quantization_hidden_dimension=8, num_quantizers=6, upsample_groups=16,
            num_hidden_layers=2, intermediate_size=32, num_attention_heads=2,
            num_key_value_heads=2, sliding_window=10,
        ),
        "encodec": encodec(
            [320 * 40, 320 * 11 + 77, 501], **shared, hidden_size=16, target_bandwidths=[1.5, 3.0]
        ),
        "dac": dac(
            [10 * 40, 10 * 12 + 7], encoder_hidden_size=4, decoder_hidden_size=16,
            downsampling_ratios=[2, 5], n_codebooks=3, **angles,
        ),
        "snac": snac(
            [12 * 24, 12 * 7 + 5], encoder_dim=8, encoder_rates=[3], decoder_dim=16,
            decoder_rates=[3], attn_window_size=None, vq_strides=[4, 2, 1], **angles,
        ),
        "snac_windows": snac(
            [4 * 64, 4 * 21 + 3], encoder_dim=32, encoder_rates=[2], decoder_dim=64,
            decoder_rates=[2], attn_window_size=8, vq_strides=[2, 1],
            **angles | {"sampling_rate": 32_000},
        ),
    }  # fmt: skip


SECONDS = 10
"""Of the clip of true size that is timed: a row of noise."""


def published() -> dict[str, Reference]:
    """In the sizes that are published: a long row, three of them, and less than a frame or two.

    Of Mimi the three are longer than its attention sees, ten seconds.
    """
    lengths = lambda rate, s: [rate * SECONDS, int(rate * s) | 1, 501]  # noqa: E731
    angles = {"encoder_hidden_size": 64, "decoder_hidden_size": 1536}
    return {
        "mimi": mimi(lengths(24_000, 12.5)),
        "encodec": encodec(lengths(24_000, 2.3)),
        "dac_16khz": dac(
            lengths(16_000, 2.3), **angles, downsampling_ratios=[2, 4, 5, 8], n_codebooks=12,
            sampling_rate=16_000,
        ),
        "dac_24khz": dac(
            lengths(24_000, 2.3), **angles, downsampling_ratios=[2, 4, 5, 8], n_codebooks=32,
            sampling_rate=24_000,
        ),
        "dac_44khz": dac(
            lengths(44_100, 2.3), **angles, downsampling_ratios=[2, 4, 8, 8], n_codebooks=9,
            sampling_rate=44_100,
        ),
        "snac_24khz": snac(
            lengths(24_000, 2.3), encoder_dim=48, encoder_rates=[2, 4, 8, 8], decoder_dim=1024,
            decoder_rates=[8, 8, 4, 2], attn_window_size=None, vq_strides=[4, 2, 1],
            codebook_size=4096, codebook_dim=8, sampling_rate=24_000,
        ),
    }  # fmt: skip


def main(out: Path, name: str | None = None) -> None:
    """Writes all small ones, or one of true size, and answers for it."""
    torch.manual_seed(0)
    if name is None:
        for each, known in small().items():
            write(out / each, known)
        return
    known = published()[name]
    model = write(out, known, fitted=True)
    length = known.lengths[0]
    samples = torch.from_numpy(noise(length))[:, None]
    with torch.inference_mode():
        codes = known.encode(model, samples)
    calls = {
        "encode": lambda: known.encode(model, samples),
        "decode": lambda: known.decode(model, codes),
    }
    serve(model, calls)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
