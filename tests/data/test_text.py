"""Text becomes units whose words and spans point back at the text."""

from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from data.phones import SYMBOLS, boundary_class
from data.text import MAX_CHARACTERS, FrontEnd, TextError

US, GB, DE = FrontEnd("us"), FrontEnd("gb"), FrontEnd("de")


def written(units):
    """The units as a phone string, words parted by spaces."""
    out, word = [], 0
    for symbol, stress, now in zip(units.symbol, units.stress, units.word, strict=True):
        out.append(" " * int(now > word) + ("", "ˈ", "ˌ")[stress] + SYMBOLS[symbol])
        word = now
    return "".join(out)


# Labels of corpora/synthetic, made by phonemizer-fork (espeak joins words: "ðɛɹˌɑɹ", "fɹʌmðɪ").
LABELS = [
    ("us", "It is small, broken, and almost impossible to examine.",
     "ɪT ɪz smˈɔl, bɹˈOkən, ænd ˈɔlmOst ɪmpˈɑsᵻbᵊl tʊ ɛɡzˈæmɪn."),
    ("us", "There are two ways to deliver a suitcase, and Xena knows all of them.",
     "ðɛɹˌɑɹ tˈu wˈAz tə dᵻlˈɪvəɹɹ ə sˈutkAs, ænd zˈinə nˈOz ˈɔl ʌv ðˌɛm."),
    ("us", "How many salmons can you see from the airport?",
     "hˌW mˈɛni sˈæmənz kæn ju sˈi fɹʌmðɪ ˈɛɹpɔɹt?"),
    ("us", "Agent Fain retired from the FBI in October nineteen sixty-two, and the closed Oswald "
     "case was not reassigned.",
     "ˈAʤənt fˈAn ɹᵻtˈIəɹd fɹʌmðɪ ˌɛfbˌiˈI ɪn ɑktˈObəɹ nˈIntin sˈɪkstitˈu, ænd ðə klˈOzd "
     "ˈɑswᵊld kˈAs wʌz nˌɑt ɹˌiəsˈInd."),
    ("gb", "Lee Oswald exhibited an average amount of proficiency with that weapon.",
     "lˈiː ˈɒswᵊld ɛɡzˈɪbɪtɪd ən ˈavɹɪʤ əmˈWnt ɒv pɹəfˈɪʃənsi wɪð ðat wˈɛpən."),
    ("gb", "Is that right?", "ɪz ðat ɹˈIt?"),
    ("us", "Is the guitar still at the garden, or has Rosa moved it?",
     "ɪz ðə ɡɪtˈɑɹ stˈɪl æt ðə ɡˈɑɹdən, ɔɹ həz ɹˈOsə mˈuvd ɪt?"),
]  # fmt: skip


@pytest.mark.parametrize(("accent", "text", "label"), LABELS)
def test_phones_are_those_of_the_corpus(accent, text, label):
    units = FrontEnd(accent)(text)
    assert written(units).replace(" ", "") == label.replace(" ", "")


def test_joined_words_are_told_apart():
    units = US("on the way, out of a box from the attic")
    assert written(units) == "ɔn ðə wˈA, ˌWT əv ə bˈɑks fɹʌm ðɪ ˈæTɪk."


@pytest.mark.parametrize(
    "text",
    [
        "I am on the way, there are two of a kind.",
        "GitHub and ChatGPT are for the team on the line.",
        "It is in the U.S. for a day, www and all.",
    ],
)
def test_every_word_has_a_phone_and_its_own_span(text):
    units = US(text)
    spoken = sorted({text[a:b] for a, b in units.span if text[a:b].strip(".,")})
    assert spoken == sorted({word.strip(",") if word != "U.S." else word for word in
                             text.rstrip(".").split()})  # fmt: skip
    assert set(units.word) == set(range(units.word.max() + 1))


def test_spans_and_pauses_point_at_the_input():
    text = "Well... pay $12.50 (now)?!  😀"
    units = US(text)
    marks = [(SYMBOLS[s], text[a:b]) for s, (a, b) in zip(units.symbol, units.span, strict=True)]
    pauses = [pair for pair in marks if boundary_class(SYMBOLS.index(pair[0]))]
    assert [pause for pause, _ in pauses] == [",", ",", "?"]
    assert pauses[0][1] == "..." and pauses[2][1].endswith("?!")
    assert {source for symbol, source in marks if not boundary_class(SYMBOLS.index(symbol))} == {
        "Well", "pay", "$12.50", "now",
    }  # fmt: skip
    assert units.word.max() == 7  # well pay twelve dollars and fifty cents now


def test_a_full_stop_closes_an_open_text():
    units = US("hello")
    assert SYMBOLS[units.symbol[-1]] == "." and units.span[-1].tolist() == [5, 5]


@pytest.mark.parametrize("text", ["", "  \n", "😀🎉", "...!?", '"()"', "\x00\u200b"])
def test_nothing_to_say_is_an_error(text):
    with pytest.raises(TextError, match="nothing"):
        US(text)


def test_length_limits():
    assert US("word " * 5000).word.max() == 4999
    with pytest.raises(TextError, match="pieces"):
        US("a" * (MAX_CHARACTERS + 1))


@pytest.mark.parametrize("text", ["A." * 2000, "w" * 3000, "日" * 2000 + "a", "-a" * 2000])
def test_endless_words_do_not_overrun_espeak(text):
    for front in (US, DE):  # uncut, "A.A.A." of 4,000 letters smashes espeak's stack
        assert len(front(text).symbol) >= 2


def test_other_languages_and_unknown_ones():
    assert written(DE("Das kostet 3,50 € und 1.000 Punkte.")).count(",") == 0
    for code in ("fr-fr", "es-419", "it", "ru"):
        assert len(FrontEnd(code)("Da, no, oui!").symbol) > 5
    assert "(" not in written(DE("Das Meeting ist cool."))
    with pytest.raises(ValueError, match="accent"):
        FrontEnd("klingon")


def test_threads_get_what_one_alone_gets():
    texts = [f"Sentence {n} is from the {n}th list on the table." for n in range(60)]
    jobs = [(front, text) for text in texts for front in (FrontEnd("us"), FrontEnd("gb"))]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: written(job[0](job[1])), jobs))
    assert together == [written(front(text)) for front, text in jobs]


WORDS = st.lists(
    st.sampled_from(
        "on the of a from I am there are in to it is an GitHub FBI $5 3.5 - — , . ?! B7X9 日本 é "
        "www.a.com (x) don't 10:30 привет नमस्ते".split()
    ),
    max_size=12,
).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | WORDS, st.sampled_from([US, GB, DE]))
def test_any_text_gives_sound_units_or_a_text_error(text, front):
    try:
        units = front(text)
    except TextError:
        return
    n = len(units.symbol)
    assert n >= 2 and units.stress.shape == units.word.shape == (n,) and units.span.shape == (n, 2)
    assert all(field.dtype == np.int32 for field in units)
    assert ((units.symbol > 0) & (units.symbol < len(SYMBOLS))).all()
    assert units.word[0] == 0 and set(np.diff(units.word)) <= {0, 1}
    assert (units.span >= 0).all() and (units.span <= len(text)).all()
    assert (units.span[:, 0] <= units.span[:, 1]).all()
    assert (np.diff(units.span, axis=0) >= 0).all()
    pause = np.array([boundary_class(s) > 0 for s in units.symbol])
    assert pause[-1] and not pause[0] and not (pause[1:] & pause[:-1]).any()
