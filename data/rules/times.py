"""Dates, times of day, telephone numbers and codes: digits whose context says how to read them."""

import re

from data.numbers import cardinal, digits, ordinal, spell, year
from data.rules.rule import Rules

RULES = Rules()
_rule, _fixed = RULES.rule, RULES.fixed

# Dates.
_MONTHS = {
    name[:3].lower(): name
    for name in (
        "January February March April May June July August September October November December"
    ).split()
}
_MONTH = (
    r"\b(Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)


def _date(day: str, month: str, years: str | None, gb: bool, the: str = "the ") -> str | None:
    """A date of a day, a month (number or name) and perhaps a year of two or four digits."""
    if month.isdecimal():
        if not 1 <= int(month) <= 12:
            return None
        month = list(_MONTHS)[int(month) - 1]
    if not 1 <= int(day) <= 31:
        return None
    month = _MONTHS[month[:3].lower()]
    spoken = f"{the}{ordinal(int(day))} of {month}" if gb else f"{month} {ordinal(int(day))}"
    if not years:
        return spoken
    full = int(years) + (0 if len(years) == 4 else 2000 if int(years) < 70 else 1900)
    return f"{spoken}, {year(full, gb)}"


@_rule(r"(?<![\w/.-])(\d{4})-(\d{2})-(\d{2})(T(?=\d))?(?![\w/-])")
def _iso_date(match, gb):
    spoken = _date(match[3], match[2], match[1], gb)
    return spoken and spoken + (", " if match[4] else "")


@_rule(r"(?<![\w/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|(?<=/)\d{2})(?![\w/-]|\.\d)")
def _numeric_date(match, gb):
    day_first = int(match[1]) > 12 or (int(match[3]) <= 12 and (gb or match[2] == "."))
    day, month = (match[1], match[3]) if day_first else (match[3], match[1])
    return _date(day, month, match[4], gb)


@_rule(rf"{_MONTH} (?:the )?(\d{{1,2}})(?:st|nd|rd|th)?\b(?![:.]\d|%)(?:,? (\d{{4}})\b(?![:.]\d))?")
def _month_day(match, gb):
    return _date(match[2], match[1], match[3], gb=False)


@_rule(rf"\b(?:the )?(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}(?:,? (\d{{4}})\b(?![:.]\d))?")
def _day_month(match, gb):
    return _date(match[1], match[2], match[3], gb=True)


@_rule(rf"{_MONTH} (\d{{4}})\b(?![:.]\d)")
def _month_year(match, gb):
    return f"{_MONTHS[match[1][:3].lower()]} {year(int(match[2]), gb)}"


@_rule(r"\b(on|by|until|before|after|since|due) (\d{1,2})/(\d{1,2})\b(?![/\d])")
def _short_date(match, gb):
    day, month = (match[2], match[3]) if gb else (match[3], match[2])
    spoken = _date(day, month, None, gb)
    return spoken and f"{match[1]} {spoken}"


# Times of day. "A.M" is spelled by espeak, "am" is a word.
_HALF = r"\s?([AaPp])(?:\.M|[Mm])\b"
_TO = r"(\s?[-–]\s?(?=\d))?"


@_rule(rf"(?<![\d:.])([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?(?![\d:])(?:{_HALF})?{_TO}")
def _clock(match, gb):
    hour, minute, second = int(match[1]), int(match[2]), match[3]
    spoken = "zero" if match[1] == "00" else cardinal(hour)
    if minute or second:
        spoken += f" {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    elif not match[4]:
        spoken += " hundred" if hour > 12 or match[1][0] == "0" else " o'clock"
    if second:
        spoken += f" and {cardinal(int(second))} second{'' if int(second) == 1 else 's'}"
    half = f" {match[4].upper()}.M" if match[4] else ""
    return spoken + half + (" to " if match[5] else "")


@_rule(rf"(?<![\w:.,])(1[0-2]|0?[1-9])(?:\s?[-–]\s?(1[0-2]|0?[1-9]))?{_HALF}{_TO}")
def _hour(match, gb):
    until = f" to {cardinal(int(match[2]))}" if match[2] else ""
    to = " to " if match[4] else ""
    return f"{cardinal(int(match[1]))}{until} {match[3].upper()}.M{to}"


# Telephone numbers and codes, digit by digit.
@_rule(
    r"(?<![\w.,$£€/-])(?:\+\d{1,3}[\s.-]?|1[\s.-])?(?:\(\d{2,5}\)\s?|\d{2,4}[\s.-])"
    r"\d{2,5}(?:[\s.-]\d{2,5}){0,4}(?![\w/%]|[.,-]\d)"
)
def _telephone(match, gb):
    text, groups = match[0], re.findall(r"\d+", match[0])
    sizes = [len(group) for group in groups]
    marked = text[0] in "+(0" or "-" in text or sizes[-3:] == [3, 3, 4] or sizes[:3] == [4, 4, 4]
    years = sizes == [4, 4] and text[0] != "0"
    if not 7 <= sum(sizes) <= 19 or not marked or years:
        return None
    spoken = [digits(group) for group in groups]
    if groups[:2] == ["1", "800"]:
        spoken[1] = "eight hundred"
    return ("plus " if text[0] == "+" else "") + ", ".join(spoken)


_CODE_WORDS = (
    r"code|number|PIN|pin|[Pp]asscode|[Pp]assword|[Ee]xtension|[Aa]ccount|[Rr]oom|[Ff]light"
    r"|[Tt]icket|ID|[Rr]eference|[Cc]onfirmation|[Tt]racking|[Ss]erial|[Cc]ard|[Bb]ooking|[Cc]ase"
    r"|[Ii]nvoice|[Tt]oken|OTP|zip|ending in|ends in|ends with|(?:my|your|the|our|this) [Oo]rder"
    r"|[Oo]rder number"
)


@_rule(
    rf"\b((?:{_CODE_WORDS})(?:,? (?:number|code|ID|is|was|for|of)\b|:| no\.?){{0,3}} )"
    r"((?:[A-Z]{2} )?(?:[A-Z]{0,8}\d{3,}|(?=[A-Z]*\d)(?=\d*[A-Z])[A-Z0-9]+)(?:-[A-Z0-9]+)*)"
    r"(?![\w%°]|[.,:/]\d)"
)
def _code_in_context(match, gb):
    return match[1] + spell(match[2])


@_rule(r"\b([A-Z]{2}) (\d{5}(?:-\d{4})?)(?![\w-])")
def _zip_code(match, gb):
    return f"{match[1]} {spell(match[2])}"


@_rule(r"(?<![\w.,/-])\d+(?:-\d+){2,}(?![\w/-]|[.,]\d)")
def _hyphen_groups(match, gb):
    return spell(match[0])
