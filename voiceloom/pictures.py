"""Pictures of speech, one axis at a time: sound, spectrum, melody, codes, phones, pointer, stream.

Every function draws on a matplotlib axis that the caller made, so that the demo, the samples and
the notebooks show the same thing in the same colours and stack it as they like:

    with plt.rc_context(pictures.STYLE):
        figure, axes = plt.subplots(2, 1, sharex=True, layout="constrained")
        pictures.spectrogram(axes[0], speech)
        pictures.phones(axes[1], speech, text)

Time runs in seconds from the first sample. matplotlib itself is not imported here.
"""

from collections.abc import Sequence

import numpy as np
import scipy.signal
from jaxtyping import Float

from data.phones import PUNCTUATION
from voiceloom.waveform import Chunk, Onset, Waveform

INK, PAPER, GREY, ACCENT, COOL = "#1b1f3b", "#ffffff", "#8a8fa8", "#d1495b", "#00a6a6"

STYLE = {
    "font.family": "DejaVu Sans",  # has the IPA
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.titlecolor": GREY,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "figure.facecolor": PAPER,
}
"""For `plt.rc_context` or `plt.rcParams.update`."""

FLOOR_DB = -70.0
"""What is darker than this, below the loudest, is black."""


def wave(axis, chunks: Sequence[Chunk]) -> None:
    """The waveform of consecutive chunks, with a line where each but the first begins."""
    whole = Chunk.join(chunks)
    size = max(1, len(whole.samples) // 2000)  # minima and maxima of 2000 parts: all one can see
    count = len(whole.samples) // size
    blocks = whole.samples[: count * size].reshape(count, size)
    times = np.arange(count) * size / whole.sample_rate
    axis.fill_between(times, blocks.min(axis=1), blocks.max(axis=1), color=INK, lw=0.4)
    for chunk in chunks[1:]:
        axis.axvline(chunk.start_s - chunks[0].start_s, color=ACCENT, lw=0.9, alpha=0.75)
    top = 1.15 * max(1e-3, float(np.abs(whole.samples).max()))
    axis.set(ylim=(-top, top), yticks=[], ylabel="waveform\nand chunks")
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(bottom=False)


def spectrogram(axis, sound: Waveform, top_hz: float = 8000.0) -> None:
    """Level over time and frequency: 25 ms windows, 5 ms apart."""
    window, hop = round(0.025 * sound.sample_rate), round(0.005 * sound.sample_rate)
    frequencies, times, values = scipy.signal.stft(
        sound.samples, sound.sample_rate, "hann", window, window - hop, 1024
    )
    shown = frequencies <= top_hz
    level = 20 * np.log10(np.abs(values[shown]) + 1e-9)
    axis.pcolormesh(
        times, frequencies[shown] / 1000, level, cmap="magma", shading="auto", rasterized=True,
        vmin=level.max() + FLOOR_DB, vmax=level.max() - 3,
    )  # fmt: skip
    axis.set(xlim=(0, sound.duration_s), ylim=(0, top_hz / 1000), ylabel="kHz")
    axis.set_yticks(np.arange(0, top_hz / 1000 + 1, 2))


def melody(axis, times_s: Float[np.ndarray, " T"], hz: Float[np.ndarray, " T"]) -> None:
    """F0 over whatever the axis shows, on a logarithmic scale of its own at the right.

    Args:
        axis: Of a spectrogram.
        times_s: Of the frames.
        hz: 0 where there is no voice.
    """
    right = axis.twinx()
    right.plot(times_s, np.where(hz > 0, hz, np.nan), color="#000000", lw=4.0, alpha=0.5)
    right.plot(times_s, np.where(hz > 0, hz, np.nan), color="#5ce1e6", lw=1.8)
    right.set(yscale="log", ylim=(60, 480), ylabel="F0, Hz")
    right.set_yticks([75, 150, 300], ["75", "150", "300"])
    right.minorticks_off()
    right.spines["right"].set_visible(False)
    right.tick_params(right=False)


def codes(axis, chunks: Sequence[Chunk], frame_s: float) -> None:
    """The codes, a row a codebook and a column a frame, where they sound.

    Args:
        axis: To draw on.
        chunks: Consecutive ones; silence between sentences has no codes.
        frame_s: Length of a frame, seconds.
    """
    top = max(int(chunk.codes.max(initial=1)) for chunk in chunks)
    for chunk in chunks:
        frames, books = chunk.codes.shape
        # From its end: a chunk may begin with silence, or without the codec's delay.
        end_s = chunk.start_s - chunks[0].start_s + chunk.duration_s
        edges = end_s + np.arange(-frames, 1) * frame_s
        axis.pcolormesh(
            edges, np.arange(books + 1) + 0.5, chunk.codes.T, cmap="twilight", vmin=0, vmax=top,
            rasterized=True, edgecolors=PAPER, linewidth=0.4,
        )  # fmt: skip
    axis.set(ylabel="codebook", yticks=[1, books], ylim=(books + 0.5, 0.5))
    axis.spines[["left", "bottom"]].set_visible(False)


def phones(axis, speech: Chunk, text: str) -> None:
    """Phones where they begin, and under them the words of the text."""
    times = _times(speech)
    for i, onset in enumerate(speech.onsets):
        if onset.symbol not in PUNCTUATION:
            axis.text(times[i], 0.62 if i % 2 else 0.8, _written(onset), va="center", fontsize=10.5)
        axis.plot([times[i]] * 2, [0.93, 1.0], color=GREY, lw=0.8)
    for start, stop in _words(speech):
        begin, end = times[start], times[stop]
        axis.plot([begin, end - 0.01], [0.46] * 2, color=ACCENT, lw=1.6, solid_capstyle="butt")
        word = text[slice(*speech.onsets[start].span)]
        axis.text((begin + end) / 2, 0.22, word, ha="center", va="center", fontsize=9.5)
    axis.set(xlim=(0, speech.duration_s), ylim=(0, 1), yticks=[], xlabel="seconds")
    axis.set_ylabel("phones\nand words")
    axis.spines[["left"]].set_visible(False)


def pointer(axis, speech: Chunk, text: str) -> None:
    """The path of the pointer through the text: a step a unit, a box a word."""
    times = _times(speech)
    for start, stop in _words(speech):
        axis.fill_between(
            [times[start], times[stop]], start - 0.5, stop - 0.5, color=COOL, alpha=0.15, lw=0
        )
        word = text[slice(*speech.onsets[start].span)]
        axis.text(times[stop] + 0.03, start - 0.4, word, va="bottom", color=COOL)
    steps = [*range(len(times) - 1), len(times) - 2]
    axis.step(times, steps, where="post", color=INK, lw=1.4)
    for i, onset in enumerate(speech.onsets):
        pause = onset.symbol in PUNCTUATION
        axis.text(
            times[i] - 0.012, i, _written(onset), ha="right", va="center", fontsize=9,
            color=ACCENT if pause else INK,
        )  # fmt: skip
    axis.set(xlim=(0, speech.duration_s), xlabel="seconds", ylabel="unit of the text")


def timeline(axis, chunks: Sequence[Chunk], arrived_s: Sequence[float]) -> None:
    """Audio made and audio heard by a listener who plays from the first chunk on, and the lead.

    Args:
        axis: To draw on.
        chunks: Of one stream, from its beginning.
        arrived_s: When each was there, from the request on.
    """
    ends = np.array([chunk.start_s + chunk.duration_s for chunk in chunks])
    first, last = arrived_s[0], arrived_s[-1]
    until = last + 0.12 * (last - first) + 0.02
    now = np.unique(np.concatenate([np.linspace(first, until, 400), arrived_s]))
    made = ends[np.searchsorted(arrived_s, now, side="right") - 1]
    heard = np.minimum(now - first, ends[-1])
    axis.fill_between(now, heard, made, step="post", color=COOL, alpha=0.14, lw=0)
    axis.step([0, *arrived_s, until], [0, *ends, ends[-1]], where="post", color=INK, lw=1.6)
    axis.plot(now, heard, color=ACCENT, lw=1.8)
    axis.scatter(arrived_s, ends, s=[14 + 9 * len(c.codes) for c in chunks], color=INK, zorder=3)
    axis.axvline(first, color=GREY, lw=0.8, ls=":")
    axis.annotate(f"first chunk\n{1000 * first:.0f} ms", (first, 0.93 * ends[-1]), xytext=(5, 0),
                  textcoords="offset points", va="top", color=GREY)  # fmt: skip
    middle = len(now) * 2 // 3
    axis.text(now[middle], (heard[middle] + made[middle]) / 2, "lead", color=COOL, ha="center",
              va="center", fontsize=13)  # fmt: skip
    axis.annotate("made", (last, ends[-1]), xytext=(-4, 7), textcoords="offset points", ha="right")
    axis.annotate("heard", (until, heard[-1]), xytext=(0, 5), textcoords="offset points",
                  ha="right", color=ACCENT)  # fmt: skip
    axis.set(xlim=(0, until), ylim=(0, 1.12 * ends[-1]), xlabel="seconds since the request",
             ylabel="seconds of audio")  # fmt: skip


def _times(speech: Chunk) -> list[float]:
    """When every unit begins, and at last when the speech ends."""
    return [*(onset.time_s for onset in speech.onsets), speech.duration_s]


def _words(speech: Chunk) -> list[tuple[int, int]]:
    """Units [start, stop) of every word as it is written ("$12" is one), without the pauses."""
    words: dict[tuple[int, int], tuple[int, int]] = {}
    for i, onset in enumerate(speech.onsets):
        if onset.symbol not in PUNCTUATION:
            words[onset.span] = (words.get(onset.span, (i, i))[0], i + 1)
    return list(words.values())


def _written(onset: Onset) -> str:
    return {1: "ˈ", 2: "ˌ"}.get(onset.stress, "") + onset.symbol
