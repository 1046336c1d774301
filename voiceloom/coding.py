"""Recordings to token files and back: files, pipes and whole folders.

Everything goes through in blocks, so hours of audio need no more memory than seconds, and what is
written into a pipe can be played while it is still being read. Files are written under another
name and renamed when they are whole: a full disk or a killed run leaves no half of one behind.
"""

import contextlib
import os
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32

from codec.bitstream.token_file import Readable, Reader, TokenFileError, Writable, Writer
from data.audio import AudioError
from voiceloom.speech_codec import SpeechCodec

SUFFIX = ".vl"
AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".au")
_READ_S = 1.0
_FADE_FRAMES = 2  # what is lost is held for 160 ms, fading: longer, it hums


class Coded(NamedTuple):
    """What a recording became."""

    seconds: float
    bytes: int

    def __str__(self) -> str:
        kbps = 8 * self.bytes / max(self.seconds, 1e-9) / 1000
        return f"{self.seconds:.2f} s in {self.bytes} bytes, {kbps:.2f} kbit/s with its header"


# ---- audio in ---------------------------------------------------------------------------------


def read_audio(
    source: Path | Readable, sample_rate: int, raw_rate: int | None = None
) -> Iterator[Float32[np.ndarray, " S"]]:
    """Blocks of mono samples at `sample_rate`.

    Args:
        source: A file, or a pipe that a WAV of whole numbers or raw samples come out of.
        sample_rate: Of the blocks.
        raw_rate: Of raw 16-bit little-endian mono samples in the pipe; None: it is a WAV.

    Raises:
        AudioError: Unreadable or empty, with the cause and the cure.
    """
    blocks, own_rate = _open(source, raw_rate)
    resampler = soxr.ResampleStream(own_rate, sample_rate, 1)
    any_samples = False
    for block in blocks:
        if not np.isfinite(block).all():
            raise AudioError(f"{_name(source)}: NaN or infinite samples; repair or export it again")
        any_samples = any_samples or block.size > 0
        yield resampler.resample_chunk(block.astype(np.float32))
    if not any_samples:
        raise AudioError(f"{_name(source)}: no samples in it")
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _open(source: Path | Readable, raw_rate: int | None) -> tuple[Iterator[np.ndarray], int]:
    if not isinstance(source, Path):
        return _open_pipe(source, raw_rate)
    if not source.is_file():
        raise AudioError(f"{source}: no such file; check the path")
    try:
        file = soundfile.SoundFile(source)
    except (soundfile.LibsndfileError, TypeError) as error:
        raise AudioError(f"{source}: not audio that can be read ({error})") from error

    def blocks():
        with file:
            yield from file.blocks(round(_READ_S * file.samplerate), dtype="float32")

    return (b if b.ndim == 1 else b.mean(axis=1) for b in blocks()), file.samplerate


