"""What counts as the same: ties, what follows from them, faults, bars."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import parity
from experiments.parity import Codes
from lm.pretrained.orpheus import Tokens

RESIDUAL = SimpleNamespace(sizes=(8, 8, 8))
MIMI = SimpleNamespace(sizes=(8, 8, 8), semantic=1)
SNAC = SimpleNamespace(sizes=(8,) * 7, strides=(4, 2, 1))


@pytest.mark.parametrize(
    ("cfg", "where", "tie", "faults"),
    [
        (RESIDUAL, [1], [1], 0),  # a tie
        (RESIDUAL, [1], [], 1),  # none
        (RESIDUAL, [1, 2], [1], 0),  # the later book describes another rest
        (RESIDUAL, [0, 1], [1], 1),  # a tie that comes after a fault
        (MIMI, [0, 1], [0], 1),  # its first book leaves nothing to the others
        (MIMI, [1, 2], [1], 0),
        (SNAC, [1, 3, 4], [1], 0),  # the middle level's first code, and what it spans
        (SNAC, [1, 5], [1], 1),  # and what it does not
        (SNAC, [0, 2, 6], [0], 0),
    ],
)  # fmt: skip
def test_a_code_may_differ_at_a_tie_and_after_one(cfg, where, tie, faults):
    wanted = np.zeros((1, 2, len(cfg.sizes)), int)
    codes, margins = wanted.copy(), np.full(wanted.shape, 0.1)
    codes[0, 1, where], margins[0, 1, tie] = 1, 1e-6
    found = parity.differing(codes, wanted, wanted + 1, margins, parity.rest_of(cfg))
    assert found == Codes(wanted.size, len(where), faults, len(tie) / wanted.size)
    others = parity.differing(codes, wanted, wanted + 2, margins, parity.rest_of(cfg))
    assert others.faults > 0, "a tie is between the two that are nearest"


def test_another_frame_excuses_nothing():
    wanted = np.zeros((1, 2, 3), int)
    codes, margins = wanted.copy(), np.full(wanted.shape, 0.1)
    codes[0, 0, 0] = codes[0, 1, 1] = 1
    margins[0, 0, 0] = 0
    assert parity.differing(codes, wanted, codes, margins, parity.rest_of(RESIDUAL)).faults == 1


def test_counts_add_up():
    assert Codes(10, 1, 0, 0.1) + Codes(30, 2, 1, 0.3) == Codes(40, 3, 1, pytest.approx(0.25))
    assert parity.apart(np.array([1.0, -3.0]), np.array([1.0, -4.0])) == 0.25


def test_a_stream_is_cut_into_frames_and_put_together():
    pushed = []

    def push(block):
        pushed.append(block.shape[1])
        return block[:, ::2]

    x = np.arange(22)[None]
    parts, took = parity.streamed(push, x, unit=2, first=3)
    np.testing.assert_array_equal(parts, x[:, ::2])
    assert pushed[0] == 6 and set(pushed[1:]) == {2} and len(took) == parity.STEPS


def test_tokens_become_frames_in_snacs_order():
    known = Tokens(first_code=100, codes=10)
    tokens = 100 + 10 * np.arange(7) + np.array([0, 1, 3, 4, 2, 5, 6])
    found = parity.orpheus_codes(np.tile(tokens, (2, 3)), known)
    np.testing.assert_array_equal(found, np.broadcast_to(np.arange(7), (2, 3, 7)))


def codec(**changes):
    took = {"theirs_ms": 10.0, "ours_ms": 9.0, "ratio": 0.9}
    return {
        "parameters_m": 1.0, "codes": {"count": 10, "differ": 1, "faults": 0, "ties": 0.1},
        "samples": 1e-6, "stream": {"codes": 1, "faults": 0, "samples": 1e-6},
        "encode": took, "decode": took,
        "frame_ms": 80.0, "step_ms": {"encode": [1.0, 2.0], "decode": [3.0, 4.0]},
        "others_cores": 0.0,
    } | changes  # fmt: skip


def test_the_table_says_what_is_missed():
    slow = {"theirs_ms": 10.0, "ours_ms": 16.0, "ratio": 1.6}
    spoken = {"parameters_m": 2.0, "logits": 1e-6, "codes": {"count": 5, "differ": 0},
              "frames": 4, "say": slow, "others_cores": 0.9}  # fmt: skip
    found = {"machine": "here", "torch": "2", "transformers": "5"}
    good = found | {"models": {"mimi": codec()}}
    assert not parity.failures(good) and "All bars are met." in parity.markdown(good)
    wrong = codec(samples=1e-3, codes={"count": 10, "differ": 2, "faults": 1, "ties": 0.1})
    bad = found | {"models": {"mimi": wrong, "csm": spoken}}
    assert parity.failures(bad) == [
        "mimi: codes differ without a tie", "mimi: samples differ", "csm: say takes too long",
    ]  # fmt: skip
    table = parity.markdown(bad)
    assert (
        "| csm, **disturbed, do not quote** | 2 | 1.0e-06 | 5 | 0 | 10 | 16 | 1.60 | 4 |" in table
    )
    assert "1.0 / 2.0 | 3.0 / 4.0 |" in table and json.dumps(bad)
