"""Ranges, money, decades, measures, codes with letters: numbers and what belongs to them."""

import re

from data.numbers import TENS, cardinal, digits, number, spell
from data.rules.rule import NUMBER, Rules

RULES = Rules()
_rule, _fixed = RULES.rule, RULES.fixed

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


@_rule(rf"({_SIGN})\s?({NUMBER}){_MULTIPLE}")
def _money(match, gb):
    return _amount(match[1], match[2], match[3], gb)


@_rule(rf"(?<![\w.])({NUMBER}){_MULTIPLE}\s?({_SIGN})")
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


@_rule(rf"(?<![\w.])({NUMBER}|\.\d+)[ -]?({_ANY_UNIT})(\^[23])?(?![\w'^])")
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