def _open_pipe(pipe: Readable, raw_rate: int | None) -> tuple[Iterator[np.ndarray], int]:
    if raw_rate:
        step = 2 * round(_READ_S / 10 * raw_rate)
        return (
            np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / 32768
            for data in iter(lambda: pipe.read(step), b"")
        ), raw_rate
    try:
        file = wave.open(pipe)  # noqa: SIM115 the pipe is not ours to close
    except (wave.Error, EOFError) as error:
        raise AudioError(
            f"stdin: not a WAV of whole numbers ({error}); convert it first, or say --raw RATE for "
            "16-bit mono samples"
        ) from error
    rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()

    def blocks():
        while data := file.readframes(round(_READ_S / 10 * rate)):
            raw = np.frombuffer(data, np.uint8)
            raw = raw[: len(raw) // (width * channels) * width * channels].reshape(-1, width)
            if width == 1:  # unsigned in this format
                values = raw[:, 0].astype(np.float32) / 128 - 1
            else:  # into the upper bytes of 32 bits
                wide = np.zeros((len(raw), 4), np.uint8)
                wide[:, 4 - width :] = raw
                values = wide.view("<i4")[:, 0].astype(np.float32) / 2**31
            yield values.reshape(-1, channels).mean(axis=1)

    return blocks(), rate


def _name(source: Path | Readable) -> str:
    return str(source) if isinstance(source, Path) else "stdin"


# ---- there and back ---------------------------------------------------------------------------


def encode(
    blocks: Iterator[Float32[np.ndarray, " S"]],
    file: Writable,
    codec: SpeechCodec,
    books: int,
    packet_frames: int | None = None,
) -> Coded:
    """Samples at the codec's rate into a token file, as they come."""
    header = codec.header(books, packet_frames)
    writer, hear = Writer(file, header, codec.entropy), codec.encoder()
    size, waiting, total = codec.frame_samples, np.zeros(0, np.float32), 0
    early = codec.lag_frames  # codes of nothing that come first

    def write(samples: np.ndarray) -> None:
        nonlocal early
        codes = hear.push(samples[None])[0, :, :books]
        writer.write(codes[early:])
        early -= min(early, len(codes))

    least = codec.first_frames
    for block in blocks:
        total += len(block)
        waiting = np.concatenate([waiting, block])
        if (whole := len(waiting) // size) >= least:
            write(waiting[: whole * size])
            waiting, least = waiting[whole * size :], 1
    frames = max(codec.frames(total), codec.first_frames)
    rest = np.pad(waiting, (0, frames * size - total))  # silence, until the last sound is out
    rest = np.pad(rest, (0, codec.lag_frames * size), constant_values=np.nan)
    if len(rest):
        write(rest)
    writer.close(frames * size - total)
    return Coded(total / codec.sample_rate, writer.bytes)


def decode(
    reader: Reader, codec: SpeechCodec, start_s: float = 0.0, stop_s: float | None = None
) -> Iterator[Float32[np.ndarray, " S"]]:
    """Samples of a token file from `start_s` to `stop_s`, packet by packet.

    Lost packets are filled: what was last heard, fading, then silence. `reader.problems` names
    them.

    Raises:
        TokenFileError: Codes of another codec.
    """
    if reader.header.model_id != codec.model_id:
        raise TokenFileError(
            f"coded by the codec {reader.header.model_id.hex()}, this one is "
            f"{codec.model_id.hex()}; decode it with the release that made it (--weights)"
        )
    size, rate = codec.frame_samples, codec.sample_rate
    begin, end = round(start_s * rate), None if stop_s is None else round(stop_s * rate)
    first = max(0, begin // size - codec.memory_frames)  # earlier frames are not heard
    play, held = codec.decoder(), None

    def heard(samples: np.ndarray, frame: int, until: int | None) -> np.ndarray:
        """The part of frames from `frame` on that was asked for."""
        at = frame * size - codec.delay_samples
        return samples[max(0, begin - at) : None if until is None else max(0, until - at)]

    for packet in reader:
        frame, until = packet.first_frame, end
        if packet.spare_samples is not None:
            exact = (frame + packet.frames) * size - packet.spare_samples
            until = exact if end is None else min(end, exact)
        if packet.missing and frame > first:
            yield heard(_conceal(play, held, packet.missing, size), frame - packet.missing, end)
        if frame + packet.frames > first and packet.frames:
            skip = max(0, min(first - frame, packet.frames - codec.first_frames))
            codes = reader.codes(packet, codec.entropy)[skip:]
            samples, held = play.push(codes[None])[0], codes[-1:]
            if packet.missing:
                samples[:size] *= np.linspace(0, 1, size, dtype=np.float32)
            yield heard(samples, frame + skip, until)
        if end is not None and (frame + packet.frames) * size - codec.delay_samples >= end:
            return
    if codec.flush_frames and held is not None:
        nothing = np.full((1, codec.flush_frames, held.shape[1]), -1)
        yield heard(play.push(nothing)[0], frame + packet.frames, until)


def _conceal(play, held: np.ndarray | None, frames: int, size: int) -> np.ndarray:
    """Samples in place of lost frames."""
    samples = np.zeros(frames * size, np.float32)
    if held is not None:
        count = min(frames, _FADE_FRAMES)
        fading = play.push(np.repeat(held, count, axis=0)[None])[0]
        samples[: count * size] = fading * np.linspace(1, 0, count * size, dtype=np.float32)
    return samples


# ---- files ------------------------------------------------------------------------------------


class Described(NamedTuple):
    """What is in a token file, in words, and what is wrong with it."""

    text: str
    problems: list[str]


def describe(path: Path, codec: SpeechCodec) -> Described:
    """What is in a token file, from its packets; raises TokenFileError."""
    with open(path, "rb") as file:
        reader = Reader(file)
        packets = list(reader)
    header = reader.header
    frames = packets[-1].first_frame + packets[-1].frames if packets else 0
    spare = packets[-1].spare_samples if packets else None
    samples = frames * header.frame_samples - (spare or 0)
    seconds, size = samples / header.sample_rate, path.stat().st_size
    bits = sum(np.log2(header.sizes)) / header.frame_s
    payload = 8 * sum(len(p.payload) for p in packets) / max(seconds, 1e-9)
    same = codec.model_id == header.model_id
    lines = [
        f"{path}: {seconds:.3f} s, {samples} samples at {header.sample_rate} Hz"
        + ("" if reader.ended else ", as far as it goes"),
        f"  {frames} frames of {1000 * header.frame_s:g} ms, {len(header.sizes)} books of "
        + ", ".join(str(s) for s in sorted(set(header.sizes), reverse=True)),
        f"  {size} bytes: {8 * size / max(seconds, 1e-9) / 1000:.3f} kbit/s in all, payload "
        f"{payload / 1000:.3f}, nominal {bits / 1000:.3f}",
        f"  {len(packets)} packets of {header.packet_frames} frames, "
        f"{sum(p.coded for p in packets)} of them entropy-coded",
        f"  codec {header.model_id.hex()}, {'' if same else 'not '}the one at hand",
        *(f"  damage: {problem}" for problem in reader.problems),
    ]
    return Described("\n".join(lines), reader.problems)


def mirrored(source: Path, out: Path | None, suffixes: tuple[str, ...], to: str) -> list[tuple]:
    """Pairs of files to read and to write: one, or all of a folder with its tree.

    Raises:
        ValueError: No such thing, or nothing of that kind in it.
    """
    if source.is_dir():
        found = sorted(p for p in source.rglob("*") if p.suffix.lower() in suffixes)
        if not found:
            raise ValueError(f"{source}: no file in it ends in {', '.join(suffixes)}")
        base = out or source
        return [(p, (base / p.relative_to(source)).with_suffix(to)) for p in found]
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder; check the path")
    if out and out.is_dir():
        out = out / source.name
        return [(source, out.with_suffix(to))]
    return [(source, out or source.with_suffix(to))]


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` when all has gone well, and nothing when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
