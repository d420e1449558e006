"""The reaction against brute force and by hand: counts, score, moments, clips, evidence, halves, and the live form."""

import dataclasses

import numpy as np
import pytest

from kuaihl.lexicon import Lexicon, in_capitals
from kuaihl.reaction import LiveReaction, Reaction, measure, outstanding, peaks, score
from kuaihl.reaction_counts import COLUMNS, MAX_TIME_S, ReactionCounter
from kuaihl.records import Comment, CommentLog, segments_of

LEXICON = Lexicon.read()
TEXTS = ("hello there", "lol", "WHAT A PLAY", "OMG", "good", "well played", "!drops", "jajaja", "nobody knows")


def chat(
    duration_s: float, *, per_minute: float, chatters: int, seed: int = 0, texts: tuple[str, ...] = TEXTS
) -> list[Comment]:
    """Write at random times, with no moment among them."""
    rng = np.random.default_rng(seed)
    times_s = np.sort(rng.uniform(0, duration_s, rng.poisson(per_minute * duration_s / 60)))
    return [Comment(float(t), str(rng.choice(texts)), f"u{rng.integers(chatters)}") for t in times_s]


def burst(time_s: float, *, chatters: int, text: str = "KEKW", length_s: float = 10.0) -> list[Comment]:
    """Each of the chatters writes once."""
    return [Comment(time_s + length_s * k / chatters, text, f"b{k}") for k in range(chatters)]


def merged(*parts: list[Comment]) -> list[Comment]:
    return sorted((c for part in parts for c in part), key=lambda c: c.time_s)


def with_scores(scores: np.ndarray) -> Reaction:
    """A reaction of which only the score matters."""
    return Reaction(scores, np.zeros((len(scores), len(COLUMNS))), True, None, None, [], LEXICON)  # noqa: FBT003


