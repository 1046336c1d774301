"""One sentence, streamed, measured and drawn: `make demo`, `voiceloom demo`.

Leaves `demo.wav` and `demo.png` in the current folder. The picture shows the same stretch of time
four times: the waveform with the chunks it came in, its spectrogram, the codes that were written
(one row a codebook, one column a frame), and the phones where the pointer reached them.
"""

import sys
from pathlib import Path

import numpy as np
import scipy.signal

from voiceloom.cli import describe
from voiceloom.speaker import Report
from voiceloom.waveform import Chunk

TEXT = "Every word you hear was written as numbers first, and spoken while the rest was still ink."

_INK, _PAPER, _GREY, _ACCENT = "#1b1f3b", "#ffffff", "#8a8fa8", "#d1495b"
_FLOOR_DB = -70.0


def run(weights: Path | None = None, text: str = TEXT, voice: str | None = None) -> None:
    """Speaks `text`, prints the figures, leaves demo.wav and demo.png."""
    from voiceloom.synthesizer import load

    synth = load(weights)
    voice = voice or (synth.voices[0] if synth.voices else None)
    print(f"models compiled in {synth.engine.compile_s:.1f} s (not part of the times below)")
    print(f"{voice}: {text}")
    with synth.stream(text, voice) as speech:
        chunks = list(speech)
        report = speech.report
    whole = Chunk.join(chunks)
    print(describe(report))
    print(f"  chunks of {', '.join(str(len(chunk.codes)) for chunk in chunks)} frames")
    whole.save("demo.wav")
    draw(chunks, text, str(voice), report, Path("demo.png"))
    print("demo.wav and demo.png are written")


def draw(chunks: list[Chunk], text: str, voice: str, report: Report, path: Path) -> None:
    """Writes the picture of an utterance to a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    whole = Chunk.join(chunks)
    style = {
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": _GREY,
        "xtick.color": _GREY,
        "ytick.color": _GREY,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with plt.rc_context(style):
        figure, axes = plt.subplots(
            4, 1, figsize=(14, 8.6), sharex=True, facecolor=_PAPER, layout="constrained",
            gridspec_kw={"height_ratios": [1.0, 1.9, 1.0, 0.62]},
        )  # fmt: skip
        figure.get_layout_engine().set(h_pad=0.06, hspace=0.02)
        _draw_wave(axes[0], chunks)
        _draw_spectrogram(axes[1], whole)
        _draw_codes(axes[2], whole)
        _draw_phones(axes[3], whole, text)
        axes[0].set_xlim(0, whole.duration_s)
        figure.suptitle(
            f"“{text}”", x=0.012, ha="left", fontsize=15, fontweight="bold", color=_INK, wrap=True
        )
        rate, books = len(whole.codes) / whole.duration_s, whole.codes.shape[1]
        axes[0].set_title(
            f"{voice}   ·   {whole.duration_s:.2f} s   ·   {rate * books:.0f} tokens a second   "
            f"·   first audio after {1000 * report.first_audible_s:.0f} ms   "
            f"·   real-time factor {report.real_time_factor:.2f}",
            loc="left", fontsize=10.5, color=_GREY, pad=8,
        )  # fmt: skip
        figure.savefig(path, dpi=130)
        plt.close(figure)


def _draw_wave(axis, chunks: list[Chunk]) -> None:
    whole = Chunk.join(chunks)
    times = np.arange(len(whole.samples)) / whole.sample_rate
    axis.fill_between(*_envelope(times, whole.samples), color=_INK, lw=0.4)
    for chunk in chunks[1:]:
        axis.axvline(chunk.start_s, color=_ACCENT, lw=0.9, alpha=0.75)
    top = 1.15 * max(1e-3, float(np.abs(whole.samples).max()))
    axis.set(ylim=(-top, top), yticks=[], ylabel="waveform\nand chunks")
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(bottom=False)


def _envelope(times: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time, minimum and maximum of every 2000th part: what a plot of so many samples shows."""
    size = max(1, len(samples) // 2000)
    count = len(samples) // size
    blocks = samples[: count * size].reshape(count, size)
    return times[: count * size : size], blocks.min(axis=1), blocks.max(axis=1)


def _draw_spectrogram(axis, whole: Chunk) -> None:
    window, hop = 600, 120  # 25 ms and 5 ms at 24 kHz
    frequencies, times, power = scipy.signal.stft(
        whole.samples, whole.sample_rate, "hann", window, window - hop, 1024, padded=True
    )
    level = 20 * np.log10(np.abs(power) + 1e-9)
    axis.pcolormesh(
        times, frequencies / 1000, level, cmap="magma", shading="auto", rasterized=True,
        vmin=level.max() + _FLOOR_DB, vmax=level.max() - 3,
    )  # fmt: skip
    axis.set(ylim=(0, 8), yticks=[0, 2, 4, 6, 8], ylabel="kHz")


def _draw_codes(axis, whole: Chunk) -> None:
    frames, books = whole.codes.shape
    frame_s = (whole.duration_s + 0.02) / frames  # the codec's delay is dropped at the beginning
    edges = np.arange(frames + 1) * frame_s
    axis.pcolormesh(
        edges, np.arange(books + 1) + 0.5, whole.codes.T, cmap="twilight", rasterized=True,
        edgecolors=_PAPER, linewidth=0.4,
    )  # fmt: skip
    axis.set(ylabel="codebook", yticks=[1, books], ylim=(books + 0.5, 0.5))
    axis.spines[["left", "bottom"]].set_visible(False)


def _draw_phones(axis, whole: Chunk, text: str) -> None:
    ends = [onset.time_s for onset in whole.onsets[1:]] + [whole.duration_s]
    words: dict[int, list] = {}
    for i, (onset, end) in enumerate(zip(whole.onsets, ends, strict=True)):
        pause = not onset.symbol.isalpha() and onset.symbol not in "ʔ"
        if not pause:
            mark = {1: "ˈ", 2: "ˌ"}.get(onset.stress, "")
            axis.text(
                onset.time_s, 0.62 if i % 2 else 0.8, mark + onset.symbol, ha="left", va="center",
                fontsize=10.5, color=_INK,
            )  # fmt: skip
            words.setdefault(onset.word, [onset.time_s, end, onset.span])[1] = end
        axis.plot([onset.time_s] * 2, [0.93, 1.0], color=_GREY, lw=0.8)
    for begin, end, span in words.values():
        axis.plot([begin, end - 0.01], [0.46] * 2, color=_ACCENT, lw=1.6, solid_capstyle="butt")
        axis.text(
            (begin + end) / 2, 0.22, text[slice(*span)], ha="center", va="center", fontsize=9.5,
            color=_INK, rotation=0,
        )  # fmt: skip
    axis.set(ylim=(0, 1), yticks=[], xlabel="seconds", ylabel="phones\nand words")
    axis.spines[["left"]].set_visible(False)


if __name__ == "__main__":
    from voiceloom.cli import main

    sys.exit(main(["demo", *sys.argv[1:]]))
