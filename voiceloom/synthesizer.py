"""The object users hold: voices, `say`, `stream`; text of any length in, speech out.

Text is cut into sentences as it comes (`voiceloom.segments`), each is read by the front end in the
voice's accent and spoken by an engine stream whose state goes on from sentence to sentence, so
memory does not grow with the text. The same chunks come out however the text was pieced and however
many frames a chunk has: `say` is `stream`, joined.

A stream does its work inside `next`, in the caller's thread, and keeps all its state in itself, so
any number of threads may stream from one synthesizer. Chunks begin with one frame and grow with the
lead over a listener who plays from the first chunk on.
"""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data.recognizer import Recognizer
from data.text import FrontEnd
from lm import aligner
from voiceloom import batch, hub, likeness, prompt, published, weights
from voiceloom import engine as engines
from voiceloom.aligner import Phones
from voiceloom.library import Library
from voiceloom.likeness import Likeness
from voiceloom.prompt import Prompt
from voiceloom.speaker import Report, Speaker
from voiceloom.step import use_compilation_cache
from voiceloom.takes import clarity
from voiceloom.voice import Voice, VoiceError, read_reference
from voiceloom.waveform import Chunk, Waveform

_NEXT_TAKE = 1_000  # seeds from one take to the next: who counts seeds meets none of them

VoiceLike = str | os.PathLike | Waveform | Voice
"""What can speak: a name, a voice file, a recording, a waveform, a voice."""


def load(
    path: str | os.PathLike | None = None,
    warm: bool = True,
    codec: str | os.PathLike | None = None,
) -> "Synthesizer":
    """A synthesizer of the weights in a folder, ready to speak.

    Args:
        path: Folder as `voiceloom.weights` describes it; or of a published speech LM, or its name
            at Hugging Face: see `voiceloom.published`. None for the one in the repository.
        warm: Compile now (or fetch from the cache in ~/.cache/voiceloom); else at the first use.
        codec: Folder or name of a published LM's codec, if its own folder does not have it.

    Raises:
        WeightsError, ImportFailed, HubError: Missing, damaged, or not of one release.
    """
    use_compilation_cache()
    folder = hub.folder(path or weights.DEFAULT)
    if (folder / "config.json").exists() and not (folder / "lm.json").exists():
        synth = Synthesizer(published.load(folder, codec))
    else:
        synth = Synthesizer(weights.load(folder))
    if warm:
        synth.warm()
    return synth


class Speech(Iterator[Chunk]):
    """Speech being made: iterate over its chunks, close it to stop; `report` says what it cost."""

    def __init__(self, speaker: Speaker, text: Iterable[str]):
        self._speaker = speaker
        self._chunks = self._run(speaker, text)

    @staticmethod
    def _run(speaker: Speaker, text: Iterable[str]) -> Iterator[Chunk]:
        try:
            for piece in text:
                speaker.feed(piece)
                while (chunk := speaker.next()) is not None:
                    yield chunk
            speaker.flush()
            while (chunk := speaker.next()) is not None:
                yield chunk
        finally:
            speaker.close()

    def __next__(self) -> Chunk:
        return next(self._chunks)

    def close(self) -> None:
        """Stops and frees the stream's state; a second call does nothing."""
        self._chunks.close()
        self._speaker.close()

    def __enter__(self) -> "Speech":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def report(self) -> Report:
        """What has been made up to now and where the time went."""
        return self._speaker.report()


