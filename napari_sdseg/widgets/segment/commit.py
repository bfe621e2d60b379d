"""Labels into a layer that a person keeps, so that one undo takes them back."""

from __future__ import annotations

from contextlib import ExitStack
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_error
from qtpy.QtCore import QTimer

from sdseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt
    from napari.layers import Labels

    from sdseg.axes import Index

    from .run import Result

__all__ = ["Commit", "Rule", "merged"]


class Rule(Enum):
    """What becomes of the pixels that a layer holds already."""

    KEEP = "keep what is painted"
    OVERWRITE = "overwrite"
    ONE = "only one class"


def merged(
    old: npt.NDArray[Any], new: npt.NDArray[Any], rule: Rule, label: int = 1
) -> npt.NDArray[Any]:
    """Return what a plane becomes.

    Parameters
    ----------
    old, new
        (H, W) labels.
    rule
        `Rule.KEEP`: pixels that are 0 take the new label. `Rule.OVERWRITE`: all take it, 0 too.
        `Rule.ONE`: only pixels whose new label is ``label`` take it.
    """
    if rule is Rule.KEEP:
        return np.where(old == 0, new, old)
    if rule is Rule.ONE:
        return np.where(new == label, new, old)
    return new


class Commit:
    """Puts a result into a Labels layer, a plane at a time, so that the window stays free.

    Parameters
    ----------
    result
        Of a run.
    target
        A Labels layer of the same shape.
    rule, label
        See `merged`.
    done
        Called at the end with the number of pixels that have changed.

    Raises
    ------
    InputError
        If the labels do not fit into the layer.
    """

    def __init__(
        self,
        result: Result,
        target: Labels,
        rule: Rule,
        label: int = 1,
        done: Callable[[int], object] | None = None,
    ) -> None:
        self.result, self.target, self.rule, self.label = result, target, rule, label
        self._done = done
        self._check()
        self.changed = 0
        self._steps = self._work()
        # One entry in the undo history, however many planes; closed when the last is in. The layer
        # stays editable: napari forgets a layer's history when that is switched off.
        self._history = ExitStack()
        self._timer = QTimer()
        self._timer.timeout.connect(self._step)

    def _check(self) -> None:
        made, target = self.result.labels, self.target
        if target is self.result.layer:
            raise InputError("These are the labels themselves; choose another layer.")
        if target.multiscale:
            raise InputError(f"{target.name} is multiscale, which napari cannot edit.")
        if not isinstance(target.data, np.ndarray):
            raise InputError(f"{target.name} does not lie in memory; its labels cannot be changed.")
        if tuple(target.data.shape) != made.shape:
            raise InputError(
                f"{target.name} has shape {tuple(target.data.shape)}, the labels {made.shape}."
            )

    def start(self) -> None:
        """Begin; the rest happens between the window's other work."""
        self._history.enter_context(self.target.block_history())
        self._timer.start(0)

    def _step(self) -> None:
        try:
            next(self._steps)
        except StopIteration:
            self._end()
        except InputError as error:  # found before the first pixel was changed
            self._end()
            show_error(str(error))

    def _end(self) -> None:
        self._timer.stop()
        self._history.close()
        self.target.refresh()
        if self._done is not None:
            self._done(self.changed)

    def _work(self) -> Iterator[None]:
        made, plan = self.result.labels, self.result.request.plan
        indices = [index for _, index in plan.indices()]
        above = 0
        if self.result.request.instances and self.rule is not Rule.OVERWRITE:
            for index in indices:  # so that no new object takes the number of an old one
                above = max(above, int(self.target.data[index].max(initial=0)))
                yield
        highest = above + int(max((made[index].max(initial=0) for index in indices), default=0))
        if highest > np.iinfo(self.target.data.dtype).max:
            raise InputError(
                f"{self.target.name} holds numbers up to {np.iinfo(self.target.data.dtype).max}, "
                f"the labels go up to {highest}."
            )
        for index in indices:
            new = made[index].astype(self.target.data.dtype)
            if above:
                new = np.where(new > 0, new + above, 0).astype(new.dtype)
            self._put(index, merged(self.target.data[index], new, self.rule, self.label))
            yield

    def _put(self, index: Index, plane: npt.NDArray[Any]) -> None:
        inside = np.nonzero(plane != self.target.data[index])
        if not inside[0].size:
            return
        rest = iter(inside)
        full = tuple(next(rest) if isinstance(i, slice) else np.full(inside[0].shape, i) for i in index)
        self.target.data_setitem(full, plane[inside], refresh=False)
        self.changed += inside[0].size
