"""Written text becomes spoken words, and every character knows where it came from."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from data.normalise import MAX_CHARACTERS, TextError, normalise
from data.numbers import cardinal, ordinal, year

SPOKEN = [
    # money
    ("Your total is $12.50.", "Your total is twelve dollars and fifty cents."),
    ("£3.20 or €1.5 million", "three pounds and twenty pence or one point five million euros"),
    ("It's $1, or $0.99, or 50¢.", "It's one dollar, or ninety nine cents, or fifty cents."),
    (
        "-$5 and $1,234.01",
        "minus five dollars and one thousand two hundred thirty four dollars and one cent",
    ),
    (
        "12 USD, 20€, $3bn, £5k",
        "twelve dollars, twenty euros, three billion dollars, five thousand pounds",
    ),
    ("$5-$10 or $20–30", "five dollars to ten dollars or twenty dollars to thirty"),
    ("$5/month", "five dollars per month"),
    # dates and years
    ("3/14/2025", "March fourteenth, twenty twenty five"),
    ("31/12/1999", "December thirty first, nineteen ninety nine"),
    ("On March 3rd, we met.", "On March third, we met."),
    ("Due 2025-03-14.", "Due March fourteenth, twenty twenty five."),
    ("Jan. 5, 2024", "January fifth, twenty twenty four"),
    ("5 May 2024", "the fifth of May, twenty twenty four"),
    ("the 3rd of March", "the third of March"),
    (
        "In 1984, since 1905 and in 2008",
        "In nineteen eighty four, since nineteen oh five and in two thousand eight",
    ),
    ("the 1990s and the '80s", "the nineteen nineties and the eighties"),
    ("2019-2020", "twenty nineteen to twenty twenty"),
    # times
    ("at 3:45 pm.", "at three forty five P.M."),
    ("14:00, 9:00, 9:05 a.m.", "fourteen hundred, nine o'clock, nine oh five A.M."),
    ("10am-5pm", "ten A.M to five P.M"),
    ("At 5 p.m. Monday. Or at 5 p.m. Then go.", "At five P.M Monday. Or at five P.M. Then go."),
    # telephone numbers and codes
    ("Call (555) 123-4567.", "Call five five five, one two three, four five six seven."),
    ("555-0199", "five five five, zero one nine nine"),
    ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
    ("1-800-555-0199", "one, eight hundred, five five five, zero one nine nine"),
    ("Your code is 4821.", "Your code is four eight two one."),
    ("PIN: 0042", "pin: zero zero four two"),
    ("extension 204", "extension two zero four"),
    ("your order 51234 has", "your order five one two three four has"),
    ("order 500 units", "order five hundred units"),
    ("B7X9-22A", "B seven X nine, two two eh"),
    ("007", "zero zero seven"),
    ("1234567", "one two three, four five six seven"),
    ("123-45-6789", "one two three, four five, six seven eight nine"),
    ("4111 1111 1111 1111", "four one one one, one one one one, one one one one, one one one one"),
    ("MP3, 4K, COVID-19, A4", "M.P three, four K, COVID nineteen, eh four"),
    ("CA 94107", "C.A nine four one zero seven"),
    (
        "192.168.1.1 and v2.1.3",
        "one nine two point one six eight point one point one and two point one point three",
    ),
    # numbers
    (
        "1,234,567 and 5000000",
        "one million two hundred thirty four thousand five hundred sixty seven and five million",
    ),
    ("3.14, .5, -7, 0.25", "three point one four, point five, minus seven, zero point two five"),
    ("1st, 2nd, 21st, 30th, 112th", "first, second, twenty first, thirtieth, one hundred twelfth"),
    (
        "1/2 cup, 2 1/2, 3/4, ½, 2½",
        "one half cup, two and a half, three quarters, one half, two and a half",
    ),
    ("10-20 items, 10–20", "ten to twenty items, ten to twenty"),
    ("5+3=8 and 3:1", "five plus three equals eight and three to one"),
    ("1600 Pennsylvania Avenue", "sixteen hundred Pennsylvania Avenue"),
    # units
    (
        "5 km, 3GB, 70°F, 65 mph",
        "five kilometers, three gigabytes, seventy degrees Fahrenheit, sixty five miles per hour",
    ),
    ("1 lb, 6 ft, 20 m², 5%", "one pound, six feet, twenty square meters, five percent"),
    ("−5°C, 5-10 km", "minus five degrees Celsius, five to ten kilometers"),
    ('5\'10" and 27"', "five foot ten and twenty seven inches"),
    # abbreviations and capitals
    ("Dr. Smith lives on Main St. in St. Louis.", "Dr Smith lives on Main Street in St Louis."),
    ("12 Oak Dr.", "twelve Oak Drive."),
    (
        "e.g., apples, i.e. fruit vs. pears, etc.",
        "for example, apples, that is, fruit versus pears, etc.",
    ),
    ("No. 5, no. 7. No. No way.", "number five, number seven. No. No way."),
    (
        "Mr. Lee, Mrs. Fry, Ms. Ray, Prof. Poe Jr.",
        "Mr Lee, Mrs Fry, Miz Ray, Professor Poe Junior.",
    ),
    ("J. R. R. Tolkien. So did I. Then we", "J R R Tolkien. So did I. Then we"),
    ("the U.S. team in the U.S.", "the U.S team in the U.S."),
    ("FBI, USB, API, ID, FAQs", "F.B.I, U.S.B, A.P.I, I.D, F.A.Q's"),
    ("NASA, a PIN, HTML, HIPAA", "NASA, a pin, H.T.M.L, HIPAA"),
    ("PLEASE DO NOT ENTER", "please do not enter"),
    ("plan A, World War II", "plan eh, World War two"),
    # addresses, symbols, odd characters
    ("See https://www.example.com/docs.", "See W.W.W dot example dot com slash docs."),
    ("jane.doe@example.org", "jane dot doe at example dot org"),
    ("A & B, #1, C++, 24/7", "A and B, number one, C plus plus, twenty four seven"),
    ("Hello 😀 world 👍🏽!", "Hello world!"),
    ("“Quoted” — text… and more…", "Quoted, text, and more."),
    ("Wait... what?!", "Wait, what?!"),
    ("don’t, 'quoted', the dogs' bowl", "don't, quoted, the dogs bowl"),
    ("(see below) **bold** `code`", "see below, bold code"),
    ("a list:\n- one\n- two\n\nThen", "a list: one, two. Then"),
    ("ﬁne ｆｕｌｌ cafe\u0301 zero\u200bwidth\x00", "fine full café zerowidth"),
    ("日本語 hello", "hello"),
    ("😀 🎉", ""),
    ("", ""),
]


@pytest.mark.parametrize(("written", "spoken"), SPOKEN)
def test_what_is_written_is_read_aloud(written, spoken):
    assert normalise(written).text == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("3/4/2025", "the third of April, twenty twenty five"),
        ("105", "one hundred and five"),
        ("2,001,030", "two million one thousand and thirty"),
        ("3/14/2025", "the fourteenth of March, twenty twenty five"),
    ],
)
def test_british_reading(written, spoken):
    assert normalise(written, "gb").text == spoken


def test_other_languages_keep_their_numbers_for_espeak():
    assert normalise("Das kostet 3,50 € — „gut“!", "de").text == "Das kostet 3,50 €, gut!"


@pytest.mark.parametrize(("_", "spoken"), SPOKEN)
def test_what_is_spoken_stays(_, spoken):
    assert normalise(spoken).text == spoken


def test_spans_point_at_the_written_token():
    written = "Pay  $12.50 at 3 pm, “OK”?"
    text, spans = normalise(written)
    spoken = {
        "Pay": "Pay",
        "fifty": "$12.50",
        "three": "3 pm",
        ",": ",",
        "OK": "OK",
        "?": "?",
    }
    for word, source in spoken.items():
        at = text.index(word)
        start, stop = spans[at, 0], spans[at + len(word) - 1, 1]
        assert written[start:stop] == source


def test_over_long_text_is_refused():
    assert len(normalise("a " * 30_000).text) == 59_999
    with pytest.raises(TextError, match="in pieces"):
        normalise("a" * (MAX_CHARACTERS + 1))


@given(st.integers(0, 10**15 - 1))
def test_cardinals_are_told_apart(n):
    scale = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
    scale["trillion"] = 10**12
    ones = {cardinal(i): i for i in range(20)} | {cardinal(i): i for i in range(20, 100, 10)}
    for gb in (False, True):
        total = group = 0
        for word in cardinal(n, gb).split():
            if word == "hundred":
                group *= 100
            elif word in scale:
                total, group = total + group * scale[word], 0
            elif word != "and":
                group += ones[word]
        assert total + group == n


def test_ordinals_and_years():
    assert [ordinal(n) for n in (3, 5, 8, 9, 12, 20, 45, 100)] == [
        "third",
        "fifth",
        "eighth",
        "ninth",
        "twelfth",
        "twentieth",
        "forty fifth",
        "one hundredth",
    ]
    assert [year(n) for n in (1066, 1800, 1905, 1999, 2000, 2010)] == [
        "ten sixty six",
        "eighteen hundred",
        "nineteen oh five",
        "nineteen ninety nine",
        "two thousand",
        "twenty ten",
    ]


WRITTEN = st.text(max_size=60) | st.text(
    alphabet=st.sampled_from(
        " \n.,:;-–—…'\"()[]/#@&%$€£+*=<>^°_0123456789aAbBIsSmMpPkT½日é😀\u0301"
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(WRITTEN, st.sampled_from(["us", "gb", "de"]))
@example("0" * 5000, "us")
@example("(" * 3000, "us")
@example("\n \n" * 3000, "us")
@example("1/2/" * 3000, "gb")
def test_any_text_is_read_with_ordered_spans(written, accent):
    text, spans = normalise(written, accent)
    assert spans.shape == (len(text), 2)
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (np.diff(spans, axis=0) >= 0).all()
    assert len(spans) == 0 or (spans.min() >= 0 and spans.max() <= len(written))
    if accent != "de":
        assert not any(c.isdigit() and c.isascii() for c in text)
    assert text == text.strip() and "  " not in text


@given(st.lists(st.sampled_from("hello twenty-five don't café the Anna".split()), max_size=6))
def test_plain_words_stay_as_they_are(words):
    text = " ".join(words)
    assert normalise(text).text == text
