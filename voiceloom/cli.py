"""The command line: `voiceloom say`, `voices`, `voice`, `demo`; `encode`, `decode`, `info`.

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
from typing import BinaryIO

from voiceloom.waveform import Waveform, wav_header

DEFAULT_OUT = "speech.wav"


def main(argv: list[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0 done, 1 done around damage, 2 refused."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except BrokenPipeError:  # whoever listened to stdout has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    # Ours: TextError, VoiceError, WeightsError, AudioError; and an extra that is not installed.
    except (ValueError, OSError, ImportError) as error:
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
    say.add_argument("--takes", type=int, default=1, metavar="N", help="of N at most, the one that"
                     " a recogniser hears best (needs the extra transcribe)")  # fmt: skip
    say.add_argument("--rate", type=float, default=1.0, help="speaking rate, a factor (1.0)")
    say.add_argument("--pitch", type=float, default=0.0, help="semitones above the voice's own")
    say.add_argument("--range", type=float, default=1.0, help="of the melody, a factor (1.0)")
    say.add_argument("--lookahead", type=int, metavar="WORDS", help="speak so many words behind"
                     " the writer (default: by whole sentences)")  # fmt: skip
    say.add_argument("--temperature", type=float, help="liveliness (default: the model's own)")
    say.set_defaults(run=_say)

    voices = commands.add_parser("voices", help="list the voices there are")
    voices.set_defaults(run=_voices)

    voice = commands.add_parser("voice", help="make and keep voices of your own")
    actions = voice.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", help="a voice from a recording, or from a voice file")
    add.add_argument("name")
    add.add_argument("reference", help="3 to 12 s of one person's speech, or a .safetensors file")
    add.add_argument("--accent", default="us", help="how the speaker reads: us, gb, de, ... (us)")
    add.set_defaults(run=_voice_add)
    learn = actions.add_parser("learn", help="weights that have learned a recording: better still")
    learn.add_argument("name")
    learn.add_argument("reference", help="3 to 10 s of one person's speech")
    learn.add_argument("folder", type=Path, help="to write; speak from it with --weights")
    learn.add_argument("--text", help="what is said in it, to the word (default: what is heard)")
    learn.add_argument("--accent", default="us", help="how the speaker reads: us, gb, de, ... (us)")
    learn.set_defaults(run=_voice_learn)
    mix = actions.add_parser("mix", help="somebody between voices")
    mix.add_argument("name")
    mix.add_argument("parts", nargs="+", metavar="VOICE=SHARE", help="anna=0.6 bert=0.4")
    mix.set_defaults(run=_voice_mix)
    export = actions.add_parser("export", help="a voice as one small file")
    export.add_argument("name")
    export.add_argument("file", type=Path, help="a .safetensors file; take it in with `voice add`")
    export.set_defaults(run=_voice_export)
    remove = actions.add_parser("remove", help="delete a voice of yours")
    remove.add_argument("name")
    remove.set_defaults(run=_voice_remove)
    for action in (add, mix):
        action.add_argument("--replace", action="store_true", help="a voice of that name")

    serve = commands.add_parser("serve", help="speech over HTTP and WebSocket, and a page")
    serve.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for everybody (127.0.0.1)")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--streams", type=int, default=16, help="at once, at most (16)")
    serve.add_argument("--wait", type=float, default=0.0, metavar="S", help="that a request may"
                       " wait for room; 0 answers 429 at once")  # fmt: skip
    serve.add_argument("--api-key", action="append", default=[], help="asked for; may be repeated")
    serve.add_argument("--cors", action="append", default=[], metavar="ORIGIN", help="may call")
    serve.set_defaults(run=_serve)

    cost = commands.add_parser("cost", help="what speech costs on this machine, and its delay")
    cost.add_argument("--price", type=float, default=0.10, metavar="P", help="of a machine-hour")
    cost.add_argument("--streams", type=int, nargs="+", default=[1, 4, 16], help="at once")
    cost.add_argument("--books", type=int, nargs="+", metavar="Q", help="of the codec, 12.5 tokens"
                      " a second each; other than the release's talk nonsense as fast")  # fmt: skip
    cost.add_argument("-o", "--out", type=Path, help="a picture of it")
    cost.set_defaults(run=_cost)

    demo = commands.add_parser("demo", help="speak a sentence, show figures and a picture")
    demo.add_argument("--text", help="another sentence")
    demo.add_argument("-v", "--voice", help="another voice")
    demo.set_defaults(run=_demo)

    encode = commands.add_parser("encode", help="recordings into token files")
    encode.add_argument("source", metavar="IN", help="audio file, folder, or - for a WAV on stdin")
    encode.add_argument("out", metavar="OUT", nargs="?", help="token file, folder, or - for stdout")
    rate = encode.add_mutually_exclusive_group()
    rate.add_argument("--kbps", type=float, default=1.0, help="nominal rate (default 1.0)")
    rate.add_argument("--books", type=int, help="or the number of books")
    encode.add_argument("--packet", type=int, metavar="FRAMES", help="frames in a packet (25: 2 s)")
    encode.add_argument("--raw", type=int, metavar="HZ", help="stdin is 16-bit mono samples")
    encode.set_defaults(run=_encode)

    decode = commands.add_parser("decode", help="token files into audio")
    decode.add_argument("source", metavar="IN", help="token file, folder, or - for stdin")
    decode.add_argument("out", metavar="OUT", nargs="?", help="wav, flac, ogg, mp3, or - (a WAV)")
    decode.add_argument(
        "--from", dest="start", type=float, default=0.0, metavar="S", help="seconds"
    )
    decode.add_argument("--to", dest="stop", type=float, metavar="S", help="seconds")
    decode.add_argument("--raw", action="store_true", help="stdout gets 16-bit mono samples")
    decode.set_defaults(run=_decode)

    info = commands.add_parser("info", help="what is in token files, and whether they are whole")
    info.add_argument("files", metavar="FILE", nargs="+", type=Path)
    info.set_defaults(run=_info)

    for command in (say, voices, add, learn, mix, export, serve, cost, demo, encode, decode, info):
        command.add_argument("--weights", "--model", metavar="MODEL", help="folder, or name of a"
                             " published model: sesame/csm-1b (default: our own)")  # fmt: skip
    for command in (say, serve):
        command.add_argument("--codec", metavar="MODEL", help="of a published LM without its own")
    return parser


def _say(args: argparse.Namespace) -> None:
    from voiceloom.synthesizer import load

    texts = _texts(args)
    if args.play:
        _import_sounddevice()  # refuse before the models are loaded
    synth = load(args.weights, codec=args.codec)
    voice = synth.voice(args.voice or _first(synth.voices))
    how = {
        "seed": args.seed,
        "rate": args.rate,
        "pitch": args.pitch,
        "pitch_range": args.range,
        "temperature": args.temperature,
        "lookahead": args.lookahead,
    }
    for number, text in enumerate(texts, 1):
        out = args.out or (None if args.play else DEFAULT_OUT)
        if args.lines and out and out != "-":
            path = Path(out)
            out = path.with_name(f"{path.stem}_{number:03d}{path.suffix or '.wav'}")
        with contextlib.ExitStack() as stack:
            sinks = [stack.enter_context(s) for s in _sinks(out, args, synth.sample_rate)]
            if args.takes == 1:
                speech = stack.enter_context(synth.stream(text, voice, **how))
            else:  # the whole of it, when all have been heard
                speech = [synth.say(text, voice, takes=args.takes, **how)]
            for chunk in speech:
                for write in sinks:
                    write(chunk)
            where = "stdout" if out == "-" else out or "played"
            told = speech.report if args.takes == 1 else speech[0]
            print(f"{where}: {told}", file=sys.stderr)
    print(f"compiling took {synth.engine.compile_s:.1f} s, at load", file=sys.stderr)


def _voices(args: argparse.Namespace) -> None:
    from voiceloom.synthesizer import load

    synth = load(args.weights, warm=False)
    for name in synth.voices:
        print(f"{name}\t{synth.voice(name).accent}")


def _voice_add(args: argparse.Namespace) -> None:
    from voiceloom.library import CONSENT
    from voiceloom.synthesizer import load

    synth = load(args.weights, warm=False)
    voice = synth.voice(args.reference, args.accent).renamed(args.name)
    path = synth.library.add(voice, args.replace)
    print(f'{path}: voiceloom say "Hello." --voice {args.name}')
    if Path(args.reference).suffix != ".safetensors":
        print(synth.likeness(args.reference, voice))
        print(CONSENT)


def _voice_learn(args: argparse.Namespace) -> None:
    from voiceloom.learned import learn
    from voiceloom.library import CONSENT
    from voiceloom.synthesizer import load

    voice = learn(args.reference, args.name, args.folder, args.accent, args.text, args.weights)
    print(f'{args.folder}: voiceloom say "Hello." --weights {args.folder} --voice {args.name}')
    print(load(args.folder, warm=False).likeness(args.reference, voice))
    print(CONSENT)


def _voice_mix(args: argparse.Namespace) -> None:
    from voiceloom.synthesizer import load
    from voiceloom.voice import Voice

    synth, parts = load(args.weights, warm=False), {}
    for part in args.parts:
        name, _, share = part.rpartition("=")
        try:
            parts[synth.voice(name)] = float(share)
        except ValueError as error:
            raise ValueError(f"{part}: {error}; write VOICE=SHARE, anna=0.6") from error
    print(synth.library.add(Voice.mix(args.name, parts), args.replace))


def _voice_export(args: argparse.Namespace) -> None:
    from voiceloom.synthesizer import load

    load(args.weights, warm=False).voice(args.name).save(args.file)


def _voice_remove(args: argparse.Namespace) -> None:
    from voiceloom.library import Library

    Library().remove(args.name)


def _serve(args: argparse.Namespace) -> None:
    try:
        from voiceloom.server import app, run
    except ImportError as error:
        raise ValueError(f"serving needs {error.name}: pip install -e '.[serve]'") from error
    from voiceloom.scheduler import DEFAULT

    settings = app.Settings(wait_s=args.wait, api_keys=tuple(args.api_key), cors=tuple(args.cors))
    where = (args.weights, args.codec)
    run.serve(*where, args.host, args.port, settings, args.streams, DEFAULT)


def _cost(args: argparse.Namespace) -> None:
    from voiceloom import cost, weights
    from voiceloom.engine import Engine

    loaded, loads = weights.load(args.weights or weights.DEFAULT), []
    for books in args.books or [loaded.lm.config.books]:
        engine = Engine(cost.with_books(loaded, books))
        for streams in args.streams:
            print(f"{books} books, {streams} streams ...", file=sys.stderr)
            loads.append(cost.measure(engine, streams))
    print(cost.table(loads, args.price))
    if args.out:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3.4), layout="constrained")
        cost.picture(figure.subplots(1, 2), loads)
        figure.savefig(args.out, dpi=110)


def _demo(args: argparse.Namespace) -> None:
    from voiceloom import demo

    demo.run(args.weights, args.text or demo.TEXT, args.voice)


def _encode(args: argparse.Namespace) -> None:
    from voiceloom import coding
    from voiceloom.speech_codec import load_codec

    if args.raw and args.source != "-":
        raise ValueError("--raw is about stdin: give - as IN")
    codec = load_codec(args.weights)
    books = args.books or codec.books_for(args.kbps)
    for source, out in _pairs(args, coding.AUDIO, coding.SUFFIX):
        blocks = coding.read_audio(source or sys.stdin.buffer, codec.sample_rate, args.raw)
        with _bytes_to(out) as file:
            told = coding.encode(blocks, file, codec, books, args.packet)
        print(f"{out or 'stdout'}: {told}", file=sys.stderr)


def _decode(args: argparse.Namespace) -> int:
    from codec.bitstream.token_file import Reader
    from voiceloom import coding
    from voiceloom.speech_codec import load_codec

    codec, damaged = load_codec(args.weights), 0
    rate = codec.sample_rate
    for source, out in _pairs(args, (coding.SUFFIX,), ".wav"):
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(source, "rb")) if source else sys.stdin.buffer
            reader = Reader(file)
            path = stack.enter_context(coding.whole(out)) if out else None
            sink = _to_file(path, rate) if out else _to_stdout("raw" if args.raw else "wav", rate)
            write = stack.enter_context(sink)
            seconds = 0.0
            for samples in coding.decode(reader, codec, args.start, args.stop):
                write(Waveform(samples, rate))
                seconds += len(samples) / rate
        print(f"{out or 'stdout'}: {seconds:.2f} s", file=sys.stderr)
        for problem in reader.problems:
            print(f"voiceloom: {source or 'stdin'}: {problem}", file=sys.stderr)
        damaged += bool(reader.problems)
    return 1 if damaged else 0


def _info(args: argparse.Namespace) -> int:
    from voiceloom import coding
    from voiceloom.speech_codec import load_codec

    codec = load_codec(args.weights)
    told = [coding.describe(path, codec) for path in args.files]
    print("\n".join(one.text for one in told))
    return 1 if any(one.problems for one in told) else 0


def _pairs(
    args: argparse.Namespace, suffixes: tuple[str, ...], to: str
) -> Iterator[tuple[Path | None, Path | None]]:
    """What to read and what to write; None is a pipe. A bar over the files of a folder."""
    import tqdm

    from voiceloom import coding

    if args.source == "-":
        return iter([(None, None if args.out in (None, "-") else Path(args.out))])
    if args.out == "-":
        return iter([(Path(args.source), None)])
    pairs = coding.mirrored(Path(args.source), Path(args.out) if args.out else None, suffixes, to)
    return iter(tqdm.tqdm(pairs, unit="file", disable=len(pairs) < 2))


@contextlib.contextmanager
def _bytes_to(out: Path | None) -> Iterator[BinaryIO]:
    from voiceloom import coding

    if out is None:
        yield sys.stdout.buffer
        return
    with coding.whole(out) as part, open(part, "wb") as file:
        yield file


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

    def write(chunk: Waveform) -> None:
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
