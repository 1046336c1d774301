"""Which questions rise, from where, and which commas are pauses."""

import numpy as np
import pytest

from data import intonation, markup
from data.phones import SYMBOLS
from data.text import FrontEnd


@pytest.fixture(scope="module")
def front_end():
    return FrontEnd("us")


@pytest.mark.parametrize(
    "sentence, rises",
    [
        ("They moved to Lisbon?", True),
        ("Are you sure?", True),
        ('"Is it ready?"', True),
        ("So you finished it?", True),
        ("Where are you?", False),
        ("And what's that?", False),
        ("Tea or coffee?", False),
        ("If it rains, where do we go?", False),
        ("You owe me ten dollars, don't you?", True),
        ("They moved to Lisbon.", False),
        ("Really?!", False),
        ("?", False),
        ("", False),
    ],
)
def test_questions_that_rise(sentence, rises):
    assert intonation.rises(sentence) == rises


def test_the_rise_begins_at_the_last_stress_and_goes_to_the_end(front_end):
    steer = markup.read(front_end, "They moved to Lisbon?").steer
    units = front_end("They moved to Lisbon?")
    held = np.flatnonzero(np.isfinite(steer.least))
    assert [SYMBOLS[s] for s in units.symbol[held]] == ["ɪ", "ə", "n"]
    assert SYMBOLS[units.symbol[np.argmax(steer.hold_s)]] == "ə" and steer.level[held].min() > 0
    assert units.stress[held[0]] == 1 and (np.diff(steer.least[held]) > 0).all()
    assert (steer.least[held[0]], steer.least[held[-1]]) == intonation.RISE_ST
    assert not np.isfinite(markup.read(front_end, "They moved to Lisbon.").steer.least).any()


def test_commas_inside_are_pauses_and_breaks_are_not_added_to_them(front_end):
    steer = markup.read(front_end, "One, two, and three.").steer
    held = steer.hold_s[steer.hold_s > 0]
    assert held == pytest.approx([intonation.COMMA_S] * 2)
    longer = markup.read(front_end, 'One, <break time="400ms"/>two.').steer.hold_s
    assert longer.max() == pytest.approx(0.4) and (longer > 0).sum() == 1
    assert not markup.read(front_end, "One. Two.").steer.hold_s.any()
