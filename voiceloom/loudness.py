"""Steady loudness without clipping: the last thing speech passes before it leaves.

Voices differ by +-3 dB in the training set and human recordings by more, and a decoder may
overshoot full scale. A slow automatic gain brings the level of *speech* (10 ms blocks within 20 dB
of the level so far; pauses do not count) to TARGET_DB, by 6 dB at most; a soft knee then bends what
still exceeds -3 dBFS so that nothing reaches full scale. Both look only at the past, block by
block, so a stream is bit for bit the same however it is cut into chunks of whole blocks.

The form is that of every streaming module here, in numpy: `level(x, state) -> (y, state)`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

TARGET_DB = -20.0
"""Level of active speech, dBFS: the median voice of corpora/synthetic, so most gains are near 1."""

BLOCK_S = 0.01
MEMORY_S = 1.5  # of the level estimate, in speech: about eight syllables
MAX_GAIN = 2.0  # 6 dB either way
ACTIVE = 0.01  # -20 dB: what is weaker than the level so far by more is a pause
FLOOR = 1e-5  # -50 dBFS: never speech
KNEE = 0.7  # -3 dBFS: linear below, bent above, below 1.0 always


class LoudnessState(NamedTuple):
    power: Float[np.ndarray, " B"]  # mean square of speech so far
    gain: Float[np.ndarray, " B"]  # at the end of the last block


def init_state(batch: int) -> LoudnessState:
    """The state before the first sample: a voice at the target level."""
    return LoudnessState(np.full(batch, 10 ** (TARGET_DB / 10)), np.ones(batch))


def level(
    samples: Float32[np.ndarray, "B S"], sample_rate: int, state: LoudnessState | None = None
) -> tuple[Float32[np.ndarray, "B S"], LoudnessState]:
    """Samples at a steady level, below full scale.

    Args:
        samples: A whole number of 10 ms blocks.
        sample_rate: Hertz.
        state: What the last call returned; None at the start.
    """
    batch, length = samples.shape
    block = round(BLOCK_S * sample_rate)
    if length % block:
        raise ValueError(f"{length} samples are not a whole number of blocks of {block}")
    power, gain = state or init_state(batch)
    blocks = samples.reshape(batch, length // block, block).astype(np.float64)
    powers = np.mean(blocks**2, axis=2)  # [B, blocks]
    target, memory = 10 ** (TARGET_DB / 10), BLOCK_S / MEMORY_S
    ramp = np.arange(1, block + 1) / block
    leveled = np.empty_like(blocks)
    for i in range(blocks.shape[1]):
        heard = powers[:, i] > np.maximum(FLOOR, ACTIVE * power)
        power = np.where(heard, power + memory * (powers[:, i] - power), power)
        goal = np.clip(np.sqrt(target / power), 1 / MAX_GAIN, MAX_GAIN)
        leveled[:, i] = blocks[:, i] * (gain[:, None] + (goal - gain)[:, None] * ramp)
        gain = goal
    flat = leveled.reshape(batch, length)
    room = 1 - KNEE
    over = np.maximum(np.abs(flat) - KNEE, 0)
    bent = np.sign(flat) * (KNEE + room * np.tanh(over / room) * 0.999)
    return np.where(over > 0, bent, flat).astype(np.float32), LoudnessState(power, gain)
