"""Other microphones and rooms: what else a voice is heard through, drawn from a name.

A reference comes through somebody's microphone in somebody's room, and to the listener (and to the
judge of speakers) that is part of the voice. Readers of a corpus all sound from one place, so the
language model learns to move everybody there; if every speaker has a place of his own, it learns
to stay where the reference was.
"""

import zlib

import numpy as np
from jaxtyping import Float32
from scipy.signal import fftconvolve

OCTAVES_HZ = 62.5 * 2.0 ** np.arange(9)
UNEVEN_DB = 4.0  # standard deviation of a microphone's response at each octave
ROOM_S = (0.1, 0.5)  # time to fall by 60 dB
DIRECT_DB = (3.0, 20.0)  # the voice itself above its room
TAPS = 1024


def drawn(speaker: str, seed: int) -> np.random.Generator:
    """What is drawn for a speaker: the same for all of his clips."""
    return np.random.default_rng([seed, zlib.crc32(speaker.encode())])


def microphone(rng: np.random.Generator, rate: int) -> Float32[np.ndarray, " N"]:
    """Impulse response of an uneven microphone, symmetric about its middle."""
    hz = np.fft.rfftfreq(TAPS, 1 / rate)
    level_db = rng.normal(0, UNEVEN_DB, len(OCTAVES_HZ))
    octave = np.log2(np.maximum(hz, OCTAVES_HZ[0]))
    response = 10 ** (np.interp(octave, np.log2(OCTAVES_HZ), level_db) / 20)
    impulse = np.fft.fftshift(np.fft.irfft(response)) * np.hanning(TAPS + 1)[:TAPS]
    return impulse.astype(np.float32)


def room(rng: np.random.Generator, rate: int) -> Float32[np.ndarray, " N"]:
    """Impulse response of a room: the voice, and a noise that dies away."""
    fall_s, direct_db = np.exp(rng.uniform(*np.log(ROOM_S))), rng.uniform(*DIRECT_DB)
    time_s = np.arange(round(fall_s * rate)) / rate
    tail = rng.normal(size=len(time_s)) * 10 ** (-3 * time_s / fall_s)
    tail[: round(0.002 * rate)] = 0.0
    impulse = tail * 10 ** (-direct_db / 20) / np.sqrt(np.sum(tail**2))
    impulse[0] = 1.0
    return impulse.astype(np.float32)


def heard(
    samples: Float32[np.ndarray, " S"], rng: np.random.Generator, rate: int
) -> Float32[np.ndarray, " S"]:
    """The samples through a microphone in a room (half of them in none), as loud and in step."""
    sound = fftconvolve(samples, microphone(rng, rate))[TAPS // 2 :]
    if rng.random() < 0.5:
        sound = fftconvolve(sound, room(rng, rate))
    sound = sound[: len(samples)]
    level = np.sqrt(np.mean(samples**2) / (np.mean(sound**2) + 1e-12))
    sound = sound * min(level, 0.98 / (np.abs(sound).max() + 1e-9))
    return sound.astype(np.float32)
