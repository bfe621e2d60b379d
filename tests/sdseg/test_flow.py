from __future__ import annotations

import threading
import time

import pytest

from sdseg.flow import ahead, behind


def test_results_come_in_order():
    assert list(ahead(lambda x: x * x, range(50))) == [x * x for x in range(50)]
    assert list(ahead(str, [], depth=1)) == []


@pytest.mark.parametrize("eager", [True, False])
def test_only_so_much_is_in_flight(eager):
    asked = []

    def items():
        for i in range(20):
            asked.append(i)
            yield i

    for i in ahead(lambda x: x, items(), depth=3, eager=eager):
        assert len(asked) <= i + 4


def test_work_and_asking_go_on_side_by_side():
    threads = set()

    def work(x):
        threads.add(threading.current_thread().name)
        time.sleep(0.05)
        return x

    def items():
        for i in range(10):
            time.sleep(0.05)
            yield i

    started = time.perf_counter()
    assert list(ahead(work, items(), depth=1)) == list(range(10))
    assert time.perf_counter() - started < 0.85  # one after the other: 1.0
    assert len(threads) == 1
    assert threading.current_thread().name not in threads


def test_errors_of_either_side_reach_the_caller_after_what_was_good():
    def work(x):
        if x == 3:
            raise ValueError("three")
        return x

    got = []
    with pytest.raises(ValueError, match="three"):
        got.extend(ahead(work, range(9)))
    assert got == [0, 1, 2]

    def items():
        yield 1
        raise KeyError("gone")

    with pytest.raises(KeyError):
        list(ahead(work, items()))


def test_closing_ends_the_thread():
    planes = ahead(lambda x: x, iter(range(100)))
    assert next(planes) == 0
    planes.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("sdseg-ahead")]


def test_items_are_asked_for_in_one_thread_beside_the_callers_work():
    threads = set()

    def items():
        for i in range(10):
            threads.add(threading.current_thread().name)
            time.sleep(0.05)
            yield i

    started = time.perf_counter()
    got = []
    for i in behind(items()):
        time.sleep(0.05)
        got.append(i)
    assert got == list(range(10))
    assert time.perf_counter() - started < 0.85  # one after the other: 1.0
    assert len(threads) == 1
    assert threading.current_thread().name not in threads


def test_only_so_many_items_wait_and_closing_closes_their_source():
    asked, closed = [], []

    def items():
        try:
            for i in range(100):
                asked.append(i)
                yield i
        finally:
            closed.append(True)

    planes = behind(items(), depth=2)
    assert next(planes) == 0
    planes.close()
    assert closed == [True]
    assert len(asked) <= 4
    assert not [t for t in threading.enumerate() if t.name.startswith("sdseg-behind")]


def test_an_error_of_the_source_comes_after_what_was_good():
    def items():
        yield 1
        yield 2
        raise OSError("gone")

    got = []
    with pytest.raises(OSError, match="gone"):
        got.extend(behind(items()))
    assert got == [1, 2]
    assert list(behind([])) == []
