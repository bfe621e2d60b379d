"""Whatever went wrong in a thread, as what a person can read. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

from sdseg.errors import OutOfMemoryError, SDSegError

__all__ = ["Failed", "readable"]


@dataclass(frozen=True)
class Failed:
    """What was asked for is over; ``str(error)`` is for the person."""

    error: Exception


def readable(error: Exception, advice: str = "close other images") -> SDSegError:
    """Return an error whose text is for a person, with the traceback of what happened.

    Parameters
    ----------
    error
        Anything; one of this project's own is returned as it is.
    advice
        What helps if memory ran out.
    """
    if isinstance(error, SDSegError):
        return error
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or "out of memory" in said.lower():
        failure: SDSegError = OutOfMemoryError(f"memory ran out; {advice} ({said})")
    else:
        failure = SDSegError(said)
    failure.__cause__ = error
    return failure.with_traceback(error.__traceback__)
