"""What a clip says: English texts for recordings that come without (`data.prepare --transcribe`).

Moonshine tiny (Jeffries et al. 2024, arXiv:2410.15608), since its model lies in its wheel and hears
30 s of speech in one second of a core. Not Whisper, which judges here: a judge that wrote the texts
the model learns from would find its own mistakes right.
"""

import threading

import numpy as np
import soxr
from jaxtyping import Float

from data.audio import SAMPLE_RATE

_RATE = 16_000
_AROUND_S = 0.25, 0.5  # of silence: its voice activity detector cuts into what begins at once


class Recognizer:
    """Samples in, text out."""

    def __init__(self):
        """Loads the model.

        Raises:
            ImportError: The extra is not installed.
        """
        try:
            from moonshine_voice.moonshine_api import ModelArch
            from moonshine_voice.transcriber import Transcriber
            from moonshine_voice.utils import get_model_path
        except (ImportError, OSError) as error:
            raise ImportError(
                f"hearing what is said needs a recogniser ({error}): pip install -e "
                "'.[transcribe]'; recordings with a .txt beside each need none"
            ) from error
        self._model = Transcriber(str(get_model_path("tiny-en")), ModelArch.TINY)
        self._lock = threading.Lock()  # nothing is said of its use by several threads

    def __call__(self, samples: Float[np.ndarray, " S"]) -> str:
        """What is said in a clip at 24 kHz, with punctuation; empty where nothing is heard."""
        samples = soxr.resample(samples, SAMPLE_RATE, _RATE)
        before, after = (round(s * _RATE) for s in _AROUND_S)
        with self._lock:
            heard = self._model.transcribe_without_streaming(
                np.pad(samples, (before, after)).tolist(), _RATE
            )
        return " ".join(line.text.strip() for line in heard.lines).strip()
