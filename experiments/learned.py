"""Clones that have learned their recording, for `experiments.cloning --learn`.

    python -m experiments.cloning --learn --out experiments/results/cloning_learned

Texts are a recogniser's (`data.recognizer`) where the corpus has none: not Whisper's, which judges.
"""

from pathlib import Path

import numpy as np

from data.audio import SAMPLE_RATE
from data.recognizer import Recognizer
from voiceloom import weights
from voiceloom.learned import Learner
from voiceloom.synthesizer import Synthesizer
from voiceloom.voice import Voice, read_reference
from voiceloom.waveform import Waveform


class Learned:
    """Speaks as a `Synthesizer` does, in the voice that it was given last, after learning it."""

    def __init__(self, folder: Path | None):
        self._learner, self._recognizer = Learner(weights.load(folder or weights.DEFAULT)), None
        self._synth = self._learner.synth

    def voice(self, reference: Waveform, accent: str = "us", text: str | None = None) -> Voice:
        """The voice of a recording, once the model has learned it."""
        self._recognizer = self._recognizer or Recognizer()
        text = text or self._recognizer(read_reference(reference, SAMPLE_RATE))
        try:
            voice, learned = self._learner(reference, accent, text)
        except ValueError:  # misheard: the phones, then
            voice, learned = self._learner(reference, accent)
        self._synth = Synthesizer(learned)
        return voice

    def say(self, text: str, voice: Voice, seed: int = 0) -> Waveform:
        """A sentence."""
        return self._synth.say(text, voice, seed=seed)

    def codec_roundtrip(self, samples: np.ndarray) -> Waveform:
        """See `Synthesizer`."""
        return self._synth.codec_roundtrip(samples)
