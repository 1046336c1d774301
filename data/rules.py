"""The rules of reading English: patterns of written text, and what one says instead.

Every rule is `speak(match, gb) -> words`, or None to leave the match as it is. They run in the
order of this file, from the most specific (addresses, dates, telephone numbers) to the least (bare
numbers, symbols).
"""

import re
from collections.abc import Callable

from data.numbers import LETTER_NAMES, TENS, cardinal, digits, number, ordinal, spell, year

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
RULES: list[tuple[re.Pattern, Callable[[re.Match, bool], str | None]]] = []


def _rule(pattern: str, flags: int = 0):
    """Appends a rule for the pattern; the rules run in the order of this file."""

    def register(speak):
        RULES.append((re.compile(pattern, flags), speak))
        return speak

    return register


def _fixed(pattern: str, new: str, flags: int = 0) -> None:
    """Appends a rule that always says the same, with the groups of the match filled in."""
    RULES.append((re.compile(pattern, flags), lambda match, gb: match.expand(new)))


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


# Ranges, signs, money, decades, units.
_fixed(
    r"((?:^|(?<=[\s($£€¥₹]))(?:\d{1,3}|\d{4}|\d+\.\d+|\d{1,3}(?:,\d{3})+)%?)\s?[-–]\s?"
    r"(?=[$£€¥₹]?(?:\d{1,3}|\d{4}|\d+\.\d+|\d{1,3}(?:,\d{3})+)(?![\d-]))",
    r"\1 to ",
)
_fixed(r"(?<![\w)/.:-])-(?=[$£€¥₹]?\.?\d)", "minus ")
_fixed(r"~\s?(?=[$£€]?\d)", "about ")

_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
}
_CURRENCY_CODES = {"USD": "$", "GBP": "£", "EUR": "€", "JPY": "¥", "INR": "₹", "US$": "$"}
_MULTIPLES = {
    **dict.fromkeys(("thousand", "k", "K"), "thousand"),
    **dict.fromkeys(("million", "m", "M", "mn"), "million"),
    **dict.fromkeys(("billion", "b", "B", "bn"), "billion"),
    **dict.fromkeys(("trillion", "T", "tn"), "trillion"),
}
_MULTIPLE = rf"(?:\s?({'|'.join(_MULTIPLES)})\b)?"
_SIGN = r"US\$|[$£€¥₹]|\b(?:USD|GBP|EUR|JPY|INR)\b"


@_rule(rf"({_SIGN})\s?({_NUMBER}){_MULTIPLE}")
def _money(match, gb):
    return _amount(match[1], match[2], match[3], gb)


@_rule(rf"(?<![\w.])({_NUMBER}){_MULTIPLE}\s?({_SIGN})")
def _money_after(match, gb):
    return _amount(match[3], match[1], match[2], gb)


def _amount(sign: str, amount: str, multiple: str | None, gb: bool) -> str:
    """An amount of money: twelve dollars and fifty cents, one point five million euros."""
    unit, units, small, smalls = _CURRENCIES[_CURRENCY_CODES.get(sign, sign)]
    if multiple:
        return f"{number(amount, gb)} {_MULTIPLES[multiple]} {units}"
    whole, _, cents = amount.partition(".")
    if cents and len(cents) != 2:
        return f"{number(amount, gb)} {units}"
    count = int(cents or 0)
    pieces = []
    if whole.strip("0,") or not count:
        pieces.append(f"{number(whole, gb)} {unit if whole == '1' else units}")
    if count:
        pieces.append(f"{cardinal(count)} {small if count == 1 else smalls}")
    return " and ".join(pieces)


_fixed(r"(?<=\d)\s?¢", " cents")


@_rule(r"(?<![\w.,])(1[1-9]|20)(\d)0'?s\b|(?<!\w)'?([2-9])0'?s\b")
def _decade(match, gb):
    tens = match[2] or match[3]
    noun = {"0": "hundreds", "1": "tens"}.get(tens) or TENS[int(tens)][:-1] + "ies"
    return f"{cardinal(int(match[1]))} {noun}" if match[1] else noun


_UNITS = dict(
    entry.split("=")
    for entry in (
        "km=kilometer*;cm=centimeter*;mm=millimeter*;m=meter*;mi=mile*;ft=foot*;yd=yard*;"
        "yds=yard*;kg=kilogram*;g=gram*;mg=milligram*;lb=pound*;lbs=pound*;oz=ounce*;l=liter*;"
        "L=liter*;ml=milliliter*;mL=milliliter*;TB=terabyte*;GB=gigabyte*;MB=megabyte*;"
        "KB=kilobyte*;kB=kilobyte*;W=watt*;kW=kilowatt*;MW=megawatt*;kWh=kilowatt hour*;V=volt*;"
        "mAh=milliamp hour*;ms=millisecond*;s=second*;sec=second*;secs=second*;min=minute*;"
        "mins=minute*;h=hour*;hr=hour*;hrs=hour*;px=pixel*;dB=decibel*;Gbps=gigabit* per second;"
        "Mbps=megabit* per second;kbps=kilobit* per second;mph=mile* per hour;"
        "kph=kilometer* per hour;km/h=kilometer* per hour;m/s=meter* per second;"
        "°F=degree* Fahrenheit;°C=degree* Celsius;°=degree*;sqft=square foot*;sq ft=square foot*;"
        "sq m=square meter*;Hz=hertz;kHz=kilohertz;MHz=megahertz;GHz=gigahertz;"
        "fps=frame* per second;rpm=R.P.M;%=percent;pct=percent"
    ).split(";")
)
"""The words of every unit; * is where the plural goes."""

_POWERS = {"^2": "square ", "^3": "cubic "}
_ANY_UNIT = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))


@_rule(rf"(?<![\w.])({_NUMBER}|\.\d+)[ -]?({_ANY_UNIT})(\^[23])?(?![\w'^])")
def _measure(match, gb):
    unit = _UNITS[match[2]]
    unit = unit.replace("*", "") if match[1] == "1" else unit.replace("foot*", "feet")
    return f"{number(match[1], gb)} {_POWERS.get(match[3], '')}{unit.replace('*', 's')}"


_fixed(r"(?<=[a-z])\s?/\s?(?=(?:second|minute|hour|day|week|month|year|person|unit)s?\b)", " per ")
_fixed(r"(\d)'\s?(\d{1,2})(?:\"|'')?(?!\w)", r"\1 foot \2")
_fixed(r"(?<=\d)\"(?!\w)", " inches")


# Codes of letters and digits.
@_rule(
    r"(?<![\w-])(?=[A-Za-z-]*\d)(?:(?=[0-9-]*[A-Z])[A-Z0-9]+(?:-[A-Z0-9]+)*"
    r"|[a-z]+\d+[a-z][a-z0-9]*|\d+[a-z]+\d[a-z0-9]*|[A-Za-z]+-?\d+)(?![\w-]|\.\d)"
)
def _mixed_code(match, gb):
    """B7X9 is spelled; MP3, 4K and COVID-19 are a name and a number."""
    runs = re.findall(r"[A-Za-z]+|\d+", match[0])
    numeral, name = sorted(runs[:2])
    if len(runs) > 2 or (len(numeral) > 3 and len(name) < 4):
        return spell(match[0])
    short = len(numeral) < 3 and numeral.lstrip("0") == numeral
    spoken = cardinal(int(numeral)) if short else digits(numeral)
    if len(name) == 1:
        name = spell(name)
    return f"{spoken} {name}" if runs[0] is numeral else f"{name} {spoken}"


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


@_rule(rf"(?<!\d)\.\d+|{_NUMBER}")
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
