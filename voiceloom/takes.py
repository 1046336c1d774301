"""How clear a take is: whether a recogniser hears the sounds of the text in it.

Codes are drawn, and through 1 kbit/s an f may come out as an s, in one take and not in the next.
Who need not hear the first sound at once may have several takes and keep the clearest. Choosing by
Moonshine (`data.recognizer`) among three readings of each hard sentence in a voice, 15 of 480 fail
where 22 did; choosing by the aligner, 21: it has judged the model in training
(`experiments.listening`), and what it takes for right has been learned from it (LOG.md).
"""

from __future__ import annotations

import difflib

from data.phones import PUNCTUATION, SYMBOLS
from data.text import FrontEnd, TextError
from voiceloom.waveform import Chunk


def clarity(take: Chunk, heard: str, front_end: FrontEnd) -> float:
    """How much of a take is heard as it was meant: 1 if every sound is, and no other.

    By sounds, not by words, since "urn" and "earn" are no mistake: twice those that match over all
    that were meant or heard (`difflib.SequenceMatcher`).
    """
    meant = [onset.symbol for onset in take.onsets if onset.symbol not in PUNCTUATION]
    try:
        units = front_end(heard)
    except TextError:  # nothing was
        return 0.0
    sounds = [SYMBOLS[i] for i in units.symbol if SYMBOLS[i] not in PUNCTUATION]
    return difflib.SequenceMatcher(None, meant, sounds, autojunk=False).ratio()
