from __future__ import annotations

import threading

import pytest

from napari_sdseg.widgets._device import DEVICE, waited
from napari_sdseg.widgets._failures import readable
from sdseg.errors import Cancelled, InputError, OutOfMemoryError, SDSegError


def test_our_own_errors_are_said_as_they_are():
    error = InputError("axis: 7 is none of 0, 1, 2")
    assert readable(error) is error


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried 2 GiB")])
def test_memory_that_ran_out_says_what_helps(error):
    said = readable(error, "close other layers")
    assert isinstance(said, OutOfMemoryError)
    assert "close other layers" in str(said)
    assert str(error) in str(said)


def test_others_keep_their_name_and_what_caused_them():
    try:
        {}["organ"]
    except KeyError as error:
        said = readable(error)
    assert type(said) is SDSegError
    assert str(said) == "KeyError: 'organ'"
    assert isinstance(said.__cause__, KeyError)
    assert said.__traceback__ is not None


def test_waiting_gives_the_result_or_stops_at_once():
    def take(waiting):
        try:
            while True:
                next(waiting)
        except StopIteration as end:
            return end.value

    assert take(waited(DEVICE.submit(lambda: 7))) == 7
    stop, held = threading.Event(), threading.Event()
    busy = DEVICE.submit(held.wait, 20)
    later = DEVICE.submit(lambda: 8)
    stop.set()
    with pytest.raises(Cancelled):
        take(waited(later, stop))
    assert later.cancelled(), "it never runs"
    held.set()
    assert busy.result(5)
    with pytest.raises(Cancelled):
        take(waited(busy, stop))
