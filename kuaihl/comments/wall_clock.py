"""Wall-clock times: dates and epochs in logs, and the start of the stream that they are relative to."""

import re
from datetime import datetime, timedelta, timezone

from kuaihl.errors import CommentLogError

EXAMPLE = "2024-05-01T20:00:00+02:00"
"""How the start of a stream is given."""
DATE_TIME = (
    r"\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?[T ]\s*\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?"
    r"(?:\s*(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)(?![\w:]))?"
)
"""Pattern of a date with a time, year first; fractions and zone may be missing."""

_PARTS = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?[T ]\s*(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?"
    r"\s*(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?"
)
LIVE_YEARS = range(1998, 2255)
"""No stream was live outside these; further away, reckoning with time zones leaves the calendar."""

# Epochs of live streams in seconds lie between these; other units are larger by powers of 1000.
_EARLIEST_S, _LATEST_S = 9e8, 9e9


def read_date(text: str) -> datetime | None:
    """Parse a date with a time, without zone if it has none; None if it is not such a date."""
    found = _PARTS.fullmatch(text.strip())
    if not found:
        return None
    *numbers, fraction, zone = found.groups()
    year, month, day, hour, minute, second = (int(n or 0) for n in numbers)
    try:
        return datetime(year, month, day, hour, minute, second, int((fraction or "0")[:6].ljust(6, "0")), _zone(zone))
    except ValueError:
        return None


def _zone(name: str | None) -> timezone | None:
    if not name:
        return None
    if name[0] not in "+-":
        return timezone.utc
    digits = name[1:].replace(":", "").ljust(4, "0")
    shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-shift if name[0] == "-" else shift)


def epoch_s(value: float) -> float | None:
    """Return the seconds since 1970 of an epoch in s, ms, µs or ns; None if it is no plausible date in any of them."""
    return next((s for unit in (1.0, 1e-3, 1e-6, 1e-9) if _EARLIEST_S <= (s := value * unit) < _LATEST_S), None)


def read_start(start: str | datetime) -> datetime:
    """Parse the start of the stream, with a time zone.

    Raises
    ------
    CommentLogError
        It is not a date with a time, or has no time zone.
    """
    value = read_date(start) if isinstance(start, str) else start
    if value is None or value.year not in LIVE_YEARS:
        raise CommentLogError(f"The stream start must be a date, a time and a time zone, as in {EXAMPLE}, not {start}.")
    if value.tzinfo is None:
        raise CommentLogError(f"The stream start {start} has no time zone: add it, as in {EXAMPLE}, or Z for UTC.")
    return value


def zone_name(moment: datetime) -> str:
    """Return the time zone of a moment as +02:00."""
    return moment.isoformat()[-6:]
