"""Sentences are cut in the right places, and in the same places however the text arrives."""

import random

import pytest

from voiceloom.segments import MAX_CHARS, Segmenter

TEXT = (
    'Dr. Smith paid $1.50 for it. "What?" she asked. He left at 5 p.m. Then it rained!  So do I. '
    "J. R. Tolkien wrote… nothing.\n\nA new paragraph starts here (really.) 1. Open it. "
    + "one two, three " * 40
    + "你好。再见！？ The end"
)


def sentences(text, pieces=None):
    segmenter = Segmenter()
    found = [s for piece in (pieces or [text]) for s in segmenter.feed(piece)]
    return found + segmenter.flush()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there. How are you?", ["Hello there.", "How are you?"]),
        ("Mr. Bean met Dr. No. They spoke.", ["Mr. Bean met Dr. No.", "They spoke."]),
        ("It costs $12.50. Fine!", ["It costs $12.50.", "Fine!"]),
        ('"What?" she asked. "No!"', ['"What?" she asked.', '"No!"']),
        ("At 5 p.m. Ann left. At 6 p.m. we ate.", ["At 5 p.m.", "Ann left.", "At 6 p.m. we ate."]),
        ("One line\nwrapped.\n\nTitle\n\nText.", ["One line\nwrapped.", "Title", "Text."]),
        ("Wait... Really?! Yes.", ["Wait...", "Really?!", "Yes."]),
        ("你好。再见！", ["你好。", "再见！"]),
        ("", []),
        (" \n ", []),
    ],
)  # fmt: skip
def test_sentences(text, expected):
    assert [s.text for s in sentences(text)] == expected


def test_segments_know_where_they_stand():
    for segment in sentences(TEXT):
        assert TEXT[segment.start :].startswith(segment.text)
        assert len(segment.text) <= MAX_CHARS
    assert "".join("".join(s.text for s in sentences(TEXT)).split()) == "".join(TEXT.split())


def test_paragraphs_are_marked():
    assert [s.paragraph for s in sentences("One.\n\nTwo. Three.")] == [True, False, False]


@pytest.mark.parametrize("seed", range(8))
def test_pieces_are_cut_like_the_whole(seed):
    rng, pieces, rest = random.Random(seed), [], TEXT
    while rest:
        size = rng.choice([1, 1, 2, 3, 7, 40])
        pieces.append(rest[:size])
        rest = rest[size:]
    assert sentences(TEXT, pieces) == sentences(TEXT)


def test_a_sentence_is_given_out_when_the_next_word_begins():
    segmenter = Segmenter()
    assert segmenter.feed("Hello there. ") == []
    assert [s.text for s in segmenter.feed("A")] == ["Hello there."]


def test_text_without_an_end_is_cut_at_clauses_and_words():
    parts = sentences("word, " * 200)
    assert all(part.text.endswith(",") for part in parts)
    assert [len(part.text) for part in sentences("x" * (MAX_CHARS + 5))] == [MAX_CHARS, 5]
