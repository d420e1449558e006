"""Parse the fields that all logs have: time, user, text and kind."""

import html
import math
import re
from datetime import datetime, timedelta, timezone

from kuaihl.errors import CommentLogError

START_EXAMPLE = "2024-05-01T20:00:00+02:00"
"""How the start of a stream is written."""
LIVE_YEARS = range(1998, 2255)
"""Years in which a stream can be live; outside them, arithmetic with time zones can overflow."""

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

_GIFT_EVENTS = {
    "subgift", "submysterygift", "anonsubgift", "anonsubmysterygift", "rewardgift", "standardpayforward",
    "communitypayforward",
}  # fmt: skip
_PAID_EVENTS = {"midnightsquid", "gigantified-emote-message", "animated-message"}
_MESSAGE_EVENTS = {"", "highlighted-message", "skip-subs-mode-message", "sub", "resub", "viewermilestone"}
"""Twitch events that may carry a viewer's own words."""
# Twitch's announcements begin with the viewer's name. Some end with what the viewer wrote.
_JOINED = re.compile(
    r"(?:subscribed (?:with (?:Twitch )?Prime|at Tier \d)\."
    r"(?: They've subscribed for \d+ months?(?:, currently on an? \d+ month streak)?!)?"
    r"|watched \d+ consecutive streams .{0,40}?watch streak!)(?: (?P<words>.+))?"
)
_GIVEN = re.compile(r"(?:is gifting \d+ |gifted (?:a|\d+) |is paying forward the Gift |'s Cheer shared rewards to )")
_CONVERTED = re.compile(r"(?:converted from a .{1,20} sub |is continuing the Gift Sub )")
_ANONYMOUS = re.compile(r"An anonymous user (?:gifted a|is gifting \d+) ")
_RAID = re.compile(r"\d+ raiders from .{1,60} have joined!")

_CLOCK = re.compile(r"([-−])?(?:(\d[\d,]{0,12}):)?(\d{1,4}):([0-5]?\d(?:[.,]\d+)?)")
_DATE = r"(?:\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d\d))"
_ZONE = r"(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)"
DATE_TIME = rf"{_DATE},?[T ] *\d{{1,2}}:\d\d(?::\d\d(?:[.,]\d{{1,9}})?)?(?: ?[AaPp][Mm]\b)?(?: *{_ZONE}(?![\w:]))?"
"""Pattern of a date with a time: year, day or month first; seconds, fraction and zone may be missing."""
_HAS_DATE = re.compile(rf"{_DATE}(?!\d)")
_PARTS = re.compile(
    r"(\d{1,4})([-/.年])(\d{1,2})[-/.月](\d{1,4})日?,?[T ]\s*(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?"
    rf"(?: ?([AaPp])[Mm])?\s*({_ZONE})?"
)
# Epochs of live streams in seconds lie between these; other units are larger by powers of 1000.
_EARLIEST_S, _LATEST_S = 9e8, 9e9

# Control characters, surrogates, byte order marks, and the invisible tag that chat clients append to repeated texts.
_NOISE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\U000e0000]+")

_NO_CHARACTER = re.compile(r"&#(?:\d{9,}|[xX][0-9a-fA-F]{9,});?")
"""References of so many digits that Python refuses to read them."""


def clean(text: object) -> str:
    """Return text on one line without control characters; empty if ``text`` is not a string."""
    if not isinstance(text, str):
        return ""
    return (text if text.isprintable() else _NOISE.sub(" ", text)).strip()


def unescape(text: str) -> str:
    """Replace character references of XML and HTML; those of no character become U+FFFD."""
    return html.unescape(_NO_CHARACTER.sub("\ufffd", text))


def clock_s(text: str) -> float | None:
    """Return the seconds of ``[-][h:]mm:ss[.mmm]``; hours may exceed 24. None for anything else."""
    match = _CLOCK.fullmatch(text.strip())
    if not match:
        return None
    sign, hours, minutes, seconds = match.groups()
    total = int((hours or "0").replace(",", "")) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    return -total if sign else total


def as_clock(time_s: float) -> str:
    """Format a time as [-]h:mm:ss, rounded to the second."""
    minutes, seconds = divmod(round(abs(time_s)), 60)
    return f"{'-' if round(time_s) < 0 else ''}{minutes // 60}:{minutes % 60:02}:{seconds:02}"


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


def scaled(value: object, unit_s: float) -> float | None:
    """Return the seconds of a number, or a number as text, of a unit; None for anything else."""
    number = seconds(value)
    return None if number is None else number * unit_s


