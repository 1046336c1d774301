"""What a listener would say, in numbers: words understood, voice recognised, pitch, fidelity.

The judges are other people's models and metrics; nothing here is trained by us, and no training
loss may use them:

* `Transcriber`: Whisper base (Radford et al. 2022, https://arxiv.org/abs/2212.04356), int8 on
  CTranslate2, one clip per call, greedy, English. `word_errors` counts what it missed.
* `SpeakerEncoder`: the GE2E speaker embedding of Resemblyzer (https://arxiv.org/abs/1710.10467), a
  three-layer LSTM read from its PyTorch file and run here in numpy, so that no torch is needed.
* `pitch`: probabilistic YIN. `pesq_wb` and `estoi`: a copy against its original. `naturalness`:
  DNSMOS, which knows no original.
* `bootstrap`: the 95 % interval that stands beside every figure.

`python -m experiments.get_judges` fetches the models, `pip install -e '.[evaluate]'` the packages.
"""

from voiceloom.judges.intervals import Interval, bootstrap
from voiceloom.judges.needs import RATE, at_16k
from voiceloom.judges.sound import Aligned, Pitch, align, estoi, naturalness, pesq_wb, pitch
from voiceloom.judges.speakers import SpeakerEncoder, read_torch
from voiceloom.judges.words import Transcriber, WordErrors, failed, spoken_words, word_errors

__all__ = [
    "RATE",
    "Aligned",
    "Interval",
    "Pitch",
    "SpeakerEncoder",
    "Transcriber",
    "WordErrors",
    "align",
    "at_16k",
    "bootstrap",
    "estoi",
    "failed",
    "naturalness",
    "pesq_wb",
    "pitch",
    "read_torch",
    "spoken_words",
    "word_errors",
]
