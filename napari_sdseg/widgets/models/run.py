"""The one long job that the *Models* panel may have, on a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from .._worker import make_worker
from .work import Done, Failed, Job, Moved, Update, work

if TYPE_CHECKING:
    from .state import ModelsState

__all__ = ["ModelsRun", "words"]


class ModelsRun:
    """Starts a job, passes what it says to the state, and tells when it brought a new model."""

    #: The name of a model that was added.
    added = Signal(str)

    def __init__(self, state: ModelsState) -> None:
        self.state = state
        self._worker: Any = None
        self._job: Job | None = None
        self._outcome: Done | Failed | None = None

    def start(self, job: Job) -> bool:
        """Do a job; False if another is being done."""
        if not self.state.begin(job.doing):
            return False
        self._job, self._outcome = job, None
        self._worker = make_worker(work, job)
        self._worker.yielded.connect(self._receive)
        self._worker.finished.connect(self._ended)
        self._worker.start()
        return True

    def cancel(self, _: Any = None) -> None:
        """Ask the job to stop; what it began is taken back."""
        if self._worker is not None:
            self._worker.quit()
            self.state.cancel()

    def close(self) -> None:
        """Stop, hear no more and say no more: the panel is gone."""
        self.state.events.disconnect()
        self.added.disconnect()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.quit()
            worker.yielded.disconnect(self._receive)
            worker.finished.disconnect(self._ended)

    def _receive(self, update: Update) -> None:
        if isinstance(update, Moved):
            self.state.advance(update.done, update.total)
        elif update is not None:
            self._outcome = update

    def _ended(self) -> None:
        outcome, job = self._outcome, self._job
        self._worker = self._job = None
        if job is None:
            return
        if isinstance(outcome, Done):
            if job.adds:
                self.added.emit(outcome.result.name)
            self.state.end(job.said(outcome.result))
        elif isinstance(outcome, Failed):
            self.state.end(words(outcome.error))
        else:
            self.state.end("Cancelled; nothing was changed")


def words(error: Exception) -> str:
    """Return an error without the name of the argument it begins with: a panel has none."""
    return str(error).removeprefix("model: ").removeprefix("name: ")
