"""The command line: `voiceloom say`, `voiceloom voices`, `voiceloom demo`.

Speech goes to a file, to stdout or to the loudspeaker chunk by chunk as it is made, text comes from
an argument, a file or stdin line by line as it is written; what it cost goes to stderr. Everything
heavy is imported by the command that needs it, so that `--help` answers at once.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from voiceloom.waveform import Chunk, wav_header

DEFAULT_OUT = "speech.wav"


def main(argv: list[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0 done, 2 refused with a reason."""
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except BrokenPipeError:  # whoever listened to stdout has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError) as error:  # ours: TextError, VoiceError, WeightsError, AudioError
        print(f"voiceloom: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("voiceloom", description="Text to speech, while it is made.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    say = commands.add_parser("say", help="speak a text into a file, a pipe or aloud")
    say.add_argument("text", nargs="?", help="what to say; - reads stdin as it is written")
    say.add_argument("-f", "--file", type=Path, help="read the text from a file")
    say.add_argument("--lines", action="store_true", help="one utterance and numbered file a line")
    say.add_argument("-v", "--voice", help="a name, a voice file or a recording (default: first)")
    say.add_argument("-o", "--out", help=f"file to write, - for stdout (default {DEFAULT_OUT})")
    say.add_argument("--format", choices=("wav", "raw"), default="wav", help="of stdout: raw is"
                     " 16-bit mono little-endian")  # fmt: skip
    say.add_argument("--play", action="store_true", help="play it aloud (needs sounddevice)")
    say.add_argument("--seed", type=int, default=0, help="equal seeds, equal speech")
    say.add_argument("--rate", type=float, default=1.0, help="speaking rate, a factor (1.0)")
    say.add_argument("--temperature", type=float, help="liveliness (default: the model's own)")
    say.set_defaults(run=_say)

    voices = commands.add_parser("voices", help="list the voices there are")
    voices.set_defaults(run=_voices)

    demo = commands.add_parser("demo", help="speak a sentence, show figures and a picture")
    demo.add_argument("--text", help="another sentence")
    demo.add_argument("-v", "--voice", help="another voice")
    demo.set_defaults(run=_demo)

    for command in (say, voices, demo):
        command.add_argument("--weights", type=Path, help="folder (default: the repository's)")
    return parser


def _say(args: argparse.Namespace) -> None:
    from voiceloom.synthesizer import load

    texts = _texts(args)
    if args.play:
        _import_sounddevice()  # refuse before the models are loaded
    synth = load(args.weights)
    voice = synth.voice(args.voice or _first(synth.voices))
    how = {"seed": args.seed, "rate": args.rate, "temperature": args.temperature}
    for number, text in enumerate(texts, 1):
        out = args.out or (None if args.play else DEFAULT_OUT)
        if args.lines and out and out != "-":
            path = Path(out)
            out = path.with_name(f"{path.stem}_{number:03d}{path.suffix or '.wav'}")
        with contextlib.ExitStack() as stack:
            sinks = [stack.enter_context(s) for s in _sinks(out, args, synth.sample_rate)]
            speech = stack.enter_context(synth.stream(text, voice, **how))
            for chunk in speech:
                for write in sinks:
                    write(chunk)
            where = "stdout" if out == "-" else out or "played"
            print(f"{where}: {speech.report}", file=sys.stderr)
    print(f"compiling took {synth.engine.compile_s:.1f} s, at load", file=sys.stderr)


def _voices(args: argparse.Namespace) -> None:
    from voiceloom.synthesizer import load

    synth = load(args.weights, warm=False)
    for name in synth.voices:
        print(f"{name}\t{synth.voice(name).accent}")


def _demo(args: argparse.Namespace) -> None:
    from voiceloom import demo

    demo.run(args.weights, args.text or demo.TEXT, args.voice)


def _texts(args: argparse.Namespace) -> Iterable[str | Iterable[str]]:
    """The texts to speak: one, or one a line; stdin as an iterator, so that it streams."""
    if (args.text is None) == (args.file is None):
        raise ValueError('give a text, or - for stdin, or --file FILE: voiceloom say "Hello."')
    if args.file:
        lines: Iterable[str] = args.file.read_text(encoding="utf-8").splitlines(keepends=True)
    else:
        lines = sys.stdin if args.text == "-" else [args.text]
    return (line for line in lines if line.strip()) if args.lines else [lines]


def _first(voices: list[str]) -> str:
    if not voices:
        raise ValueError("these weights have no named voices: give a recording, --voice ref.wav")
    return voices[0]


def _sinks(out: str | Path | None, args: argparse.Namespace, sample_rate: int) -> list:
    """Context managers, each giving a function that takes chunks."""
    sinks = []
    if out == "-":
        sinks.append(_to_stdout(args.format, sample_rate))
    elif out:
        sinks.append(_to_file(out, sample_rate))
    if args.play:
        sinks.append(_to_loudspeaker(sample_rate))
    return sinks


@contextlib.contextmanager
def _to_stdout(form: str, sample_rate: int) -> Iterator:
    if form == "wav":
        sys.stdout.buffer.write(wav_header(sample_rate))

    def write(chunk: Chunk) -> None:
        sys.stdout.buffer.write(chunk.pcm16())
        sys.stdout.buffer.flush()

    yield write


@contextlib.contextmanager
def _to_file(path: str | Path, sample_rate: int) -> Iterator:
    import soundfile

    try:
        file = soundfile.SoundFile(path, "w", sample_rate, channels=1)
    except (TypeError, ValueError, soundfile.LibsndfileError) as error:
        raise ValueError(
            f"{path}: cannot be written ({error}); name a .wav, .flac, .ogg or .mp3 file in a "
            "folder that exists"
        ) from error
    with file:
        yield lambda chunk: file.write(chunk.samples)


@contextlib.contextmanager
def _to_loudspeaker(sample_rate: int) -> Iterator:
    device = _import_sounddevice()
    with device.OutputStream(samplerate=sample_rate, channels=1, dtype="float32") as stream:
        yield lambda chunk: stream.write(chunk.samples[:, None])


def _import_sounddevice():
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the wheel is there, PortAudio is not
        raise ValueError(
            f"--play needs the sounddevice package and PortAudio ({error}): pip install "
            "sounddevice, or write a file with -o"
        ) from error
    return sounddevice


if __name__ == "__main__":
    sys.exit(main())