class Synthesizer:
    """Speaks in the voices of one pair of models; safe to share between threads."""

    def __init__(self, loaded: weights.Weights | published.Published):
        ours = isinstance(loaded, weights.Weights)
        self.engine = engines.Engine(loaded) if ours else published.Engine(loaded)
        self._voices, self._lm_hash = self.engine.voices, loaded.lm.hash
        self.library = Library()
        self._front_ends: dict[str, FrontEnd] = {}
        self._phones: Phones | None = None
        self._recognizer: Recognizer | None = None
        self._lock = threading.Lock()

    def warm(self) -> None:
        """Compiles what speaking needs and wakes the front ends of the named voices."""
        batch.warm(self.engine)
        for accent in {voice.accent for voice in self._voices.values()} or {"us"}:
            self.front_end(accent)("Hello.")

    @property
    def sample_rate(self) -> int:
        """Of everything spoken, hertz."""
        return self.engine.sample_rate

    @property
    def voices(self) -> list[str]:
        """Names that `voice` takes: those of the release, then the user's own."""
        return [*self._voices, *(n for n in self.library.names if n not in self._voices)]

    def voice(self, source: VoiceLike, accent: str = "us") -> Voice:
        """A voice by name, from a voice file, or from a recording of at least a second of speech.

        Args:
            source: One of `voices`, a `.safetensors` file that `Voice.save` wrote, any audio file,
                or a waveform. Ask whoever is heard in it.
            accent: For a recording, how its speaker reads: "us", "gb", or an espeak-ng code.

        Raises:
            VoiceError: With the cause and the cure.
        """
        if isinstance(source, str) and source in self._voices:
            return self._voices[source]
        if isinstance(source, Voice):
            found = source
        elif isinstance(source, str) and source in self.library:
            found = self.library[source]
        elif not isinstance(source, Waveform) and Path(source).suffix == ".safetensors":
            found = Voice.load(source)
        elif isinstance(source, str) and not Path(source).suffix and not Path(source).exists():
            known = ", ".join(self.voices) or "none; give a recording"
            raise VoiceError(f"no voice {source!r}; there are: {known}")
        else:
            name = "reference" if isinstance(source, Waveform) else Path(source).stem
            samples = read_reference(source, self.sample_rate)
            vector = self.engine.encode_voice(self.engine.codec.encode(samples[None])[0])
            return Voice(name, vector, accent, self._lm_hash, self._listen(samples))
        if found.lm_hash != self._lm_hash:
            raise VoiceError(
                f"voice {found.name!r} was made by another language model; make it again from its "
                "recording: synth.voice('reference.wav')"
            )
        return found

    def likeness(self, reference: str | os.PathLike | Waveform, voice: Voice) -> Likeness:
        """How like `voice` is to the recording that it was made of, and to anybody else."""
        codes = self.engine.codec.encode(read_reference(reference, self.sample_rate)[None])[0]
        halves = [self.engine.encode_voice(half) for half in np.array_split(codes, 2)]
        said = self.say(likeness.SENTENCE, voice)
        heard = self.engine.encode_voice(self.engine.codec.encode(said.samples[None])[0])
        others = self._voices | {name: self.library[name] for name in self.library.names}
        others = {name: v for name, v in others.items() if v.lm_hash == self._lm_hash}
        own = [v.vector for v in self._voices.values()]
        # Seen from a single voice every other one would be as far as that one.
        mean = np.mean(own, axis=0) if len(own) > 2 else 0.0
        return Likeness(
            len(codes) * self.engine.frame_s,
            likeness.cosine(*halves, mean),
            likeness.cosine(heard, voice.vector, mean),
            *likeness.nearest(voice, others, mean),
        )

    def say(
        self,
        text: str | Iterable[str],
        voice: VoiceLike,
        *,
        takes: int = 1,
        seed: int = 0,
        **how,
    ) -> Chunk:
        """The whole text as one `Chunk`, a waveform with its timings.

        Args:
            text: As `stream` takes it.
            voice: As `stream` takes it.
            takes: Of English, a sentence or two: say it so often at most, until a recogniser hears
                every sound of it (`voiceloom.takes`), and keep the clearest.
            seed: Of the first take.
            **how: As `stream` takes it.

        Raises:
            VoiceError, TextError: As `stream`.
            ValueError: No takes at all.
            ImportError: The recogniser of several takes is not installed.
        """
        if takes < 1:
            raise ValueError(f"{takes} takes: at least one is needed to hear anything")
        if takes == 1:
            how |= {"seed": seed, "chunk_frames": engines.MAX_FRAMES}
            return Chunk.join(list(self.stream(text, voice, **how)))
        text, voice = text if isinstance(text, str) else "".join(text), self.voice(voice)
        best, clearest = -1.0, None
        for take in range(takes):
            said = self.say(text, voice, seed=seed + take * _NEXT_TAKE, **how)
            clear = clarity(said, self.hear(said.samples), self.front_end(voice.accent))
            if clear > best:
                best, clearest = clear, said
            if clear == 1.0:
                break
        return clearest

    def stream(
        self,
        text: str | Iterable[str],
        voice: VoiceLike,
        *,
        seed: int = 0,
        rate: float = 1.0,
        pitch: float = 0.0,
        pitch_range: float = 1.0,
        temperature: float | None = None,
        lookahead: int | None = None,
        chunk_frames: int | Sequence[int] | None = None,
    ) -> Speech:
        """Speech chunk by chunk, while the rest is still being made.

        Args:
            text: A string, or pieces of text as they are written; a sentence is spoken when it is
                complete, or with a `lookahead` as soon as so many words of it are. It may carry
                the marks of `data.markup`: `<break time="500ms"/>`, `<emphasis>`,
                `<phoneme ph="...">`, `<prosody rate="0.8" pitch="+2st">`.
            voice: Anything that `voice` takes.
            seed: Equal seeds give equal speech, bit for bit, at any chunk size.
            rate: Speaking rate, a factor.
            pitch: Semitones above the voice's own.
            pitch_range: Factor on the rise and fall of the melody; 0 is a monotone.
            temperature: Of the first book and the durations; None for the model's own.
            lookahead: Words that must have been written behind the one that is spoken: 0, 1, 2, 4;
                fewer wait less and know less of the sentence. None waits for the whole sentence.
            chunk_frames: Frames per chunk: a number, or several that are cycled; None grows them
                with the lead.

        Raises:
            VoiceError: At once. TextError: at the first chunk, if nothing can be spoken.
        """
        speaker = self._speaker(
            voice, seed, rate, pitch, pitch_range, temperature, lookahead, chunk_frames
        )
        return Speech(speaker, [text] if isinstance(text, str) else text)

    async def astream(
        self, text: str | Iterable[str] | AsyncIterable[str], voice: VoiceLike, **how
    ) -> AsyncIterator[Chunk]:
        """`stream` for asyncio: takes async iterators of text, works in a thread per chunk."""
        speaker = await asyncio.to_thread(self._speaker, voice, **how)
        try:
            async for piece in _pieces(text):
                speaker.feed(piece)
                while (chunk := await asyncio.to_thread(speaker.next)) is not None:
                    yield chunk
            speaker.flush()
            while (chunk := await asyncio.to_thread(speaker.next)) is not None:
                yield chunk
        finally:
            speaker.close()

    def codec_roundtrip(self, samples: Float32[np.ndarray, " S"]) -> Waveform:
        """Samples through the codec at the books the language model writes: its ceiling."""
        codes = self.engine.codec.encode(samples[None], self.engine.books)
        return Waveform(self.engine.codec.decode(codes)[0, : len(samples)], self.sample_rate)

    def _listen(self, samples: Float32[np.ndarray, " S"]) -> Prompt | None:
        """The prompt of a reference."""
        engine, said = self.engine, aligner.transcribe(self.phones(samples))
        encode = lambda heard: engine.codec.encode(heard[None], engine.books)[0]  # noqa: E731
        frame_rate = 1 / engine.frame_s
        return prompt.listen(samples, self.sample_rate, encode, frame_rate, said, engine.advance)

    def _speaker(
        self,
        voice: VoiceLike,
        seed: int = 0,
        rate: float = 1.0,
        pitch: float = 0.0,
        pitch_range: float = 1.0,
        temperature: float | None = None,
        lookahead: int | None = None,
        chunk_frames: int | Sequence[int] | None = None,
    ) -> Speaker:
        begun = time.perf_counter()
        found = self.voice(voice)
        slot = batch.Batch(self.engine).open(
            found.vector, seed, temperature, rate, pitch, pitch_range, lookahead,
            memory=self.engine.memory(found),
        )  # fmt: skip
        front_end, voice_s = self.front_end(found.accent), time.perf_counter() - begun
        return Speaker(self.engine, slot, front_end, chunk_frames, begun, voice_s)

    def phones(self, samples: Float32[np.ndarray, " S"]) -> Float32[np.ndarray, "T V"]:
        """What sounds in every 10 ms of a clip at 24 kHz: the aligner's log posteriors."""
        with self._lock:
            self._phones = self._phones or Phones()
        return self._phones(samples)

    def hear(self, samples: Float32[np.ndarray, " S"]) -> str:
        """What a recogniser hears in a clip of English at 24 kHz; ImportError if there is none."""
        with self._lock:
            self._recognizer = self._recognizer or Recognizer()
        return self._recognizer(samples)

    def front_end(self, accent: str) -> FrontEnd:
        """What reads text in an accent; made once."""
        with self._lock:
            if accent not in self._front_ends:
                self._front_ends[accent] = FrontEnd(accent)
            return self._front_ends[accent]


async def _pieces(text: str | Iterable[str] | AsyncIterable[str]) -> AsyncIterator[str]:
    if isinstance(text, AsyncIterable):
        async for piece in text:
            yield piece
    else:
        for piece in [text] if isinstance(text, str) else text:
            yield piece
