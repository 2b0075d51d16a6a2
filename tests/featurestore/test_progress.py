"""Progress tells the speed and about how much time is left, as lines in a log or a bar on a terminal, or is quiet."""

import click
import pytest
from pseudo_terminal import pseudo_terminal

from featurestore import progress
from featurestore.progress import QUIET, ConsoleProgress, duration_text, speed_text


class Clock:
    """What `time` is to the module: it goes as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_a_log_has_lines_with_the_time_left(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    with ConsoleProgress("embed clip", "images") as shown:
        shown(100, 1100)  # what an earlier run computed counts as done, not as fast
        for done in range(200, 1101, 100):
            clock.now += 2.5
            shown(done, 1100)
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        f"embed clip: {done:,} of 1,100 images, 40 images/s, about {left} s left"
        for done, left in ((300, 20), (500, 15), (700, 10), (900, 5))
    ] + ["embed clip: 1,100 of 1,100 images, 40 images/s"]


def test_long_work_prints_fewer_lines(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    with ConsoleProgress("bench", "cells") as shown:
        for done in range(36_001):
            shown(done, 36_000)
            clock.now += 1
    lines = capfd.readouterr().err.splitlines()
    assert 100 < len(lines) < 160
    assert lines[0] == "bench: 5 of 36,000 cells, 1.0 cells/s, about 10 h left"
    assert lines[-1].endswith(" s left")


def test_before_anything_is_done_no_speed_is_told(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    with ConsoleProgress("costs", "heads") as shown:
        shown(0, 8)
        clock.now += 10
        shown(0, 8)
        clock.now += 10
        shown.detail = "2 workers"
        shown(1, 8)
    assert capfd.readouterr().err.splitlines() == [
        "costs: 0 of 8 heads",
        "costs: 1 of 8 heads, 20 s each, about 2 min left, 2 workers",
    ]


def test_a_terminal_has_a_bar(clock: Clock) -> None:
    with pseudo_terminal() as screen, ConsoleProgress("embed", "images") as shown:
        shown(0, 100)
        clock.now += 4
        shown(20, 100)
    text = screen.decode()
    assert "20/100" in text
    assert "5.0 images/s, about 16 s left" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_nothing(clock: Clock, terminal: bool, capfd: pytest.CaptureFixture[str]) -> None:
    with click.Context(click.Command("x")) as context:
        context.meta[QUIET] = True
        with pseudo_terminal() as screen:
            work = ConsoleProgress("embed", "images")
            if terminal:
                work(1, 2)
        if not terminal:
            clock.now += 60
            work(2, 2)
    assert (screen, capfd.readouterr().err) == (b"", "")


def test_speeds_and_times_are_read_at_a_glance() -> None:
    assert [speed_text(rate, "rows") for rate in (1234.5, 12.34, 2.34, 0.5, 0.4, 0.01)] == [
        "1,234 rows/s",
        "12 rows/s",
        "2.3 rows/s",
        "0.5 rows/s",
        "2 s each",
        "100 s each",
    ]
    times = (0.2, 59, 100, 117, 3600, 7200, 86_400, 200_000)
    assert [*map(duration_text, times)] == ["0 s", "59 s", "100 s", "2 min", "60 min", "2 h", "24 h", "2 days"]
