"""Clones that have learned their recording, for `experiments.cloning --learn`.

Where a corpus has no texts they are a recogniser's (`data.recognizer`), not Whisper's: it judges.
"""

from pathlib import Path

import numpy as np

from voiceloom import weights
from voiceloom.learned import Learner
from voiceloom.synthesizer import Synthesizer
from voiceloom.voice import Voice, VoiceError
from voiceloom.waveform import Waveform


class Learned:
    """Speaks as a `Synthesizer` does, in the voice that it was given last, after learning it."""

    def __init__(self, folder: Path | None):
        self._learn = Learner(weights.load(folder or weights.DEFAULT))
        self._synth = self._learn.synth

    def voice(self, reference: Waveform, accent: str, text: str | None) -> Voice:
        """The voice of a recording, once the model has learned it, by the text if it says it."""
        try:
            voice, learned = self._learn(reference, accent, text)
        except VoiceError:
            if text is None:
                raise
            voice, learned = self._learn(reference, accent, None)  # the recogniser misheard
        self._synth = Synthesizer(learned)
        return voice

    def say(self, text: str, voice: Voice, seed: int = 0) -> Waveform:
        """A sentence."""
        return self._synth.say(text, voice, seed=seed)

    def codec_roundtrip(self, samples: np.ndarray) -> Waveform:
        """See `Synthesizer`."""
        return self._synth.codec_roundtrip(samples)
