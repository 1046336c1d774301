"""What a voice has said last: its reference, as the context of everything it will say.

A vector says who speaks about as well as a hundred speakers can teach it. The recording itself says
more, if the language model hears it as its own last sentence: it goes on in that voice. What was
said there need not be known: the aligner's phones are as good as a transcript (LOG, 2026-11-26), so
a recording is all that is needed. The model hears a prompt once; what it remembers of it is copied
into every stream in that voice, and again before a sentence when much has been said since: it would
forget the recording and go on from itself.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from data import prosody
from data.phones import SYMBOL_IDS
from data.utterances import advances, onsets
from lm.aligner import Transcript

FRAMES = 120
"""At most, 9.6 s: less than the window of the language model, which forgets what is longer ago."""

PAUSE = 4
"""Frames of silence at its end: else what is said next begins with that pause. Without, a clone was
heard 160 ms after its first chunk was there (synthetic; humans 120), with three 30 and 60, with
four 30 and 30; likeness is the same."""

REMIND = 64
"""Frames of a stream's own speech after which it hears its prompt again before the next sentence:
half of what the model remembers. Without, likeness fell by .02 [.01, .03] in ten minutes."""

LEAST = 8  # phones: fewer are no speech, or none that the aligner understands


class Prompt(NamedTuple):
    """U units and T frames that have been spoken."""

    symbol: Int[np.ndarray, " U"]
    word: Int[np.ndarray, " U"]
    advance: Int[np.ndarray, " T"]  # units passed in every frame
    codes: Int[np.ndarray, "T Q"]
    prosody: Int[np.ndarray, " T"]


def from_record(
    record: Mapping[str, Any], books: int, limit: int, speaker_hz: float
) -> Prompt | None:
    """The prompt of a training clip, whose phones and codes are known; None if it is too long.

    Args:
        record: With codes, timings and pitch, as `experiments.tokenise` writes them.
        books: That the language model writes.
        limit: Units that the model passes in a frame at most.
        speaker_hz: Median pitch of the speaker.
    """
    codes = np.asarray(record["codes"], np.int32)[:, :books]
    melody = prosody.tokens(prosody.Prosody(record["hz"], record["level_db"]), speaker_hz)
    # The last unit is the full stop; a clip ends soon after it began, so its silence goes on.
    frames = int(np.ceil(record["bounds_s"][-2] * record["frame_rate"])) + PAUSE
    if frames > FRAMES:
        return None
    lasting = lambda a: a[np.minimum(np.arange(frames), len(a) - 1)]  # noqa: E731
    onset = onsets(record["bounds_s"][:-1], record["frame_rate"], frames)
    return Prompt(
        symbol=np.asarray(record["symbol"], np.int32),
        word=np.asarray(record["word"], np.int32),
        advance=advances(onset, frames, limit).astype(np.int32),
        codes=lasting(codes),
        prosody=lasting(melody),
    )


def listen(
    samples: Float[np.ndarray, " S"],
    sample_rate: int,
    encode: Callable[[Float[np.ndarray, " N"]], Int[np.ndarray, "T Q"]],
    frame_rate: float,
    said: Transcript,
    limit: int,
) -> Prompt | None:
    """The prompt of a clip; None where hardly anything is said.

    Args:
        samples: The clip.
        sample_rate: Of it.
        encode: Codes of samples, with the books that the language model writes.
        frame_rate: Of the codes.
        said: Its phones.
        limit: Units that the model passes in a frame at most.
    """
    # To the last phone that ends within the limit; its end is that of a sentence.
    count = int((said.bounds_s[1:] * frame_rate < FRAMES - PAUSE).sum())
    if count < LEAST:
        return None
    bounds_s = said.bounds_s[: count + 1]
    frames = int(np.ceil(bounds_s[-1] * frame_rate)) + PAUSE
    size = round(frames / frame_rate * sample_rate)
    heard = samples[: size if count == len(said.symbol) else round(bounds_s[-1] * sample_rate)]
    heard = np.pad(heard, (0, size - len(heard)))
    codes = encode(heard)
    melody = prosody.measure(heard, sample_rate, frame_rate, frames, prosody.yin)
    speaker_hz = prosody.median_hz([melody.hz])
    return Prompt(
        symbol=np.append(said.symbol[:count], np.int32(SYMBOL_IDS["."])),
        word=np.append(said.word[:count], said.word[count - 1]),
        advance=advances(onsets(bounds_s, frame_rate, frames), frames, limit).astype(np.int32),
        codes=codes[:frames].astype(np.int32),
        prosody=prosody.tokens(melody, speaker_hz),
    )
