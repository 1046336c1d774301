"""Ranks, fractions, years, symbols, all other numbers, and capitals: the least specific."""

import re

from data.numbers import cardinal, digits, number, ordinal, year
from data.rules.rule import NUMBER, Rules

RULES = Rules()
_rule, _fixed = RULES.rule, RULES.fixed


# Numbers that are no amounts: ranks, fractions, years, versions, ratios, house numbers.
@_rule(r"(?<![\w.,])(\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:st|nd|rd|th)\b")
def _rank(match, gb):
    return ordinal(int(match[1].replace(",", "")), gb)


@_rule(r"(?<![\w.,/])(?:(\d{1,4})\s)?([1-9]\d?)/([1-9]\d{0,2})(?![\w/]|[.,]\d)")
def _fraction(match, gb):
    over, under = int(match[2]), int(match[3])
    if match[0] == "24/7":
        return "twenty four seven"
    if over >= under or under == 1:
        return f"{match[1] or ''} {cardinal(over)} over {cardinal(under)}".strip()
    part = {2: "half", 4: "quarter"}.get(under, ordinal(under))
    if over > 1:
        part = "halves" if under == 2 else part + "s"
    if not match[1]:
        return f"{cardinal(over)} {part}"
    return f"{number(match[1])} and {'a' if over == 1 else cardinal(over)} {part}"


@_rule(
    r"(?<![\w.,:/#$£€-])(?:((?:[Ii]n|[Ss]ince|[Bb]y|[Uu]ntil|circa|year|before|after) )(1[1-8]\d\d)"
    r"|(19\d\d|20\d\d))(?![\w%]|[,.:/-]\d)"
)
def _year(match, gb):
    return (match[1] or "") + year(int(match[2] or match[3]), gb)


@_rule(r"(?<![\w.,])v?(\d{1,6}(?:\.\d{1,6}){2,})(?![\w]|\.\d)")
def _version(match, gb):
    parts = match[1].split(".")
    return " point ".join(digits(part) if len(parts) == 4 else number(part) for part in parts)


_fixed(r"(?<![\w:.])(\d{1,3}):(\d{1,3})(?![\w:])", r"\1 to \2")
_STREETS = "Street|Avenue|Road|Lane|Drive|Boulevard|Highway|Way|Court|Place|Square|Terrace"


@_rule(rf"(?<![\w.,-])([1-9]\d{{2,3}})(?= (?:[A-Z][a-z]+ |\w+th |\w+st ){{1,3}}(?:{_STREETS})\b)")
def _house_number(match, gb):
    head, tail = int(match[1][:-2]), int(match[1][-2:])
    rest = "hundred" if tail == 0 else f"{'oh ' if tail < 10 else ''}{cardinal(tail)}"
    return f"{cardinal(head)} {rest}"


# Symbols, where a number or a word stands beside them, and then every other number.
_fixed(r"\b([A-Za-z])\+\+(?!\w)", r"\1 plus plus")
_fixed(r"\bC#(?!\w)", "C sharp")
_fixed(r"\band/or\b", "and or")
_fixed(r"(?<=\d)\s?[x×*]\s?(?=\d)", " times ")
_fixed(r"(?<=\d)\s?÷\s?(?=\d)", " divided by ")
_fixed(r"\s?±\s?", " plus or minus ")
_fixed(r"\s?[≈]\s?", " about ")
_fixed(r"(?<=\d)\+(?!\s?\d)|\s?\+\s?(?=\w)", " plus ")
_fixed(r"(?<=\w)\s?=\s?(?=\w)", " equals ")
_fixed(r"(?<=\w) ?< ?(?=\d)", " less than ")
_fixed(r"(?<=\w) ?> ?(?=\d)", " greater than ")
_fixed(r"\s?&\s?(?=\w)", " and ")
_fixed(r"\s?%", " percent ")
_fixed(r"(?<!\w)@\s?(?=\w)|(?<=\w)\s?@\s(?=\w)", " at ")
_fixed(r"#(?=\w)", " hashtag ")
_fixed(r"°", " degrees ")
_fixed(r"\^2(?!\d)", " squared ")
_fixed(r"\^3(?!\d)", " cubed ")
_fixed(r"(?<=\w)\s?/\s?(?=\w)", " slash ")
_fixed(r"(?<=[a-z])\.(?=[a-z]{2})", " dot ")  # node.js
_fixed(r"(?<=[a-z])\.(?=[A-Z])", ". ")
_fixed(r"\$", " dollars ")
_fixed(r"£", " pounds ")
_fixed(r"€", " euros ")


@_rule(rf"(?<!\d)\.\d+|{NUMBER}")
def _plain_number(match, gb):
    before = match.string[match.start() - 1 : match.start()]
    after = match.string[match.end() : match.end() + 1]
    left = " " if before.isalnum() or before == "." else ""
    return f"{left}{number(match[0], gb)}{' ' if after.isalnum() else ''}"


# Capitals: shouted words, acronyms said as words, and those spelled.
_COMMON = (
    "the and for are but not you all can her was one our out day get has him his how man new now "
    "old see two way who boy did its let put say she too use yes why off big top end bad fun ask "
    "try run go do if in is as at be by he me my of on or to up we an am so no oh hi "
    "stop please must only never always free sale call wait help warning this that"
).split()
_SAID_AS_WORDS = (
    "pin sim vat ram rom lan wan vin gif zip bic sku mac app cad max fed wow lol".split()
)
_SPELLED_LONG = "ASAP RSVP HTTPS IEEE AARP NAACP ASPCA".split()


@_rule(r"(?<![\w.])[A-Z]+(?:'[A-Z]+)?(?:,? [A-Z]+(?:'[A-Z]+)?){2,}(?![\w.'-]\w|\w)")
def _shouting(match, gb):
    words = match[0].lower().split(" ")
    if not any(word.strip(",") in _COMMON for word in words):
        return None
    return re.sub(r"\bi\b", "I", match[0].lower())


_NUMERALS = "I II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX".split()


@_rule(
    r"\b((?:Chapter|Part|Section|Volume|War|Act|Phase|Type|Book|Bowl|Class|Level|Tier) )"
    rf"({'|'.join(reversed(_NUMERALS))})(?![\w'])"
)
def _roman(match, gb):
    return match[1] + cardinal(_NUMERALS.index(match[2]) + 1)


@_rule(r"(?<![\w.'-])([A-Z]{2,})(s)?(?![\w'-]|\.[A-Z])")
def _acronym(match, gb):
    word, plural = match[1], match[2] or ""
    if word.lower() in _SAID_AS_WORDS or word.lower() in _COMMON:
        return word.lower() + plural
    spelled = len(word) < 4 and word != "OK"
    spelled |= word in _SPELLED_LONG or not set("AEIOUY") & set(word)
    if not spelled:
        return None
    return ".".join(word) + ("'s" if plural else "")


_fixed(
    r"\b([Pp]lan|[Oo]ption|[Ss]ection|[Gg]rade|[Vv]itamin|[Hh]epatitis|[Tt]eam|[Ll]etter|[Tt]erminal"
    r"|[Gg]ate|[Cc]lass|[Tt]ype|[Bb]uilding|[Gg]roup|[Aa]nswer|[Cc]hoice) A\b(?!\.\w)",
    r"\1 eh",
)
_fixed(r"[^\w\s',.;:?!()\[\]{}—–…-]|_", " ")
_fixed(r"[^\W\d_A-Za-z\u00aa-\u024f\u0370-\u03ff\u0400-\u04ff\u1e00-\u1fff]+", " ")
