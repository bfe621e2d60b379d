"""The one task that the *Fine-tune* panel may have: learning, finding a plane, or saving a model."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_sdseg.layers import image_array, image_spacing
from sdseg import library, store
from sdseg.axes import colours

from .. import _made, _words
from .._models_changed import models_changed
from .._worker import make_worker
from ..models import work as jobs
from ..segment.work import Guide
from .classes import class_ids
from .painted import PlaneCopies
from .state import Curve, Phase, verdict
from .view import LivePreview, plane_in_view
from .work import Begun, Failed, Found, Learn, Learned, Moved, Seek, Shown, View, learn, seek

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import napari
    from napari.layers import Image, Labels

    from sdseg.axes import StackPlan

    from .state import FineTuneState

__all__ = ["FineTuneRun", "painted_copies"]

log = logging.getLogger(__name__)


class FineTuneRun:
    """Starts workers and passes what they say to the state and the viewer.

    Everything here happens on the GUI thread. The planes that are learned from are copied at the
    start, so one may paint on meanwhile.

    Attributes
    ----------
    curve
        Of the last learning; ``on_curve`` is called when it grows.
    on_found
        Called with the position of the plane to be painted next.
    """

    def __init__(self, viewer: napari.Viewer, state: FineTuneState) -> None:
        self.viewer, self.state = viewer, state
        self.preview = LivePreview(viewer)
        self.curve = Curve()
        self.on_curve: Callable[[], None] | None = None
        self.on_found: Callable[[int], None] | None = None
        self._worker: Any = None
        self._bar: Any = None
        self._clear()
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.dims.events.current_step.connect(self._on_moved)

    def _clear(self) -> None:
        self._worker = None
        self._image: Image | None = None
        self._layer: Labels | None = None
        self._view = View()
        self._plan: StackPlan | None = None
        self._outcome: Any = None
        self._why = ""
        self._source = ""

    # -- starting and stopping -------------------------------------------------------------------

    def learn(self, image: Image, layer: Labels, model: str) -> bool:
        """Learn from what is painted, starting from a model; False if that cannot be."""
        state = self.state
        plan = state.plan()
        if plan is None or state.problem() or not state.begin("learn", "Loading the model …"):
            return False
        self._clear()
        try:
            request = self._request(image, layer, model, plan)
        except Exception as error:  # noqa: BLE001 - labels may lie in files that cannot be read
            self._fail(error)
            return False
        self._image, self._layer, self._view, self._source = image, layer, request.view, model
        self.curve = Curve(seconds=request.seconds or 0.0)
        self._tell_curve()
        self.preview.begin(image)
        self._open_bar(image.name)
        self._start(learn, request)
        return True

    def _request(self, image: Image, layer: Labels, model: str, plan: StackPlan) -> Learn:
        state = self.state
        data, channel_axis = image_array(image)
        channels = colours(tuple(data.shape), channel_axis, state.axis)
        spacing, unit = image_spacing(image, channels)
        annotated = state.annotated()
        background = state.background_label
        names = state.class_names()
        colors: list[str | None] = [None] * len(names)
        if not state.instances:
            for label, number in class_ids(state.painted_labels, background).items():
                if number <= len(colors):
                    colors[number - 1] = color_of(layer, label)
        return Learn(
            data, PlaneCopies(layer.data, plan, annotated), model, annotated,
            0 if state.strokes else None, background, tuple(names), tuple(colors),
            state.axis if state.segmenting().axis_choices() else None, channels, spacing, unit,
            None if state.steps else float(state.seconds), state.steps,
            View(plane_in_view(self.viewer, image, plan)),
        )  # fmt: skip

    def seek(self, image: Image, model: str, guide: Guide | None = None) -> bool:
        """Find the plane to be painted next; False if that cannot be."""
        plan = self.state.plan()
        if plan is None or not plan.looped:
            return False
        if not self.state.begin("seek", "Looking for the plane that would teach most …"):
            return False
        self._clear()
        self._image = image
        positions = tuple(sorted({at[-1] for at in self.state.annotated() if at}))
        self._start(seek, Seek(image_array(image)[0], model, plan, positions, guide))
        return True

    def save(self, name: str) -> bool:
        """Save the last result into the user's folder; False if that cannot be."""
        from napari.utils.notifications import show_error

        model = _made.find(self.state.result or "")
        if model is None or self.state.busy:
            return False
        try:
            library.check_name(name)
        except ValueError as error:
            show_error(str(error).removeprefix("name: "))
            return False
        self.state.begin("save", f"Saving {name} …")
        self._clear()

        def write(_: Any) -> Path:
            return _made.named(model, name).save(store.user_folder() / name)

        self._start(jobs.work, jobs.Job(f"Saving {name}", write, lambda path: path.name))
        return True

    def _start(self, work: Any, request: Any) -> None:
        self._worker = make_worker(work, request)
        self._worker.yielded.connect(self._receive)
        self._worker.finished.connect(self._ended)
        self._worker.start()

    def stop(self, why: str = "") -> None:
        """Ask the task to stop; what is learned so far stays. What is being saved is saved."""
        if self._worker is None or self.state.task == "save":
            return
        self._why = self._why or why
        self._worker.quit()
        self.state.stopping()

    def close(self) -> None:
        """Stop, hear no more and say no more: the panel or its viewer is gone."""
        self.state.events.disconnect()
        self.on_curve = self.on_found = None
        worker = self._worker
        if worker is not None:
            worker.quit()
            worker.yielded.disconnect(self._receive)
            worker.finished.disconnect(self._ended)
            self._clear()
            self.state.end("")
        self.preview.close()
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self.viewer.dims.events.current_step.disconnect(self._on_moved)
        with suppress(RuntimeError):  # the activity dock may be gone before its bars
            self._close_bar()

    # -- what the worker says --------------------------------------------------------------------

    def _receive(self, update: Any) -> None:
        try:
            match update:
                case Begun(plan=plan):
                    self._plan = plan
                case Moved():
                    self._advance(update)
                case Shown():
                    if self._plan is not None and self._why == "":
                        self.preview.draw(update, self._plan)
                case None | jobs.Moved():
                    pass
                case _:
                    self._outcome = update
        except Exception:  # what is learned is worth more than what is shown of it
            log.exception("fine-tuning goes on, but cannot be shown")
            self.preview.clear()

    def _advance(self, moved: Moved) -> None:
        last = moved.last
        if last.loss is not None:
            self.curve.loss.append((last.seconds, last.loss))
        if moved.dice is not None:
            self.curve.dice.append((last.seconds, moved.dice))
        if self.state.steps:  # how long they take shows as they are done
            self.curve.seconds = last.seconds + last.seconds_left
        if self.curve.before is None:
            self.curve.before = last.before
        if self.state.phase in (Phase.STARTING, Phase.RUNNING):
            more = round(100 * last.done) - round(100 * self.state.done)
            self.state.advance(last.done, last.seconds_left, last.step)
            if self._bar is not None and more > 0:
                self._bar.update(more)  # last: napari's bar lets other events in meanwhile
        self._tell_curve()

    def _tell_curve(self) -> None:
        if self.on_curve is not None:
            self.on_curve()

    def _ended(self) -> None:
        outcome, why, source, task = self._outcome, self._why, self._source, self.state.task
        self._close_bar()
        self._clear()
        if isinstance(outcome, Failed):
            self._fail(outcome.error)
        elif isinstance(outcome, Learned):
            self._keep(outcome, source, why)
        elif isinstance(outcome, Found):
            if self.on_found is not None:
                self.on_found(outcome.position)
        elif isinstance(outcome, jobs.Done):
            self._saved(outcome.result.name)
        elif task == "learn":
            self.preview.clear()
            self.state.end(f"{why or 'Stopped.'} Nothing was learned.")
        else:
            self.state.end(why or "Stopped.")

    def _keep(self, learned: Learned, source: str, why: str) -> None:
        """Make the model known to all panels, and say what it is worth."""
        name = _made.free_name(source)
        model = _made.add(learned.model, name)
        state = self.state
        state.result_card, state.result, state.saved = model.card, name, False
        said, warning = verdict(learned.before, learned.after, learned.left_out)
        took = f"{learned.steps} steps in {_words.duration(learned.seconds)}"
        state.end(" ".join(p for p in (why, f"{name} is ready: {took}.", said) if p), warning)
        models_changed.emit()

    def _saved(self, name: str) -> None:
        state = self.state
        before = state.result
        state.result, state.saved = name, True
        if state.model == before:
            state.model = name
        _made.saved(before or name, name)
        state.end(f"Saved as {name}; it is in every panel's list, also after a restart.")
        models_changed.emit()

    def _fail(self, error: Exception) -> None:
        from napari.utils.notifications import show_error

        log.error("fine-tuning: %s failed", self.state.task, exc_info=error)
        self.preview.clear()
        self._close_bar()
        said = _words.sentence(str(error))
        self.state.end(f"Failed: {said}")
        show_error(said)

    # -- the activity dock -----------------------------------------------------------------------

    def _open_bar(self, name: str) -> None:
        from napari.utils import progress

        self._bar = progress(total=100, desc=f"SDSeg learns: {name}")

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    # -- what happens around it ------------------------------------------------------------------

    def _on_removed(self, event: Any) -> None:
        if self._worker is None:
            return
        if event.value is self._image:
            self.stop("The image was removed.")
        elif event.value is self._layer:
            self.stop("The painted layer was removed.")

    def _on_moved(self, _: Any = None) -> None:
        image, plan = self._image, self._plan
        if image is not None and plan is not None and image in self.viewer.layers:
            self._view.at = plane_in_view(self.viewer, image, plan)


def painted_copies(state: FineTuneState, layer: Labels) -> PlaneCopies | None:
    """Return copies of the planes that are learned from."""
    plan = state.plan()
    return None if plan is None else PlaneCopies(layer.data, plan, state.annotated())


def guide_of(state: FineTuneState, layer: Labels | None) -> Guide | None:
    """Return copies of what is painted, if it is to be kept and started from."""
    if layer is None or not state.keeps:
        return None
    unknown = 0 if state.strokes else None
    return Guide(painted_copies(state, layer), state.annotated(), unknown, state.background_label)


def color_of(layer: Labels, label: int) -> str | None:
    """Return the colour that a label is painted in, as ``#rrggbb``."""
    color = layer.get_color(label)
    if color is None:
        return None
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in color[:3])
