"""Log files of a room: comments in TwitchDownloader's JSON, impressions as CSV, and the truth."""

import csv
import hashlib
import json
from dataclasses import asdict
from datetime import datetime, time, timedelta, timezone
from pathlib import Path

from kuaihl.records import Comment
from train.simulator.rooms.room import Room

_CHANNEL = "1000000"
_COLORS = ("#FF4500", "#2E8B57", "#1E90FF", "#DAA520", "#8A2BE2", "#FF69B4", "#5F9EA0")


def write_comments(room: Room, path: Path, *, until_s: float) -> int:
    """Write the comments before ``until_s`` as TwitchDownloader does; return their number."""
    start = datetime.combine(room.date, time(19), tzinfo=timezone.utc)
    comments = [c for c in room.comments if c.time_s < until_s]
    log = {
        "FileInfo": {"Version": {"Major": 1, "Minor": 4, "Patch": 0}, "CreatedAt": _format_time(start)},
        "streamer": {"name": room.streamer, "login": _login(room.streamer), "id": int(_CHANNEL)},
        "video": {
            "title": f"{room.streamer} live",
            "id": room.id,
            "created_at": _format_time(start),
            "start": 0.0,
            "end": until_s,
            "length": until_s,
        },
        "comments": [_format_comment(room, comment, start) for comment in comments],
    }
    path.write_text(json.dumps(log, ensure_ascii=False, indent=1), encoding="utf-8")
    return len(comments)


def write_impressions(room: Room, path: Path, *, until_s: float) -> None:
    """Write start and view time of each impression before ``until_s``."""
    log = room.impressions
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["time_s", "view_s"])
        for time_s, view_s in zip(log.time_s.tolist(), log.view_s.tolist(), strict=True):
            if time_s < until_s:
                rows.writerow([f"{time_s:.2f}", f"{view_s:.2f}"])


def write_truth(room: Room, path: Path, *, segments: int) -> None:
    """Write the truth and the speech of the first ``segments`` segments."""
    end_s = room.segments[segments - 1].end_s
    truth = {
        "room": room.id,
        "streamer": room.streamer,
        "split": room.split,
        "known": room.known,
        "date": room.date.isoformat(),
        "lag_segments": room.comment_lag,
        "segments": [
            {
                "index": segment.index,
                "start_s": segment.start_s,
                "end_s": segment.end_s,
                **{k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(truth).items()},
                "lvtr": round(truth.lvtr, 4),
            }
            for segment, truth in zip(room.segments[:segments], room.truth, strict=False)
        ],
        "speech": [
            {"start_s": round(u.start_s, 2), "end_s": round(u.end_s, 2), "text": u.text}
            for u in room.speech
            if u.start_s < end_s
        ],
    }
    path.write_text(json.dumps(truth, ensure_ascii=False, indent=1), encoding="utf-8")


def _format_comment(room: Room, comment: Comment, start: datetime) -> dict[str, object]:
    user = comment.user or ""
    digest = hashlib.sha256(f"{room.id} {comment.time_s} {user} {comment.text}".encode()).hexdigest()
    account = int(hashlib.sha256(user.encode()).hexdigest()[:8], 16)
    created_at = _format_time(start + timedelta(seconds=comment.time_s))
    return {
        "_id": digest[:32],
        "created_at": created_at,
        "channel_id": _CHANNEL,
        "content_type": "video",
        "content_id": room.id,
        "content_offset_seconds": round(comment.time_s, 2),
        "commenter": {"display_name": user, "_id": str(account), "name": _login(user)},
        "message": {
            "body": comment.text,
            "bits_spent": 100 if comment.kind == "paid" else 0,
            "fragments": [{"text": comment.text, "emoticon": None}],
            "user_badges": [],
            "user_color": _COLORS[account % len(_COLORS)],
            "user_notice_params": {"msg-id": "subgift" if comment.kind == "gift" else None},
        },
    }


def _login(name: str) -> str:
    return name.lower().replace(" ", "_")


def _format_time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S") + f".{when.microsecond // 1000:03d}Z"
