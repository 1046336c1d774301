"""Pitch, how close a copy is to its original, and how it sounds to one who knows no original."""

from typing import NamedTuple

import librosa
import numpy as np
from jaxtyping import Bool, Float
from scipy import signal

from voiceloom.judges.needs import RATE, at_16k, require


class Pitch(NamedTuple):
    """A pitch track: frame times in seconds, F0 in Hz (0 where unvoiced), and voicing."""

    times_s: Float[np.ndarray, " T"]
    hz: Float[np.ndarray, " T"]
    voiced: Bool[np.ndarray, " T"]


class Aligned(NamedTuple):
    """A copy shifted onto its original, both at 16 kHz and cut to what they share; its lag."""

    reference: Float[np.ndarray, " S"]
    degraded: Float[np.ndarray, " S"]
    delay_s: float


def pitch(samples: Float[np.ndarray, " S"], sample_rate: int) -> Pitch:
    """Returns the F0 track of speech (60-450 Hz, 10 ms apart) by probabilistic YIN."""
    hz, voiced, _ = librosa.pyin(
        at_16k(samples, sample_rate),
        fmin=60,
        fmax=450,
        sr=RATE,
        frame_length=1024,
        hop_length=160,
        resolution=0.2,  # of a semitone: half the time of the default 0.1
        fill_na=0.0,
    )
    return Pitch(np.arange(len(hz)) * 160 / RATE, hz * voiced, voiced)


def align(
    reference: Float[np.ndarray, " S"],
    degraded: Float[np.ndarray, " S2"],
    sample_rate: int,
    max_delay_s: float = 0.2,
) -> Aligned:
    """Returns both signals at 16 kHz over what they share, at the lag where they are most alike.

    The envelopes say where, to some milliseconds, and the waveforms exactly where near there: a
    codec that keeps no phase gives a waveform that fits nowhere better than anywhere.
    """

    def best(x: np.ndarray, y: np.ndarray, near: int, reach: float) -> int:
        lags = signal.correlation_lags(len(y), len(x))
        scores = signal.correlate(y, x, method="fft")
        return int(lags[np.argmax(np.where(abs(lags - near) <= reach, scores, -np.inf))])

    reference, degraded = at_16k(reference, sample_rate), at_16k(degraded, sample_rate)
    smooth = signal.windows.hann(round(0.008 * RATE))
    envelopes = [np.convolve(np.abs(x), smooth, "same") for x in (reference, degraded)]
    envelopes = [x - x.mean() for x in envelopes]
    rough = best(*envelopes, 0, max_delay_s * RATE)
    lag = best(reference, degraded, rough, 0.003 * RATE)
    reference, degraded = reference[max(-lag, 0) :], degraded[max(lag, 0) :]
    size = min(len(reference), len(degraded))
    return Aligned(reference[:size], degraded[:size], lag / RATE)


def pesq_wb(pair: Aligned) -> float:
    """Returns wide-band PESQ (ITU-T P.862.2, 1.0 to 4.64) of a copy against its original."""
    return float(require("pesq").pesq(RATE, pair.reference, pair.degraded, "wb"))


def estoi(pair: Aligned) -> float:
    """Returns extended short-time intelligibility (0 to 1) of a copy against its original."""
    return float(require("pystoi").stoi(pair.reference, pair.degraded, RATE, extended=True))


def naturalness(samples: Float[np.ndarray, " S"], sample_rate: int) -> float:
    """Returns DNSMOS overall (arXiv 2110.01763, 1 to 5) of the first nine seconds.

    It hears noise and artefacts but knows no original: codecs that clean up score above recordings.
    So it is shown as a difference, beside figures of fidelity.
    """
    window = np.resize(np.clip(at_16k(samples, sample_rate), -1, 1), round(9.01 * RATE))
    told = require("speechmos.dnsmos").run(window, RATE, return_df=False)
    return float(told["ovrl_mos"])
