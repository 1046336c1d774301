"""Phone strings become units, and labels with durations become times."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from data import phones

IDS = phones.SYMBOL_IDS
LABEL = st.text(alphabet='aˈˌ ,.?!—ðəʤːɹ\u0303"ж', min_size=1, max_size=40)


def names(units):
    return [phones.SYMBOLS[s] for s in units.symbol]


def test_alphabet_is_one_id_per_symbol_and_padding_is_zero():
    assert len(set(phones.SYMBOLS)) == len(phones.SYMBOLS)
    assert IDS["<pad>"] == phones.PAD == 0
    assert not set("ˈˌ ") & set(phones.SYMBOLS)
    assert set("AIOQWYʤʧTᵊᵻ") <= set(phones.SYMBOLS)


def test_boundary_classes_tell_pauses_apart_from_phones():
    classes = [phones.boundary_class(IDS[s]) for s in ",.?!:;—…"]
    assert classes == [1, 2, 3, 4, 5, 5, 6, 6]
    assert max(classes) == phones.BOUNDARY_CLASSES - 1
    assert phones.boundary_class(IDS["A"]) == 0 and phones.boundary_class(phones.PAD) == 0


def test_label_becomes_units_with_times():
    label = "ðə kˈæt, ʃˌʊd."
    durations = [20, 2, 4, 2, 4, 2, 6, 4, 10, 4, 6, 2, 8, 4, 16, 30]
    units, bounds_s = phones.units_from_labels(label, durations)
    assert names(units) == list("ðəkæt,ʃʊd.")
    assert units.stress.tolist() == [0, 0, 0, 1, 0, 0, 0, 2, 0, 0]
    assert units.word.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert (units.span == -1).all()
    # ə has half the space (1 of 2), æ its stress mark (2 + 6), the comma half of its space.
    steps = [20, 22, 27, 32, 40, 44, 56, 64, 74, 78, 94]
    np.testing.assert_allclose(bounds_s, np.array(steps) * 0.0125, atol=1e-6)


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ("a?!", "?"),
        ("a!?", "?"),
        ("a.,", "."),
        ("a,.", "."),
        ("a, , ", ","),
        ("a .", "."),
        ('a."', "."),
        ("a…!", "!"),
        ("a,—", "—"),
    ],
)
def test_a_run_of_punctuation_is_one_pause_the_strongest(label, kept):
    units = phones.units_from_labels(label, [1] * (len(label) + 2)).units
    assert names(units) == ["a", kept]
    assert units.word.tolist() == [0, 0]


def test_a_full_stop_of_no_length_closes_an_open_label():
    units, bounds_s = phones.units_from_labels("aɪ", [3, 4, 5, 6])
    assert names(units) == ["a", "ɪ", "."]
    np.testing.assert_allclose(bounds_s, np.array([3, 7, 12, 12]) * 0.0125, atol=1e-6)


def test_a_pause_belongs_to_the_word_before_and_ends_it():
    units = phones.units_from_labels("a , b  c:d.", [1] * 13).units
    assert names(units) == list("a,bc:d.")
    assert units.word.tolist() == [0, 0, 1, 2, 2, 3, 3]


def test_mismatched_or_empty_labels_are_refused():
    with pytest.raises(ValueError, match="durations"):
        phones.units_from_labels("ab", [1, 1])
    with pytest.raises(ValueError, match="no phone"):
        phones.units_from_labels(", .", [1] * 5)


@given(LABEL, st.data())
def test_any_label_gives_ordered_units_within_the_clip(label, data):
    n = len(label) + 2
    durations = data.draw(st.lists(st.integers(0, 50), min_size=n, max_size=n))
    try:
        units, bounds_s = phones.units_from_labels(label, durations)
    except ValueError:
        assert not set("aðəʤːɹ\u0303") & set(label)
        return
    assert len(bounds_s) == len(units.symbol) + 1
    assert (np.diff(bounds_s) >= 0).all()
    assert bounds_s[0] >= durations[0] * 0.0125 - 1e-5
    assert bounds_s[-1] <= sum(durations[:-1]) * 0.0125 + 1e-4
    assert ((units.symbol > 0) & (units.symbol < len(phones.SYMBOLS))).all()
    assert set(np.diff(units.word)) <= {0, 1} and units.word[0] == 0
    assert phones.boundary_class(units.symbol[-1]) > 0
    assert np.array_equal(
        [phones.SYMBOLS[s] for s in units.symbol if not phones.boundary_class(s)],
        [c for c in label if c in "aðəʤːɹ\u0303"],
    )
