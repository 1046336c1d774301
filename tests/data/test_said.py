"""Symbols of frames."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data.said import NOTHING, SLOTS, of_onsets


def test_the_one_that_goes_on_and_those_that_begin():
    found = of_onsets(np.array([5, 6, 7, NOTHING]), np.array([1.0, 1.5, 2.9, 4.0]), 6)
    assert found.tolist() == [
        [-1, -1, -1, -1],
        [-1, 5, 6, -1],
        [6, 7, -1, -1],
        [7, -1, -1, -1],
        [7, -1, -1, -1],
        [-1, -1, -1, -1],
    ]


@given(st.lists(st.floats(0, 20), max_size=30), st.integers(1, 24))
def test_no_symbol_is_said_before_its_onset_or_twice(onsets, frames):
    onset = np.sort(np.array(onsets))
    found = of_onsets(np.arange(len(onset)), onset, frames)
    assert found.shape == (frames, SLOTS)
    begun = found[:, 1:][found[:, 1:] >= 0]
    assert (np.diff(begun) > 0).all()
    for frame, symbols in enumerate(found):
        for symbol in symbols[1:][symbols[1:] >= 0]:
            assert frame <= onset[symbol] < frame + 1
        before = np.flatnonzero(onset < frame)
        assert symbols[0] == (before[-1] if len(before) else NOTHING)
