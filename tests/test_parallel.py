"""Work in threads: results in order, few at a time, and errors that end it."""

import io
import threading
import time

import pytest

from utils import parallel
from utils.parallel import ordered_map, worker_count


def slow_first(number):
    time.sleep(0.02 if number % 4 == 0 else 0)
    return number * number


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_the_order_of_the_items(workers):
    items = list(range(50))
    assert list(ordered_map(slow_first, items, workers, "")) == [n * n for n in items]


def test_no_items():
    assert list(ordered_map(slow_first, [], 2, "")) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_few_results_wait_for_a_slow_consumer(workers):
    started = []
    most = workers * parallel._WAITING
    for taken, _ in enumerate(ordered_map(started.append, range(200), workers, ""), start=1):
        assert len(started) <= taken + most
    assert len(started) == 200


def test_work_is_done_while_the_consumer_is_busy():
    done = threading.Event()
    results = ordered_map(lambda number: number or done.set(), [1, 0], 1, "")
    assert next(results) == 1
    assert done.wait(10)  # by the thread, for nothing more was asked for
    assert list(results) == [None]


def test_work_is_shared_among_threads():
    meeting = threading.Barrier(3, timeout=10)  # breaks unless three wait at a time
    assert list(ordered_map(lambda _: meeting.wait() >= 0, range(3), 3, "")) == [True] * 3


def test_an_error_comes_out_and_ends_the_work():
    started = []

    def fail(number):
        started.append(number)
        if number == 2:
            raise KeyError("the third")
        time.sleep(0.01)
        return number

    found = []
    with pytest.raises(KeyError, match="the third"):
        for number in ordered_map(fail, range(1000), 1, ""):
            found.append(number)
    assert found == [0, 1]
    assert len(started) <= 3 + parallel._WAITING


def test_a_consumer_that_stops_ends_the_work():
    started = []

    def work(number):
        started.append(number)
        time.sleep(0.05)

    results = ordered_map(work, range(1000), 1, "")
    next(results)
    results.close()
    assert len(started) <= 3
    time.sleep(0.12)
    assert len(started) <= 3


def test_progress_is_shown_on_a_terminal_if_asked_for(monkeypatch):
    def shown(terminal, progress=True):
        screen = io.StringIO()
        screen.isatty = lambda: terminal
        monkeypatch.setattr("sys.stderr", screen)
        assert list(ordered_map(abs, [1, -2], 1, "Working", progress)) == [1, 2]
        return screen.getvalue()

    assert "Working" in shown(True)
    assert shown(True).endswith("\r")  # the bar is wiped away
    assert shown(False) == ""  # a log file wants no bar
    assert shown(True, progress=False) == ""


def test_zero_workers_is_one_a_processor(monkeypatch):
    assert worker_count(5) == 5
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda _: {0, 3, 7}, raising=False)
    assert worker_count(0) == 3
    monkeypatch.delattr(parallel.os, "sched_getaffinity")
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: 6)
    assert worker_count(0) == 6
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: None)
    assert worker_count(0) == 1
