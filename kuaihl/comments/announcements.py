"""Announcements by Twitch (subscriptions, gifts, raids) among the messages of viewers."""

import re

GIFT_EVENTS = frozenset(
    {
        "subgift", "submysterygift", "anonsubgift", "anonsubmysterygift", "rewardgift", "standardpayforward",
        "communitypayforward",
    }
)  # fmt: skip
PAID_EVENTS = frozenset({"midnightsquid", "gigantified-emote-message", "animated-message"})
OPEN_EVENTS = frozenset({"", "highlighted-message", "skip-subs-mode-message", "sub", "resub", "viewermilestone"})
"""Names of Twitch's events; of those that are open, the text tells the kind."""

# Twitch's announcements begin with the viewer's name. Some end with what the viewer wrote.
_JOINED = re.compile(
    r"(?:subscribed (?:with (?:Twitch )?Prime|at Tier \d)\."
    r"(?: They've subscribed for \d+ months?(?:, currently on an? \d+ month streak)?!)?"
    r"|watched \d+ consecutive streams .{0,40}?watch streak!)(?: (?P<words>.+))?"
)
_GIVEN = re.compile(r"(?:is gifting \d+ |gifted (?:a|\d+) |is paying forward the Gift |'s Cheer shared rewards to )")
_TOLD = re.compile(r"(?:converted from a .{1,20} sub |is continuing the Gift Sub )")
_ANONYMOUS = re.compile(r"An anonymous user (?:gifted a|is gifting \d+) ")
_RAID = re.compile(r"\d+ raiders from .{1,60} have joined!")


def words_of(user: str | None, body: str) -> tuple[str, str]:
    """Return kind and text of a message or announcement.

    The words of a subscriber after an announcement are a message.
    """
    rest = body.removeprefix(user).lstrip(" ") if user else body
    if len(rest) == len(body):
        if _ANONYMOUS.match(body):
            return "gift", body
        return ("notice" if _RAID.match(body) else "message"), body
    if joined := _JOINED.fullmatch(rest):
        return ("message", joined["words"]) if joined["words"] else ("notice", body)
    if _GIVEN.match(rest):
        return "gift", body
    return ("notice" if _TOLD.match(rest) else "message"), body


def kind_of(event: str, kind: str, *, bot: bool, bits: bool) -> str:
    """Return the kind of a Twitch message from its sender, payment and event, or ``kind``, which its text gave."""
    if bot:
        return "bot"
    if bits or event in PAID_EVENTS:
        return "paid"
    if event in GIFT_EVENTS:
        return "gift"
    return "notice" if kind == "message" and event not in OPEN_EVENTS else kind
