import pytest

from wit_builder import progress as module
from wit_builder.progress import progress


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_log_gets_a_whole_line_each_minute(clock, capsys):
    with progress("training", 300, "step", scale=False) as line:
        for _ in range(300):
            clock.now += 1
            line.update()
            line.refresh()
    written = capsys.readouterr().err
    told = written.splitlines()
    assert [text.split("[")[0].split() for text in told] == [["training:", f"{n // 3}%", f"{n}/300"] for n in (60, 120, 180, 240, 300)]
    assert "\r" not in written


def test_what_takes_less_than_a_minute_says_nothing(clock, capsys):
    with progress("embedding", None, "image") as line:
        clock.now += 59
        line.update(10)
        line.refresh()
    assert capsys.readouterr().err == ""