def test_counts_by_brute_force() -> None:
    comments = chat(1500, per_minute=40, chatters=25)
    rng = np.random.default_rng(1)
    kinds = rng.choice(["message", "paid", "bot", "notice"], p=[0.8, 0.1, 0.05, 0.05], size=len(comments))
    named = rng.random(len(comments)) < 0.9
    comments = [
        dataclasses.replace(c, kind=str(kind), user=c.user if name else None)
        for c, kind, name in zip(comments, kinds, named, strict=True)
        if not 600 < c.time_s < 1000  # everyone returns after this
    ]
    reaction = measure(comments, duration_s=1505.0)
    assert reaction.counts.shape == (151, 6)
    seen = [c for c in comments if c.kind in ("message", "paid") and c.text != "!drops"]
    who = [c.user or f"nobody {k}" for k, c in enumerate(seen)]
    where = np.array([int(c.time_s // 10) for c in seen])
    before_s = [[d.time_s for d in seen[:k] if d.user == c.user] for k, c in enumerate(seen)]
    returning = [c.user is not None and (not b or c.time_s - b[-1] >= 300) for c, b in zip(seen, before_s, strict=True)]
    reacting = [c.text in ("lol", "OMG", "jajaja") for c in seen]
    capitals = [in_capitals(c.text) for c in seen]
    for i in range(151):
        near, here = np.flatnonzero(abs(where - i) <= 1), np.flatnonzero(where == i)
        expected = (
            len({who[k] for k in near if reacting[k]}),
            len({who[k] for k in near if capitals[k]}),
            sum(returning[k] for k in near),
            len({who[k] for k in here}),
            len({who[k] for k in near}),
            len(here),
        )
        assert tuple(reaction.counts[i]) == expected
    assert reaction.counts[:, :3].any(0).all()


@pytest.mark.parametrize("live", [False, True])
def test_score_by_a_slow_loop(live: bool) -> None:  # noqa: FBT001  (a parameter of the table above)
    counts = np.random.default_rng(0).poisson(3.0, size=(200, 6)).astype(float)
    y = [sum(np.log(1 + counts[i, k]) for k in range(4)) for i in range(200)]
    around = [y[max(0, i - 60) : i + 1 if live else i + 61] for i in range(200)]
    expected = [y[i] - sum(near) / len(near) / 2 for i, near in enumerate(around)]
    np.testing.assert_allclose(score(counts, live=live), expected)
    chatters = [np.log(1 + row[4]) + np.log(1 + row[3]) for row in counts]
    np.testing.assert_allclose(score(counts, lexical=False, live=live), chatters)


def test_outstanding_by_hand() -> None:
    # Median 2, quartiles 1 and 3.
    np.testing.assert_allclose(
        outstanding(np.array([0.0, 1, 2, 3, 10])), (np.array([-2.0, -1, 0, 1, 8])) / (2 / 1.35 + 0.05)
    )
    assert len(outstanding(np.zeros(0))) == 0


def test_peaks_by_brute_force() -> None:
    scores = np.random.default_rng(0).normal(size=300)
    scores[[5, 50]] = np.nan
    chosen: list[int] = []
    for i in sorted(range(300), key=lambda i: -np.nan_to_num(scores[i], nan=-99)):
        if np.isfinite(scores[i]) and all(abs(i - j) * 10 >= 60 for j in chosen):
            chosen.append(i)
    assert peaks(scores) == chosen
    assert peaks(np.array([1.0, 1.0, 1.0]), min_gap_s=20) == [0, 2]


def test_moments_are_found_where_the_chat_reacts() -> None:
    quiet = chat(3600, per_minute=20, chatters=60)
    assert not [m for m in measure(quiet).moments() if m.strength == "strong"]
    comments = merged(quiet, burst(1203, chatters=40), burst(2403, chatters=25, text="OMG", length_s=30))
    reaction = measure(comments, duration_s=3600)
    assert reaction.too_little is None
    first, second = reaction.moments(top=2)
    assert first.time_s == 1205
    assert abs(second.time_s - 2415) <= 10
    assert (first.strength, second.strength) == ("strong", "strong")
    assert first.start_s <= 1203 <= first.end_s
    segments = segments_of(3600)
    by_segment = reaction.by_segment(segments)
    assert by_segment.shape == (120,)
    assert by_segment.argmax() == 40
    np.testing.assert_allclose(by_segment, reaction.score.reshape(120, 3).max(1))
    assert np.isnan(reaction.by_segment(segments_of(3660))[-1])


def test_strength_in_words() -> None:
    scores = np.zeros(400)
    scores[1::2] = 1.0  # median .5, a standard deviation of 1 / 1.35
    scores[[51, 101, 151, 201]] = 0.5 + (1 / 1.35 + 0.05) * np.array([4.6, 4.4, 3.4, 2.9])
    assert [m.strength for m in with_scores(scores).moments()] == ["strong", "medium", "weak"]
    assert with_scores(np.full(100, 2.0)).moments() == ()


@pytest.mark.parametrize(
    ("bins", "extent_s"),
    [
        ([50], (500, 515)),  # one bin: p = 505 s, [p - 5, p + 10)
        ([49, 50, 51, 52], (490, 530)),
        (range(40, 70), (485, 545)),  # an hour of noise: [p - 20, p + 40)
        ([50, 51, 52, 53, 54], (500, 545)),
        ([49, 50, 52], (490, 515)),
    ],
)
def test_clip_of_a_burst(bins: list[int], extent_s: tuple[float, float]) -> None:
    scores = np.zeros(100)
    scores[list(bins)] = 3.0
    scores[50] = 4.0
    assert with_scores(scores).burst_extent(50) == extent_s


def test_clips_stop_at_the_ends() -> None:
    scores = np.zeros(100)
    scores[[0, 99]] = 4.0
    assert with_scores(scores).burst_extent(0) == (0, 15)
    assert with_scores(scores).burst_extent(99) == (990, 1000)
    assert with_scores(np.array([1.0])).burst_extent(0) == (0, 10)


def test_evidence() -> None:
    usual = [Comment(float(t), "the game is on", f"u{t % 50}") for t in range(0, 2000, 10)]
    moment = [
        Comment(1001, "KEKW the fail", "anna"),
        Comment(1002, "KEKW", "ben"),
        Comment(1003, "fl0mFine the fail of the year", "carl"),
        Comment(1004, "KEKW", "ben"),
        Comment(1005, "fl0mFine", "dora"),
        Comment(1005, "OH NO", "dora"),
        Comment(1006, "what a comeback", None),
        Comment(1006, "gg https://example.com/fail", None),
        Comment(1007, "a fail fail fail", "bot", "bot"),
        Comment(1008, "!fail", "anna"),
    ]
    evidence = measure(merged(usual, moment)).evidence(1000.5, 1009)
    assert (evidence.messages, evidence.chatters) == (8, 6)
    assert (evidence.laughing, evidence.cheering, evidence.capitals) == (3, 1, 3)
    assert evidence.emotes == (("KEKW", 2), ("fl0mFine", 2))
    assert evidence.words[0] == ("fail", 2)
    assert "the" not in dict(evidence.words[:1])
    assert evidence.quotes == ("KEKW the fail", "fl0mFine the fail of the year", "what a comeback")
    assert evidence.summary.startswith("6 chatters, ")
    assert "KEKW × 2" in evidence.summary
    empty = measure([]).evidence(0, 30)
    assert (empty.messages, empty.words, empty.quotes) == (0, (), ())


def test_reliability_is_that_of_halves() -> None:
    steady = chat(3600, per_minute=60, chatters=100)
    lively = merged(steady, *(burst(t, chatters=40) for t in range(300, 3600, 300)))
    alone, together = (measure(c, generator=np.random.default_rng(0)).reliability for c in (steady, lively))
    assert alone is not None
    assert together is not None
    assert abs(alone) < 0.2
    assert together > 0.6
    assert together == measure(lively, generator=np.random.default_rng(0)).reliability
    assert measure(lively).reliability is None
    assert measure([], generator=np.random.default_rng(0)).reliability is None


def test_halves_by_hand() -> None:
    """A half holds whole chatters: with one, the other half is silent and there is no correlation."""
    comments = [Comment(float(t), "lol", "anna") for t in range(0, 600, 7)]
    assert measure(comments, generator=np.random.default_rng(0)).reliability is None


def test_a_language_without_lexicon_and_capitals() -> None:
    texts = ("ጤና ይስጥልኝ", "እንዴት ነህ", "ደህና ነኝ")
    quiet = chat(3600, per_minute=20, chatters=60, texts=texts)
    reaction = measure(merged(quiet, burst(1803, chatters=50, text="ዋው በጣም")), duration_s=3600)
    assert not reaction.lexical
    np.testing.assert_allclose(reaction.score, np.log1p(reaction.counts[:, 3]) + np.log1p(reaction.counts[:, 4]))
    assert reaction.moments()[0].time_s == 1805
    assert measure(chat(3600, per_minute=20, chatters=60)).lexical


def test_too_little_chat() -> None:
    enough = chat(3600, per_minute=20, chatters=60)
    assert measure(enough).too_little is None
    assert measure(chat(3600, per_minute=20, chatters=29)).too_little is not None
    assert measure([c for c in enough if c.time_s < 2400], duration_s=3600).too_little is not None
    assert measure([]).too_little is not None
    unnamed = [dataclasses.replace(c, user=None) for c in enough]
    assert measure(unnamed).too_little is None


def test_times_outside_the_recording_do_not_count() -> None:
    inside = chat(1200, per_minute=30, chatters=40)
    outside = [Comment(-5.0, "lol", "early"), Comment(1200.0, "lol", "late"), Comment(1e12, "lol", "damaged")]
    plain, more = (measure(c, duration_s=1200) for c in (inside, merged(inside, outside)))
    np.testing.assert_array_equal(plain.score, more.score)
    assert len(measure([Comment(0.0, "a", "anna"), Comment(1e12, "b", "ben")]).score) == MAX_TIME_S / 10
    assert len(measure(inside).score) == 120
    assert len(measure([Comment(10.0, "lol", "anna")]).score) == 2
    assert not len(measure([Comment(-10.0, "lol", "anna")]).score)


def test_comments_of_a_log() -> None:
    log = CommentLog("made up", tuple(chat(600, per_minute=30, chatters=40)))
    assert len(measure(log.comments).score) == 60


def test_live_moments_depend_on_the_past_alone() -> None:
    comments = merged(
        chat(3600, per_minute=20, chatters=60),
        burst(303, chatters=40),  # too early to tell
        burst(1503, chatters=40),
        burst(2704, chatters=40),
    )
    live = LiveReaction()
    raised: list[tuple[float, float]] = []
    for second in range(3601):
        for comment in (c for c in comments if second - 1 <= c.time_s < second):
            live.add(comment)
        raised += [(second, m.time_s) for m in live.advance(second) if m.strength == "strong"]
    assert [time_s for _, time_s in raised] == [1505, 2705] or [time_s for _, time_s in raised] == [1495, 2695]
    assert {now_s - time_s for now_s, time_s in raised} == {15.0}


def test_live_moments_do_not_depend_on_how_often_they_are_asked_for() -> None:
    comments = merged(chat(3600, per_minute=20, chatters=60), *(burst(t, chatters=30) for t in range(700, 3600, 400)))
    often, seldom = LiveReaction(), LiveReaction()
    moments, late = [], []
    for k, comment in enumerate(comments):
        often.add(comment)
        seldom.add(comment)
        moments += often.advance(comment.time_s)
        if k % 500 == 0:
            late += seldom.advance(comment.time_s)
    moments += often.advance(3700)
    late += seldom.advance(3700)
    assert moments == late
    assert len(moments) >= 8


def test_live_scores_are_the_past_of_the_whole() -> None:
    comments = chat(1800, per_minute=30, chatters=50)
    counter = ReactionCounter()
    for comment in comments:
        counter.add(comment)
    counter.advance(1800)
    whole = measure(comments, duration_s=1800)
    np.testing.assert_array_equal(counter.table(), whole.counts[:-1])
    live = score(whole.counts, live=True)
    np.testing.assert_allclose(score(whole.counts[:100], live=True), live[:100])
