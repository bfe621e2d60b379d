"""The *Fine-tune* panel. It draws a `FineTuneState` and passes on what is pressed; no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QSignalBlocker, QTimer
from qtpy.QtWidgets import QInputDialog, QLineEdit

from napari_sdseg.layers import is_ours

from .. import _remembered
from .._choices import offer_images, offer_models
from .._device import warm_up
from .._image_facts import image_facts
from .._models_changed import listen
from ..segment.run import SegmentRun
from ..segment.state import SegmentState
from .form import NO_LAYER, UNITS, FineTuneForm, show_row
from .run import FineTuneRun, color_of, guide_of
from .state import FineTuneState, LabelsFacts, Phase
from .view import go_to, is_preview, new_labels, plane_in_view
from .watch import Watch

if TYPE_CHECKING:
    import napari.viewer

    from sdseg.card import Card

    from .painted import At

__all__ = ["FineTuneWidget"]

#: The model that is made to be started from.
_BASE = "base"
#: Changes of these are drawn by `_draw_progress` alone: they come several times a second.
_PROGRESS = ("done", "seconds_left", "step")


class FineTuneWidget(FineTuneForm):
    """Paint a plane or two, press *Fine-tune*, get a model that draws the rest.

    Parameters
    ----------
    viewer
        The viewer it works in; napari passes it.
    """

    # napari finds the parameter by the exact words of its annotation
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        # napari passes a proxy that wraps every layer anew, so that no layer is itself
        self.viewer: napari.viewer.Viewer = getattr(viewer, "__wrapped__", viewer)
        self.state, self.rest_state = FineTuneState(), SegmentState()
        self.run = FineTuneRun(self.viewer, self.state)
        self.rest = SegmentRun(self.viewer, self.rest_state)
        self.watch = Watch()
        self._models: dict[str, Card] = {}
        self._list_models()
        self._recall()
        self._connect()
        self._take_theme()
        self.reset_choices()
        self._choose_model()
        self._draw()
        warm_up("sdseg.training.finetune")

    def _recall(self) -> None:
        for name in (_remembered.recall("finetune_model", None), _BASE):
            if name in self._models:
                self.model_box.value = name
                break
        self.budget_box.value = _remembered.recall("finetune_budget", self.state.seconds)
        self.unit_box.value = UNITS[bool(_remembered.recall("finetune_in_steps", False))]
        self._choose_budget()

    def _connect(self) -> None:
        self.image_box.changed.connect(self._choose_image)
        self.labels_box.changed.connect(self._choose_labels)
        self.model_box.changed.connect(self._choose_model)
        self.axis_box.changed.connect(self._choose_axis)
        self.style_box.changed.connect(lambda style: self.state.choose(style=style))
        self.background_box.changed.connect(lambda label: self.state.choose(background=label))
        self.budget_box.changed.connect(self._choose_budget)
        self.unit_box.changed.connect(self._choose_budget)
        self.keep_box.changed.connect(lambda keep: self.state.choose(keep=keep))
        self.empty_box.changed.connect(self._say_empty)
        self.planes_list.picked.connect(self._go_to)
        self.planes_list.ticked.connect(self.state.tick)
        self.classes_table.renamed.connect(self.state.rename)
        self.new_button.changed.connect(self._press_new)
        self.next_button.changed.connect(self._press_next)
        self.learn_button.changed.connect(lambda: self._learn(self.state.model))
        self.again_button.changed.connect(lambda: self._learn(self.state.result))
        self.stop_button.changed.connect(self._press_stop)
        self.save_button.changed.connect(self._press_save)
        self.rest_button.changed.connect(self._press_rest)
        self.state.events.connect(self._on_state)
        self.rest_state.events.connect(self._on_rest)
        self.watch.found.connect(self._on_found)
        self.run.on_curve, self.run.on_found = self._draw_curve, self._go_to_position
        # plain objects' methods: this one is half gone when the signal comes
        self.destroyed.connect(self.run.close)
        self.destroyed.connect(self.rest.close)
        self.destroyed.connect(self.watch.close)
        self.viewer.events.theme.connect(self._take_theme)
        self.viewer.dims.events.axis_labels.connect(self._choose_image)
        self.viewer.dims.events.current_step.connect(self._follow)
        listen(self._list_models)

    # -- choices ---------------------------------------------------------------------------------

    def reset_choices(self, event: Any = None) -> None:
        """List the viewer's layers anew; napari calls it when they come, go or are renamed."""
        from napari.layers import Labels

        active = self.viewer.layers.selection.active
        offer_images(self.image_box, self.viewer)
        layers = [x for x in self.viewer.layers if isinstance(x, Labels)]
        layers = [x for x in layers if not x.multiscale and not is_preview(x)]
        before = self.labels_box.value
        with self.labels_box.changed.blocked():
            self.labels_box.choices = [(NO_LAYER, None), *((layer.name, layer) for layer in layers)]
            # a layer that the plugin made is painted by nobody, unless a person says so
            own = [x for x in layers if not is_ours(x)]
            meant = own[-1] if own else None
            self.labels_box.value = before if before in layers else active if active in own else meant
        self._choose_image()

    def _list_models(self) -> None:
        self._models = offer_models(self.model_box)
        if self.state.model is not None:
            self._choose_model()

    def _choose_image(self, _: Any = None) -> None:
        layer = self.image_box.value
        self.state.choose(image=None if layer is None else image_facts(self.viewer, layer))
        choices = self.state.segmenting().axis_choices()
        before = self.axis_box.value
        with self.axis_box.changed.blocked():
            self.axis_box.choices = choices or [("a single plane", None)]
            axes = [axis for _, axis in choices]
            self.axis_box.value = before if before in axes else None
        self.state.choose(axis=self.axis_box.value)
        self._choose_labels()

    def _choose_labels(self, _: Any = None) -> None:
        layer = self.labels_box.value
        facts = None
        if layer is not None:
            facts = LabelsFacts(layer.name, tuple(layer.data.shape), str(layer.unique_id))
        if facts is not None and facts.is_same(self.state.labels):
            self.state.labels = facts  # under another name at most
        self.state.choose(labels=facts)
        self._look()

    def _choose_model(self, _: Any = None) -> None:
        name = self.model_box.value
        card = self._models.get(name)
        self.state.choose(model=name if card else None, card=card)
        self._look()

    def _choose_axis(self, axis: int | None) -> None:
        self.state.choose(axis=axis)
        self._look()

    def _look(self) -> None:
        """Look at what is painted."""
        self.watch.look_at(self.labels_box.value, self.state.plan())
        self._follow()

    def _on_found(self, found: Any) -> None:
        if isinstance(found, Exception):
            self.state.message = f"The labels cannot be read: {found}"
        elif found is None:
            self._choose_labels()  # they are an array of another shape by now
        else:
            self.state.choose(found=found)
            self._follow()

    def _say_empty(self, on: bool) -> None:
        at = self._at()
        if at is not None:
            self.state.say_empty(at, on)

    # -- planes ----------------------------------------------------------------------------------

    def _at(self) -> At | None:
        """Return the plane in view; None: there is no image to be seen."""
        image, plan = self.image_box.value, self.state.plan()
        if image is None or plan is None or image not in self.viewer.layers:
            return None
        return plane_in_view(self.viewer, image, plan)

    def _go_to(self, at: At) -> None:
        image, plan = self.image_box.value, self.state.plan()
        if image is not None and plan is not None and len(at) == len(plan.looped):
            go_to(self.viewer, image, plan, at)

    def _go_to_position(self, position: int) -> None:
        at = self._at()
        if at:
            self._go_to((*at[:-1], position))
            self.state.end(f"{self._axis_name()} {position} would teach most: paint it next.")
        else:
            self.state.end("")

    def _axis_name(self) -> str:
        plan, image = self.state.plan(), self.state.image
        if plan is None or plan.axis is None or image is None:
            return "plane"
        return image.axis_names[plan.axis]

    def _follow(self, _: Any = None) -> None:
        """Say of the plane in view what there is to say."""
        at, state = self._at(), self.state
        self.planes_list.mark(at)
        painted = at in {f.at for f in state.found}
        possible = at is not None and state.fits() and not painted and not state.strokes
        with self.empty_box.changed.blocked():
            self.empty_box.value = at in state.empty and possible
        self.empty_box.enabled = possible and not state.busy
        where = f"{self._axis_name()} {', '.join(map(str, at))}" if at else "This plane"
        self.empty_box.text = f"{where} is empty: all background"

    # -- pressed ---------------------------------------------------------------------------------

    def _choose_budget(self, _: Any = None) -> None:
        count = self.budget_box.value
        if self.unit_box.value == UNITS[1]:
            self.state.choose(steps=count)
        else:
            self.state.choose(seconds=count, steps=None)

    def _press_new(self, _: Any = None) -> None:
        image, plan = self.image_box.value, self.state.plan()
        if image is not None and plan is not None:
            layer = new_labels(self.viewer, image, plan)
            self.reset_choices()
            self.labels_box.value = layer

    def _learn(self, model: str | None) -> None:
        image, layer = self.image_box.value, self.labels_box.value
        if image is None or layer is None or model is None or self.rest_state.busy:
            return
        self._choose_image()  # arrays or axes may have changed since they were chosen
        self.run.learn(image, layer, model)
        _remembered.remember(
            finetune_model=self.state.model,
            finetune_budget=self.budget_box.value,
            finetune_in_steps=self.state.steps is not None,
        )

    def _press_next(self, _: Any = None) -> None:
        image, model = self.image_box.value, self.state.result or self.state.model
        if image is not None and model is not None:
            self.run.seek(image, model, guide_of(self.state, self.labels_box.value))

    def _press_stop(self, _: Any = None) -> None:
        self.run.stop()
        self.rest.cancel()

    def _press_save(self, _: Any = None) -> None:
        name = self._ask_name(self.state.result or "")
        if name:
            self.run.save(name)

    def _ask_name(self, before: str) -> str:
        normal = QLineEdit.EchoMode.Normal
        name, ok = QInputDialog.getText(self, "Save model", "A name for the model", normal, before)
        return name.strip() if ok else ""

    def _press_rest(self, _: Any = None) -> None:
        image, state = self.image_box.value, self.state
        self._choose_image()
        if image is None or state.busy or state.rest_problem():
            return
        chosen = state.segmenting(state.result, state.result_card)
        for name in ("image", "model", "card", "axis", "separate"):
            self.rest_state.choose(**{name: getattr(chosen, name)})
        self.run.preview.clear()
        if self.rest.start(image, guide_of(self.state, self.labels_box.value), keep=False):
            state.message = ""

    def changeEvent(self, event: QEvent) -> None:
        """Stop when the panel is closed: napari takes it out of its dock, and keeps it alive."""
        if (
            event.type() == QEvent.Type.ParentChange
            and self.parent() is None
            and hasattr(self, "watch")
        ):
            self.run.stop("The panel was closed.")
            self.rest.cancel("The panel was closed.")
            self.run.preview.clear()
        super().changeEvent(event)

    # -- drawing ---------------------------------------------------------------------------------

    def _take_theme(self, _: Any = None) -> None:
        self.set_theme(self.viewer.theme)

    def _draw_curve(self) -> None:
        self.plot.draw(self.run.curve)

    def _on_state(self, info: Any) -> None:
        if info.signal.name in _PROGRESS:
            self._draw_progress()
        else:
            self._draw()

    def _on_rest(self, info: Any) -> None:
        if info.signal.name in ("done", "first", "latest", "total"):
            self._draw_progress()
        else:
            if info.signal.name == "phase" and not self.rest_state.busy:
                self.state.message = self.rest_state.message
            self._draw()

    def _draw(self) -> None:
        state = self.state
        busy = state.busy or self.rest_state.busy
        self.learn_button.enabled = not busy and state.problem() is None
        self.stop_button.enabled = self.rest_state.busy or (
            state.phase in (Phase.STARTING, Phase.RUNNING) and state.task != "save"
        )
        for box in (self.image_box, self.labels_box, self.model_box, self.budget_box, self.unit_box):
            box.enabled = not busy
        axes = state.segmenting().axis_choices()
        self.axis_box.enabled = not busy and bool(axes)
        plan = state.plan()
        self.new_button.enabled = plan is not None
        self.next_button.enabled = not busy and plan is not None and bool(plan.looped)
        show_row(self.axis_label, self.axis_box.native, shown=bool(axes))
        self._draw_planes()
        self._draw_result(busy)
        self._draw_progress()
        self.plot.setVisible(state.task == "learn" or bool(self.run.curve.loss))
        rest = self.rest_state.status() if self.rest_state.busy else ""
        self.status_label.say(rest or state.status())
        self.warning_label.say(state.warning)
        self.warning_label.setVisible(bool(state.warning))

    def _draw_planes(self) -> None:
        state, layer = self.state, self.labels_box.value
        entries, painted = state.entries(), state.painted_labels
        names = {row.label: row.name for row in state.rows()}

        def color(label: int) -> str | None:
            return None if layer is None else color_of(layer, label)

        self.planes_list.show_planes(entries, self._axis_name(), names, color, objects=state.instances)
        self.classes_table.show_classes(state.rows(), color)
        show_row(self.classes_label, self.classes_table, shown=bool(names))
        reading = state.reading()
        self.reading_label.say(reading)
        self.reading_label.setVisible(bool(reading))
        if self.style_box.value is not state.style:
            with self.style_box.changed.blocked():
                self.style_box.value = state.style
        self.show_background(painted if state.strokes else [], state.background_label)

    def _draw_result(self, busy: bool) -> None:
        state = self.state
        fresh = state.result is not None and not self.result_box.isVisibleTo(self)
        self.result_box.setVisible(state.result is not None)
        if fresh:  # below the edge of a small screen; once it is laid out
            QTimer.singleShot(
                0, self.result_box, lambda: self.area.ensureWidgetVisible(self.result_box)
            )
        self.again_button.enabled = not busy and state.problem() is None
        self.save_button.enabled = not busy and not state.saved
        self.save_button.text = "Saved" if state.saved else "Save model …"
        problem = None if state.result is None else state.rest_problem()
        self.rest_button.enabled = not busy and problem is None
        self.keep_box.enabled = not busy and state.can_keep
        with self.keep_box.changed.blocked(), QSignalBlocker(self.keep_box.native):
            self.keep_box.value = state.keeps

    def _draw_progress(self) -> None:
        state, rest, bar = self.state, self.rest_state, self.progress.native
        bar.setVisible(state.busy or rest.busy)
        if rest.busy and rest.total:
            bar.setRange(0, rest.total)
            bar.setValue(rest.done)
        elif state.phase is Phase.RUNNING:
            bar.setRange(0, 1000)
            bar.setValue(round(1000 * state.done))
        else:
            bar.setRange(0, 0)  # moves to and fro: there is no telling how long
        text = rest.progress_text() if rest.busy else state.progress_text()
        self.progress_label.say(text)
        self.progress_label.setVisible(bool(text))
        if not (state.busy or rest.busy):
            self._follow()