def epoch_s(value: float) -> float | None:
    """Return the seconds since 1970 of an epoch in s, ms, µs or ns; None if it is no plausible date in any of them."""
    return next((s for unit in (1.0, 1e-3, 1e-6, 1e-9) if _EARLIEST_S <= (s := value * unit) < _LATEST_S), None)


def has_date(value: object) -> bool:
    """Return whether a text holds a date rather than a time from the start."""
    return isinstance(value, str) and bool(_HAS_DATE.search(value))


def date_readings(text: str) -> list[datetime]:
    """Return the moments that a date with a time can stand for, without zone if it has none.

    A date that begins with its year has one reading, and so has one with dots, which begins with the day. After
    slashes and dashes the day or the month can come first.
    """
    match = _PARTS.fullmatch(text.strip())
    if not match:
        return []
    first, separator, second, third, hour, minute, second_of_time, fraction, half, zone = match.groups()
    hours = int(hour) % 12 + 12 * (half in "Pp") if half else int(hour)
    year = third if len(third) == 4 else f"20{third}"
    orders = [(year, second, first), (year, first, second)]
    if len(first) == 4:
        orders = [(first, second, third)]
    elif separator == ".":
        orders = orders[:1]
    at = (hours, int(minute), int(second_of_time or 0), int((fraction or "0")[:6].ljust(6, "0")))
    readings = {moment: None for date in orders if (moment := _moment(*map(int, date), *at, zone=zone)) is not None}
    return list(readings)


def _moment(*numbers: int, zone: str | None) -> datetime | None:
    """Return the moment of year, month, day, hour, minute, second and microsecond; None if there is none."""
    try:
        return datetime(*numbers, tzinfo=parse_zone(zone))
    except ValueError:
        return None


def read_date(text: str) -> datetime | None:
    """Parse a date with a time, without zone if it has none; None if it is no such date, or has two readings."""
    readings = date_readings(text)
    return readings[0] if len(readings) == 1 else None


def parse_zone(name: str | None) -> timezone | None:
    """Parse a zone such as ``Z``, ``UTC`` or ``+0200``; None for other names.

    Raises
    ------
    ValueError
        The zone is a day or more from UTC.
    """
    if not name or not re.fullmatch(_ZONE, name):
        return timezone.utc if name == "Coordinated Universal Time" else None
    if name[0] not in "+-":
        return timezone.utc
    digits = name[1:].replace(":", "").ljust(4, "0")
    shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-shift if name[0] == "-" else shift)


def read_start(start: str | datetime) -> datetime:
    """Parse the start of the stream, with a time zone.

    Raises
    ------
    CommentLogError
        It is not a date with a time, or has no time zone.
    """
    value = read_date(start) if isinstance(start, str) else start
    if value is None or value.year not in LIVE_YEARS:
        raise CommentLogError(
            f"The stream start must be a date, a time and a time zone, as in {START_EXAMPLE}, not {start}."
        )
    if value.tzinfo is None:
        raise CommentLogError(
            f"The stream start {start} has no time zone: add it, as in {START_EXAMPLE}, or Z for UTC."
        )
    return value


def is_bot(*names: object) -> bool:
    """Return whether one of the names is that of a known bot."""
    return any(isinstance(n, str) and n.lower().removeprefix("@") in KNOWN_BOTS for n in names)


def without_action(text: str) -> str:
    """Return the text of an action (``/me waves``, or IRC's mark of it), or the text itself."""
    if text.startswith("\x01ACTION "):
        return text[8:].rstrip("\x01")
    return text.removeprefix("/me ")


def classify(user: str | None, text: str) -> tuple[str, str]:
    """Return kind and text of a Twitch message: announcements are separated from the words of viewers.

    A subscriber's own words after an announcement are a message.
    """
    text = without_action(text)
    rest = text.removeprefix(user).lstrip(" ") if user else text
    if len(rest) == len(text):
        if _ANONYMOUS.match(text):
            return "gift", text
        return ("notice" if _RAID.match(text) else "message"), text
    if joined := _JOINED.fullmatch(rest):
        return ("message", joined["words"]) if joined["words"] else ("notice", text)
    if _GIVEN.match(rest):
        return "gift", text
    return ("notice" if _CONVERTED.match(rest) else "message"), text


def event_kind(event: str, kind: str, *, is_paid: bool) -> str:
    """Return the kind of a Twitch message by its event; ``kind`` is that by its text."""
    if is_paid or event in _PAID_EVENTS:
        return "paid"
    if event in _GIFT_EVENTS:
        return "gift"
    return "notice" if kind == "message" and event not in _MESSAGE_EVENTS else kind
