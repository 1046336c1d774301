"""Marks: taken out of the text, brought back on the units they cover, refused when senseless."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.markup import read
from data.phones import SYMBOLS
from data.text import FrontEnd, TextError


@pytest.fixture(scope="module")
def front_end():
    return FrontEnd("us")


def spoken(reading):
    return "".join(SYMBOLS[s] for s in reading.units.symbol)


def covered(reading, field, text):
    """The pieces of the text whose units ask for something, in order, each once."""
    values = getattr(reading.steer, field)
    spans = dict.fromkeys(tuple(span) for span in reading.units.span[values != 0].tolist())
    return [text[a:b] for a, b in spans]


@pytest.mark.parametrize(
    "bare, marked",
    [
        ("Take the second left.", "Take the <emphasis>second</emphasis> left."),
        ("Say it slowly, now.", 'Say it <prosody rate="80%" pitch="-2st">slowly, now</prosody>.'),
        ("Five, then six.", 'Five, <break time="0.4s"/>then six.'),
        ("Three < four.", "Three < <emphasis level='strong'>four</emphasis>."),
    ],
)
def test_marks_change_no_phone(front_end, bare, marked):
    plain, reading = front_end(bare), read(front_end, marked)
    np.testing.assert_array_equal(reading.units.symbol, plain.symbol)
    np.testing.assert_array_equal(reading.units.word, plain.word)
    for (a, b), (c, d) in zip(plain.span, reading.units.span, strict=True):
        assert bare[a:b] == marked[c:d]


def test_what_is_covered_and_by_how_much(front_end):
    text = 'Take the <emphasis>second</emphasis> <prosody rate="0.5" pitch="+2.5st">left</prosody>.'
    reading = read(front_end, text)
    assert covered(reading, "level", text) == ["second"]
    assert covered(reading, "lift", text) == ["second", "left"]
    assert reading.steer.lift.max() == 2.5
    assert reading.steer.stretch.max() == pytest.approx(math.log(2))
    assert not reading.steer.hold_s.any() and reading.lead_s == 0


def test_a_break_is_held_on_the_pause_it_stands_at_or_makes_one(front_end):
    for text, pauses in (
        ('Wait <break time="600ms"/> for it.', ",."),
        ('Wait, <break time="600ms"/>for it.', ",."),
        ('Wait for it.<break time=".6s"/>', "."),
    ):
        reading = read(front_end, text)
        assert "".join(c for c in spoken(reading) if c in ",.") == pauses
        assert list(reading.steer.hold_s[reading.steer.hold_s > 0]) == [np.float32(0.6)]
        assert SYMBOLS[reading.units.symbol[np.argmax(reading.steer.hold_s)]] == pauses[0]
    first = read(front_end, '<break/> <break time="2s"/>Now.')
    assert first.lead_s == 2.5 and not first.steer.hold_s.any()
    assert read(front_end, 'A <break time="99s"/> b.').steer.hold_s.max() == 10


def test_a_pronunciation_takes_the_place_of_the_word(front_end):
    text = 'Ask <phoneme alphabet="ipa" ph="ˈʃɪvɔːn">Siobhan</phoneme>, please.'
    reading = read(front_end, text)
    assert spoken(reading) == "æskʃɪvɔn,pliz."
    vowel = spoken(reading).index("ɪ")
    assert reading.units.stress[vowel] == 1, "stress is written before the syllable"
    assert [text[a:b] for a, b in reading.units.span[3:8]] == ["Siobhan"] * 5
    assert list(reading.units.word) == [0] * 3 + [1] * 6 + [2] * 5
    assert spoken(read(front_end, 'Say <phoneme ph="dʒʌmp"/>.')) == "sAʤʌmp."


@pytest.mark.parametrize(
    "text, says",
    [
        ('<break time="soon"/>a', "write 300ms"),
        ('<emphasis level="huge">a</emphasis>', "moderate"),
        ("<phoneme>a</phoneme>", "IPA"),
        ('<phoneme ph="七">a</phoneme>', "七"),
        ('<prosody rate="fast">a</prosody>', "factor"),
        ('<prosody pitch="high">a</prosody>', "semitones"),
        ('<break time="1s"/>', "nothing"),
    ],
)
def test_what_cannot_be_said_is_refused_with_the_cure(front_end, text, says):
    with pytest.raises(TextError, match=says):
        read(front_end, text)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.sampled_from(
            [
                "one",
                " ",
                ", ",
                "two",
                "<emphasis>",
                "</emphasis>",
                '<break time="1s"/>',
                "<b>",
                "<",
                ">",
                '<prosody pitch="1st">',
                "</prosody>",
                "</break>",
                '<phoneme ph="a"/>',
            ],
        ),
        max_size=12,
    )
)
def test_any_mixture_of_marks_is_read_or_refused(pieces):  # fmt: skip
    text = "".join(pieces)
    try:
        reading = read(FrontEnd("us"), text)
    except TextError:
        return
    spans = reading.units.span
    assert (spans[:, 0] < spans[:, 1]).all() or (spans[-1, 0] == spans[-1, 1])
    assert spans.min() >= 0 and spans.max() <= len(text)
    assert all(len(a) == len(spans) for a in reading.steer)
