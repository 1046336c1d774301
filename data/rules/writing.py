"""Layout, addresses of the net, abbreviations: marks of writing that are not read as they stand."""

import re

from data.numbers import LETTER_NAMES, digits, number
from data.rules.rule import Rules

RULES = Rules()
_rule, _fixed = RULES.rule, RULES.fixed

# Layout: paragraphs end a sentence, bullets and headings a clause; markdown's marks are silent.
_fixed(r"[ \t\f\v]{2,}|\t", " ")
_fixed(r" ?\n(?: ?\n)+", ".\n")
_fixed(r"\n ?(?:[-*+]|#{1,6}|\d{1,2}[.)]) (?=\S)", ",\n")
_fixed(r"^ ?(?:[-*+]|#{1,6}) (?=\S)", "")
_fixed(r"\[([^\]\[\n]{1,200})\]\([^()\s]{1,500}\)", r"\1")  # [a link](https://...)
_fixed(r"\*\*|__|`|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)", "")
_fixed(r"(?<!\w)[:;]-?[)(DP](?!\w)", "")  # :-)

# Addresses of the net.
_TOP_LEVEL = "com|org|net|edu|gov|info|io|ai|dev|app|co|uk|us|de|fr|es|it|eu|ca|au|ru|me|tv|fm|gg"
_SPELLED_PARTS = set(
    "edu io ai uk us de fr es it eu ca au ru tv fm gg www html php api id faq".split()
)
_NET_SYMBOLS = {
    **{".": "dot", "/": "slash", "-": "dash", "_": "underscore", "@": "at", "?": "question mark"},
    **{"=": "equals", "&": "and", "#": "hash", "+": "plus", ":": "colon", "%": "percent"},
}


def _address(text: str) -> str:
    """An address as it is read out: jane dot doe at example dot com."""
    words = []
    for part in re.findall(r"[^\W\d_]+|\d+|.", text):
        if part.isdecimal():
            words.append(number(part) if len(part) < 3 else digits(part))
        elif part.lower() in _SPELLED_PARTS:
            words.append(".".join(part.upper()))
        else:
            words.append(part if part.isalpha() else _NET_SYMBOLS.get(part, ""))
    return f" {' '.join(filter(None, words))} "


@_rule(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
def _email(match, gb):
    return _address(match[0])


@_rule(
    r"\b(?:(?:https?|ftp)://|www\.)[^\s<>\"]*[\w/]"
    rf"|(?<![\w.-])(?:[\w-]{{1,63}}\.){{1,8}}(?:{_TOP_LEVEL})\b(?:/[\w./?=&#%~+-]*\w)?(?!['\w-]|\.\w)",
    re.IGNORECASE,
)
def _url(match, gb):
    return _address(re.sub(r"^\w+://", "", match[0]).rstrip("/"))


# Abbreviations. The full stop of one ends the sentence only at the end of a text or line; that of
# those that often stand last (etc., p.m.) also before a capital.
_AT_END = re.compile(r"[\"')\]]*\s*(?:\n|$)")
_AT_CAPITAL = re.compile(r"\s+(?!(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)[A-Z]")


def _stop(match: re.Match, before_capital: bool = False) -> str:
    """What remains of an abbreviation's full stop: "." or nothing."""
    text, end = match.string, match.end()
    ends = _AT_END.match(text, end) or (before_capital and _AT_CAPITAL.match(text, end))
    return "." if match[0].endswith(".") and ends else ""


_fixed(r"\b[Ee]\.\s?g\.,?", "for example,")
_fixed(r"\b[Ii]\.\s?e\.,?", "that is,")
_fixed(r"\b(?:[Vv]s|v(?=\.\s))\b\.?", "versus")
_fixed(r"\b[Nn]os?\.\s?(?=\d)", "number ")
_fixed(r"#(?=\d)", "number ")
_fixed(r"\bMs\b\.?(?=\s[A-Z])", "Miz")  # espeak spells Ms; it knows Mr, Mrs and Dr


@_rule(r"\betc\b\.?")
def _et_cetera(match, gb):
    return "etc" + _stop(match, before_capital=True)  # espeak knows etc


@_rule(r"\b(Dr|St)\b\.?")
def _doctor_or_drive(match, gb):
    """Drive and Street after a name or rank and before no name, else Doctor and Saint."""
    before = match.string[max(0, match.start() - 30) : match.start()]
    named = re.search(r"(?:[A-Z][a-z]+|\d(?:st|nd|rd|th)) $", before)
    if named and not re.match(r"\s+[A-Z]", match.string[match.end() : match.end() + 3]):
        return {"Dr": "Drive", "St": "Street"}[match[1]] + _stop(match)
    return match[1]


_ABBREVIATIONS = {
    **{"Mr": "Mr", "Mrs": "Mrs", "Prof": "Professor", "Rev": "Reverend", "Gen": "General"},
    **{"Sgt": "Sergeant", "Capt": "Captain", "Lt": "Lieutenant", "Col": "Colonel"},
    **{"Gov": "Governor", "Sen": "Senator", "Rep": "Representative", "Hon": "Honorable"},
    **{"Jr": "Junior", "Sr": "Senior", "Inc": "Incorporated", "Ltd": "Limited"},
    **{"Corp": "Corporation", "Co": "Company", "Bros": "Brothers", "Dept": "Department"},
    **{"dept": "department", "approx": "approximately", "est": "estimated", "Ave": "Avenue"},
    **{"Blvd": "Boulevard", "Rd": "Road", "Ln": "Lane", "Hwy": "Highway", "Apt": "apartment"},
    **{"apt": "apartment", "Ste": "suite", "Mt": "Mount", "Ft": "Fort", "Vol": "volume"},
    **{"vol": "volume", "Fig": "figure", "fig": "figure", "pp": "pages", "ext": "extension"},
    **{"Ext": "extension", "tel": "telephone", "Tel": "telephone", "max": "maximum"},
    **{"misc": "miscellaneous", "incl": "including", "govt": "government", "hrs": "hours"},
    **{"appt": "appointment", "Appt": "appointment", "Jan": "January", "Feb": "February"},
    **{"Aug": "August", "Sept": "September", "Oct": "October", "Nov": "November"},
    **{"Dec": "December", "Tues": "Tuesday", "Thurs": "Thursday", "Fri": "Friday"},
}
_BARE = "Jr|Sr|Sgt|Lt|Ave|Blvd|Rd|Hwy|approx|dept|Dept|govt|appt|Appt|hrs"


@_rule(rf"\b(?:({'|'.join(_ABBREVIATIONS)})\.(?!\w)|({_BARE})\b(?!['.-]))")
def _abbreviation(match, gb):
    return _ABBREVIATIONS[match[1] or match[2]] + _stop(match)


@_rule(r"(?<![\w.])(?:[A-Za-z]\.){2,}(?!\w)")
def _dotted(match, gb):
    """U.S. and p.m. are spelled; a dot between two letters is espeak's sign for that."""
    letters = match[0][:-1].upper()
    return letters + _stop(match, before_capital=letters in ("A.M", "P.M"))


@_rule(r"(?<![\w.'])[A-Z]\.(?=\s[A-Z])")
def _initial(match, gb):
    """John F. Kennedy, J. R. R. Tolkien; but "so did I. Then" ends a sentence."""
    before = match.string[max(0, match.start() - 30) : match.start()]
    another = re.match(r"\s[A-Z]\.", match.string[match.end() : match.end() + 3])
    if before and not another and not re.search(r"(?:\b[A-Z][a-z]+ |[.!?:;]\s|\n)$", before):
        return None
    return LETTER_NAMES.get(match[0][0], match[0][0])
