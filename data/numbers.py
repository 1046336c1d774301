"""Numbers and codes as words, in the American and the British reading."""

import re

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = ("", " thousand", " million", " billion", " trillion")
_ORDINALS = {
    **{"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth"},
    **{"nine": "ninth", "twelve": "twelfth"},
}


def cardinal(n: int, gb: bool = False) -> str:
    """`n` >= 0 in words; digit by digit from 10^15 on. British has an "and" after hundreds."""
    if n >= 10**15:
        return digits(str(n))
    if n < 20:
        return _ONES[n]
    if n < 100:
        return TENS[n // 10] + (f" {_ONES[n % 10]}" if n % 10 else "")
    joint = " and " if gb else " "
    if n < 1000:
        rest = f"{joint}{cardinal(n % 100)}" if n % 100 else ""
        return f"{_ONES[n // 100]} hundred{rest}"
    words, scale = [], 0
    small = n % 1000
    while n:
        n, group = divmod(n, 1000)
        if group:
            words.insert(0, cardinal(group, gb) + _SCALES[scale])
        scale += 1
    if gb and 0 < small < 100:
        words.insert(-1, "and")
    return " ".join(words)


def ordinal(n: int, gb: bool = False) -> str:
    """`n` as a rank: twenty first."""
    *head, last = cardinal(n, gb).split(" ")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = (last[:-1] + "ie" if last.endswith("y") else last) + "th"
    return " ".join([*head, last])


def digits(text: str) -> str:
    """The digits of a string one by one; whatever else stands in it is left out."""
    return " ".join(_ONES[int(c)] for c in text if c.isdecimal())


def year(n: int, gb: bool = False) -> str:
    """A year as it is said: nineteen oh five, two thousand nine, twenty twenty five."""
    century, rest = divmod(n, 100)
    if n < 1000 or 2000 <= n < 2010 or n % 1000 == 0:
        return cardinal(n, gb)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def number(text: str, gb: bool = False) -> str:
    """A number as written (1,234.5 or 007 or .25) in words.

    Whole numbers with a leading zero or of seven digits and more are codes, read digit by digit,
    unless they are round (5000000) or grouped by commas (1,234,567).
    """
    whole, _, fraction = text.partition(".")
    grouped, whole = "," in whole, whole.replace(",", "")
    if not whole:
        spoken = ""
    elif _is_code(whole) and not (grouped and len(whole) <= 15):
        spoken = ", ".join(digits(group) for group in _grouped(whole))
    else:
        spoken = cardinal(int(whole), gb)
    return f"{spoken} point {digits(fraction)}".strip() if fraction else spoken


def _is_code(whole: str) -> bool:
    if len(whole) > 15 or (len(whole) > 1 and whole[0] == "0"):
        return True
    return len(whole) >= 7 and int(whole) % 10**5 > 0


def _grouped(code: str) -> list[str]:
    """A long run of digits in the groups a reader would make: threes, or fours where they fit."""
    size = 4 if len(code) % 4 == 0 and len(code) > 4 else 3
    groups = [code[i : i + size] for i in range(0, len(code), size)]
    if len(groups) > 1 and len(groups[-1]) == 1:
        groups[-2:] = [groups[-2] + groups[-1]]
    return groups


LETTER_NAMES = {"A": "eh"}
"""How to write a lone letter so that espeak says its name (`A` alone is the article)."""


def spell(code: str) -> str:
    """Letters and digits of a code one by one; groups parted by hyphens are parted by pauses."""
    groups = re.split(r"[^A-Za-z0-9]+", code)
    return ", ".join(
        " ".join(
            _ONES[int(c)] if c.isdecimal() else LETTER_NAMES.get(c.upper(), c.upper())
            for c in group
        )
        for group in groups
        if group
    )
