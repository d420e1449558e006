"""Progress: stages, parts, and how a report stops the work."""

import pytest

from kuaihl.progress import SILENT, Progress


def test_parts_report_fractions_of_their_stage() -> None:
    reports: list[tuple[str, float]] = []
    whole = Progress(lambda *report: reports.append(report)).stage("looking")
    whole(0.25)
    whole.part(0.5, 1.0).part(0.0, 0.5)(0.5)
    for part in whole.split(2):
        part(1.0)
    whole.part(0.5, 1.0).stage("reading")(0.5)
    assert reports == [("looking", 0.25), ("looking", 0.625), ("looking", 0.5), ("looking", 1.0), ("reading", 0.5)]


def test_a_report_can_stop_the_work() -> None:
    with pytest.raises(ZeroDivisionError):
        Progress(lambda _, fraction: 1 / fraction)(0.0)
    SILENT.stage("looking").part(0.0, 0.5)(1.0)
