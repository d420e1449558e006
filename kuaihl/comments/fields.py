"""Parse the common fields of logs: time, text and user."""

import math
import re

KNOWN_BOTS = frozenset(
    {
        "nightbot", "streamelements", "streamlabs", "cloudbot", "moobot", "fossabot", "wizebot", "botisimo", "sery_bot",
        "soundalerts", "pokemoncommunitygame", "streamlootsbot", "restreambot", "stay_hydrated_bot", "buttsbot",
        "supibot", "kofistreambot", "pretzelrocks", "tangiabot", "deepbot", "phantombot", "coebot", "ankhbot", "ohbot",
        "scottybot", "hnlbot", "muxybot", "vivbot", "xanbot", "playwithviewersbot", "streamstickers", "creatisbot",
        "frostytoolsdotcom", "lolrankbot", "streamcaptainbot", "kickbot", "botrix", "mixitupapp", "tipeeebot",
    }
)  # fmt: skip
"""Accounts of bots, in lower case."""

_CLOCK = re.compile(r"([-−])?(?:(\d[\d,]{0,12}):)?(\d{1,4}):([0-5]?\d(?:[.,]\d+)?)")
_DATE = re.compile(r"\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\b")
# Control characters, surrogates, byte order marks, and the invisible tag that chat clients append to repeated texts.
_NOISE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\U000e0000]+")


def clean(text: object) -> str:
    """Return text on one line without control characters; empty if ``text`` is not a string."""
    if not isinstance(text, str):
        return ""
    return (text if text.isprintable() else _NOISE.sub(" ", text)).strip()


def clock_s(text: str) -> float | None:
    """Return the seconds of ``[-][h:]mm:ss[.mmm]``; hours may exceed 24. None for anything else."""
    found = _CLOCK.fullmatch(text.strip())
    if not found:
        return None
    sign, hours, minutes, seconds = found.groups()
    total = int((hours or "0").replace(",", "")) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    return -total if sign else total


def as_clock(time_s: float) -> str:
    """Format a time as [-]h:mm:ss, rounded to the second."""
    minutes, rest = divmod(round(abs(time_s)), 60)
    return f"{'-' if round(time_s) < 0 else ''}{minutes // 60}:{minutes % 60:02}:{rest:02}"


def seconds(value: object) -> float | None:
    """Return the seconds of a number, a number as text, or a clock; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) < 1e18 else math.inf
    if not isinstance(value, str) or "_" in value:
        return None
    try:
        return float(value.replace(",", "."))
    except ValueError:
        return clock_s(value)


def is_date(value: object) -> bool:
    """Return whether a text holds a date rather than a time from the start."""
    return isinstance(value, str) and bool(_DATE.search(value))


def is_bot(*names: object) -> bool:
    """Return whether one of the names is that of a known bot."""
    return any(isinstance(n, str) and n.lower().removeprefix("@") in KNOWN_BOTS for n in names)
