"""The codecs that the table compares: a waveform in, the same waveform coded, and its real bytes.

Ours at any number of books, and the classical ones by their own encoders, which Debian packages:
`apt install opus-tools codec2 speex liblc3-tools`. Bytes are those of the payload, and those of the
file beside them: a call would send neither Ogg pages nor headers.
"""

import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32

from codec.bitstream.token_file import Reader
from voiceloom import coding
from voiceloom.speech_codec import SpeechCodec

Samples = Float32[np.ndarray, " S"]


class Coded(NamedTuple):
    """A waveform after coding, at the rate it came in, and what it took."""

    samples: Samples
    payload_bytes: int
    file_bytes: int


class Coder(NamedTuple):
    """A codec at one setting.

    Attributes:
        family: "voiceloom" or a variant's name, "opus", "codec2", "speex", "lc3".
        setting: In the family's own words, such as "8 books" or "6 kbit/s".
        latency_ms: From a sound to its copy with infinitely fast machines: a frame, what the
            encoder looks ahead, and what the decoder holds back.
        tokens_per_s: Symbols a second that a language model would write; None for the classical.
        code: Samples and their rate in, the coded ones out.
    """

    family: str
    setting: str
    latency_ms: float
    tokens_per_s: float | None
    code: Callable[[Samples, int], Coded]

    @property
    def name(self) -> str:
        """Family and setting."""
        return f"{self.family} {self.setting}"


def voiceloom(codec: SpeechCodec, books: int, family: str = "voiceloom") -> Coder:
    """Our codec, or a variant named `family`, with the first `books` books, as a token file."""

    def code(samples: Samples, rate: int) -> Coded:
        ours, file = soxr.resample(samples, rate, codec.sample_rate), io.BytesIO()
        told = coding.encode(iter([ours]), file, codec, books)
        file.seek(0)
        payload = sum(len(packet.payload) for packet in Reader(file))
        file.seek(0)
        decoded = np.concatenate(list(coding.decode(Reader(file), codec)))
        back = soxr.resample(decoded, codec.sample_rate, rate)
        return Coded(_fit(back, len(samples)), payload, told.bytes)

    late = (1 + codec.lag_frames) * codec.frame_samples + codec.delay_samples
    latency_ms = 1000 * late / codec.sample_rate
    return Coder(family, f"{books} books", latency_ms, books * codec.frame_rate, code)


def opus(kbps: float) -> Coder:
    """Opus at a mean rate, as speech, in its usual packets of 20 ms."""
    commands = (
        f"opusenc --quiet --speech --bitrate {kbps} --framesize 20 in.wav coded.ogg",
        "opusdec --quiet --rate {rate} coded.ogg out.wav",
    )
    return Coder(
        "opus", f"{kbps:g} kbit/s", 26.5, None, _by_commands(commands, "coded.ogg", 16_000)
    )


def speex(quality: int) -> Coder:
    """Speex narrowband at constant rate; quality 0 to 10."""
    commands = (
        f"speexenc --narrowband --quality {quality} in.wav coded.ogg",
        "speexdec coded.ogg out.wav",
    )
    return Coder(
        "speex", f"quality {quality}", 30.0, None, _by_commands(commands, "coded.ogg", 8_000)
    )


def codec2(mode: str) -> Coder:
    """Codec 2 in one of its modes, which are its bits a second."""
    commands = (f"c2enc {mode} in.raw coded.bit", f"c2dec {mode} coded.bit out.raw")
    latency_ms = 20.0 if mode in ("2400", "3200") else 40.0
    return Coder("codec2", mode, latency_ms, None, _by_commands(commands, "coded.bit", 8_000))


def lc3(kbps: int) -> Coder:
    """LC3 at 16 kHz in frames of 10 ms."""
    commands = (f"elc3 -b {1000 * kbps} in.wav coded.lc3", "dlc3 coded.lc3 out.wav")
    return Coder("lc3", f"{kbps} kbit/s", 12.5, None, _by_commands(commands, "coded.lc3", 16_000))


def classical() -> list[Coder]:
    """The classical codecs, those whose encoders are installed."""
    found = {
        "opusenc": [opus(kbps) for kbps in (6, 8, 12)],
        "c2enc": [codec2(mode) for mode in ("700C", "1200", "2400", "3200")],
        "speexenc": [speex(quality) for quality in (0, 1, 2)],
        "elc3": [lc3(16)],
    }
    return [coder for program, coders in found.items() if shutil.which(program) for coder in coders]


def _by_commands(commands: tuple[str, ...], coded: str, rate: int) -> Callable:
    """A coder that hands `in.wav` (or `in.raw`) to programs and reads what they leave."""
    raw = dict(subtype="PCM_16", format="RAW")

    def code(samples: Samples, own_rate: int) -> Coded:
        at_theirs = np.clip(soxr.resample(samples, own_rate, rate), -1, 1)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            soundfile.write(path / "in.wav", at_theirs, rate, "PCM_16")
            soundfile.write(path / "in.raw", at_theirs, rate, **raw)
            for command in commands:
                parts = command.format(rate=rate).split()
                subprocess.run(parts, cwd=folder, check=True, capture_output=True)
            if (path / "out.raw").exists():
                back, got = soundfile.read(
                    path / "out.raw", dtype="float32", channels=1, samplerate=rate, **raw
                )
            else:
                back, got = soundfile.read(path / "out.wav", dtype="float32")
            data = (path / coded).read_bytes()
        back = soxr.resample(back, got, own_rate)
        return Coded(_fit(back, len(samples)), _payload(data), len(data))

    return code


def _payload(data: bytes) -> int:
    """Bytes of the packets: all of a headerless file, without framing of Ogg and LC3."""
    if data[:2] == b"\x1c\xcc":  # LC3: a header of 18 bytes, two before every frame
        at, total = int.from_bytes(data[2:4], "little"), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 2], "little")
            total, at = total + size, at + 2 + size
        return total
    if data[:4] != b"OggS":
        return len(data)
    packets, at, size = [], 0, 0
    while at < len(data):
        table = data[at + 27 : at + 27 + data[at + 26]]
        for lacing in table:
            size += lacing
            if lacing < 255:  # the end of a packet
                packets.append(size)
                size = 0
        at += 27 + len(table) + sum(table)
    return sum(packets[2:])  # the first two are headers: identification and comments


def _fit(samples: np.ndarray, length: int) -> Samples:
    """`samples` cut or filled up to `length`."""
    return np.pad(samples[:length], (0, max(0, length - len(samples)))).astype(np.float32)
