"""One sentence, streamed, measured and drawn: `make demo`, `voiceloom demo`.

Leaves `demo.wav` and `demo.png` in the current folder. The picture shows the same stretch of time
four times: the waveform with the chunks it came in, its spectrogram, the codes that were written
(one row a codebook, one column a frame), and the phones where the pointer reached them.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from voiceloom import pictures
from voiceloom.report import Report
from voiceloom.waveform import Chunk

TEXT = "Every word you hear was written as numbers first, and the rest is still ink."


def run(weights: str | None = None, text: str = TEXT, voice: str | None = None) -> None:
    """Speaks `text`, prints the figures, leaves demo.wav and demo.png."""
    from voiceloom.synthesizer import load  # brings jax, a second and more

    begun = time.perf_counter()
    synth = load(weights)
    voice = voice or (synth.voices or ["reference.wav"])[0]
    print(
        f"ready after {time.perf_counter() - begun:.1f} s, of which compiling "
        f"{synth.engine.compile_s:.1f} s (kept in ~/.cache/voiceloom for the next start)"
    )
    print(f"{voice}: {text}")
    with synth.stream(text, voice) as speech:
        chunks = list(speech)
    print(speech.report)
    print(f"  in chunks of {', '.join(str(len(chunk.codes)) for chunk in chunks)} frames")
    Chunk.join(chunks).save("demo.wav")
    draw(chunks, text, voice, speech.report, synth.engine.frame_s, Path("demo.png"))
    print("wrote demo.wav and demo.png")


def draw(
    chunks: Sequence[Chunk], text: str, voice: str, report: Report, frame_s: float, path: Path
) -> None:
    """Writes the picture of an utterance to a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    whole = Chunk.join(chunks)
    with plt.rc_context(pictures.STYLE):
        figure, axes = plt.subplots(
            4, 1, figsize=(14, 8.6), sharex=True, layout="constrained",
            gridspec_kw={"height_ratios": [1.0, 1.9, 1.0, 0.62]},
        )  # fmt: skip
        figure.get_layout_engine().set(h_pad=0.06, hspace=0.02)
        pictures.wave(axes[0], chunks)
        pictures.spectrogram(axes[1], whole)
        pictures.codes(axes[2], chunks, frame_s)
        pictures.phones(axes[3], whole, text)
        figure.suptitle(f"“{text}”", x=0.012, ha="left", fontsize=15, fontweight="bold", wrap=True)
        axes[0].set_title(
            f"{voice}   ·   {whole.duration_s:.2f} s   ·   "
            f"{whole.codes.shape[1] / frame_s:.0f} tokens a second   ·   "
            f"first audio after {1000 * report.first_audible_s:.0f} ms   ·   "
            f"real-time factor {report.real_time_factor:.2f}",
            pad=8,
        )
        figure.savefig(path, dpi=130)
        plt.close(figure)


if __name__ == "__main__":
    from voiceloom.cli import main

    sys.exit(main(["demo", *sys.argv[1:]]))
