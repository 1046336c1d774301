"""A sentence that grows: nothing that was given out changes, and little is held back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.incremental import Sentence, stable
from data.markup import read
from data.phones import SYMBOLS
from data.text import FrontEnd, TextError

ASKED = "What was there to say, and who can say it?"
TEXT = "Dr. Hall paid $1.50 for the <emphasis>other</emphasis> apple, at 5 pm, and left."


@pytest.fixture(scope="module")
def front_end():
    return FrontEnd("us")


def grown(front_end, text, cuts):
    """All readings of a text that is written up to each cut, then complete."""
    sentence = Sentence(front_end)
    readings = [sentence.read(text[:cut], False) for cut in cuts]
    return [r for r in readings if r is not None] + [sentence.read(text, True)]


def assert_grows(readings):
    for a, b in zip(readings, readings[1:], strict=False):
        count = len(a.units.symbol)
        assert count <= len(b.units.symbol)
        for mine, later in zip((*a.units, *a.steer), (*b.units, *b.steer), strict=True):
            np.testing.assert_array_equal(mine, later[:count])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, len(TEXT)), max_size=12).map(sorted))
def test_what_was_given_out_stays(cuts):
    readings = grown(FrontEnd("us"), TEXT, cuts)
    assert_grows(readings)
    span = readings[-1].units.span
    assert (np.diff(span[:, 0]) >= 0).all() and span.max() <= len(TEXT)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([TEXT, ASKED]), st.lists(st.integers(0, len(TEXT)), max_size=12).map(sorted))
def test_how_it_was_pieced_is_not_heard(text, cuts):
    pieced = grown(FrontEnd("us"), text, cuts)[-1]
    whole = Sentence(FrontEnd("us")).read(text, True)
    for ours, theirs in zip(
        (*pieced.units, *pieced.steer), (*whole.units, *whole.steer), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_letter_by_letter_the_sentence_is_that_of_the_whole(front_end):
    readings = grown(front_end, TEXT, range(len(TEXT)))
    whole = read(front_end, TEXT)
    last = readings[-1]
    np.testing.assert_array_equal(last.units.symbol, whole.units.symbol)
    np.testing.assert_array_equal(last.units.word, whole.units.word)
    np.testing.assert_array_equal(last.steer.lift, whole.steer.lift)
    # Words come one by one and not all at the end.
    assert len({len(r.units.symbol) for r in readings}) >= 6


@pytest.mark.parametrize(
    "text, held",
    [
        ("I will go ho", "I will go "),
        ("It costs $1", "It costs "),
        ("It costs $1.50 ", "It costs "),
        ("It costs $1.50 now ", "It costs $1.50 now "),
        ("Ask Dr. ", "Ask "),
        ("He has the ", "He has "),
        ("Call the FBI ", "Call "),
        ("Go <break tim", "Go "),
        ('Say <phoneme ph="ab">wo rd ', "Say "),
        ('Say <phoneme ph="ab">word</phoneme> ', 'Say <phoneme ph="ab">word</phoneme> '),
        ("Never <emphasis>ever ", "Never <emphasis>ever "),
    ],
)
def test_what_may_still_change_is_held_back(text, held):
    assert stable(text) == held


def test_the_last_word_waits_for_its_neighbour_unless_a_pause_is_between(front_end):
    def said(text):
        reading = Sentence(front_end).read(text, False)
        return "" if reading is None else "".join(SYMBOLS[s] for s in reading.units.symbol)

    assert said("Apples grow ") == said("Apples grow an") == "æpᵊlz"
    assert said("Apples grow, ") == "æpᵊlzɡɹO,"
    assert said("Apples ") == said("") == ""


def test_a_sentence_of_nothing_is_refused_when_it_is_complete(front_end):
    sentence = Sentence(front_end)
    assert sentence.read("🎉 ", False) is None
    with pytest.raises(TextError):
        sentence.read("🎉 !", True)
