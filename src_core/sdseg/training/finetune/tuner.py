"""Fine-tuning: from a model and a few painted planes to a model that draws the rest."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers.training_utils import EMAModel

from ... import masks, tiles
from ...axes import plan
from ...errors import InputError
from ...painted import Painted, digest, painted
from ...predict import find_limits
from ...store import Model, place
from . import objective
from .adapt import adapted, classes_for
from .draws import Draws
from .examples import Stack
from .look import intensity_for, placement_for, variation_for
from .score import dice_on
from .settings import FineTuneSettings, FineTuneUpdate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...axes import Index
    from ...card import Placement
    from ...pipeline import SDSegPipeline
    from .draws import Variation

__all__ = ["FineTuner"]

#: Painted planes of one image, by number of the image.
_Planes = list[list["Index"]]


class FineTuner:
    """Teach a copy of a model what was painted.

    The source model is never changed. `run` may be stopped at any update; `result` is the best so far:
    while planes are left out, the averaged weights that drew them best; once those are learned from
    too, the averaged weights as they are, unless they draw them worse.

    Parameters
    ----------
    model
        What to start from.
    images, labels
        An array each, or a list of arrays each. Labels hold class ids from 1 (for a model of single
        objects: object ids), of the images' shape less the channel axis.
    annotated
        Positions of the planes that are annotated (a list of lists for several images); None: those
        on which anything is painted. See `sdseg.training.finetune.painted.painted`.
    ignore_label, background_label
        For strokes: the label of unknown pixels; where that is 0, the label of the background.
    classes
        Names of class 1, 2, ...; None: the model's own, and more if more were painted.
    axis, channel_axis, spacing, unit
        As for `sdseg.axes.plan`; one for all images. ``spacing`` and ``unit`` may be lists, one an
        image.
    placement
        ``"tile"`` or ``"fit"``; None: whole planes where they are as small as the model's square, or
        resized to it where they are larger.
    steps, seconds
        The budget; whichever is used up first. None for both: 60 seconds.
    seed
        Of everything that is drawn.
    settings
        How it is learned.

    Examples
    --------
    >>> tuner = FineTuner(load_model("base"), stack, labels, seconds=60)  # doctest: +SKIP
    >>> for update in tuner.run():  # doctest: +SKIP
    ...     print(update.step, update.loss, update.dice)
    >>> tuner.result.save("models/mine")  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Model,
        images: Any,
        labels: Any,
        *,
        annotated: Sequence[Any] | None = None,
        ignore_label: int | None = None,
        background_label: int | None = None,
        classes: Sequence[str] | None = None,
        axis: int | None = None,
        channel_axis: Any = None,
        spacing: Any = None,
        unit: Any = None,
        placement: Placement | None = None,
        steps: int | None = None,
        seconds: float | None = None,
        seed: int = 0,
        settings: FineTuneSettings | None = None,
    ) -> None:
        for name, value in (("steps", steps), ("seconds", seconds)):
            if value is not None and not value > 0:
                raise InputError(f"{name}: need more than 0, got {value}")
        self.source, self.seed, self.settings = model, seed, settings or FineTuneSettings()
        self.steps = steps
        self.seconds = 60.0 if steps is None and seconds is None else seconds
        several = isinstance(images, list | tuple)
        many = list(images) if several else [images]
        drawn = list(labels) if several else [labels]
        if len(drawn) != len(many):
            raise InputError(f"labels: {len(drawn)} for {len(many)} images; give one an image")

        def each(value: Any) -> list[Any]:
            return list(value) if several and isinstance(value, list | tuple) else [value] * len(many)

        chosen = each(annotated) if several else [annotated]
        if len(chosen) != len(many):
            raise InputError(f"annotated: {len(chosen)} lists for {len(many)} images")
        sizes, units, colours = each(spacing), each(unit), each(channel_axis)

        # 1. what was painted
        card = model.card
        works = [
            plan(
                image.shape, image.dtype, card, axis=axis, channel_axis=c, spacing=s,
                unit=u, placement=placement,
            )
            for image, c, s, u in zip(many, colours, sizes, units, strict=True)
        ]  # fmt: skip
        if placement is None:
            chosen_placement = placement_for(works, card)
            works = [
                dataclasses.replace(w, placement=chosen_placement, zoom=(1.0, 1.0))
                if chosen_placement == "fit" else w
                for w in works
            ]  # fmt: skip
        self.painted = [
            painted(
                image, lab, work, annotated=a,
                ignore_label=ignore_label, background_label=background_label,
            )
            for image, lab, work, a in zip(many, drawn, works, chosen, strict=True)
        ]  # fmt: skip
        count = _classes(self.painted, card.coding)
        # 2. what it becomes
        self._pipeline, card = adapted(model, classes_for(card, count, classes))
        self.card = dataclasses.replace(
            card,
            placement=works[0].placement,
            intensity=intensity_for(self.painted, card.intensity),
            name=f"{model.card.name}-tuned",
            parent=model.card.name,
            scores={},
            version="1",
        )
        self._stacks = [self._stack(p) for p in self.painted]
        self.step, self._spent = 0, 0.0
        self.before: float | None = None
        self.best: float | None = None
        self._best: list[torch.Tensor] | None = None  # the averages that scored it
        self._early: list[torch.Tensor] | None = None  # the same, once those planes are learned from
        self._averages: list[torch.Tensor] = []

    def _stack(self, painted_: Painted) -> Stack:
        p = self._pipeline
        lay = tiles.layout(
            painted_.work.plane_shape, self.card, p.factor, p.multiple,
            placement=painted_.work.placement, zoom=painted_.work.zoom,
        )  # fmt: skip
        limits = find_limits(painted_.image, painted_.work, self.card)
        return Stack(painted_, self.card, limits, lay, between=self.settings.between)

    @property
    def planes(self) -> list[list[int]]:
        """Return the positions of the annotated planes of each image."""
        return [[p.position(i) for i in p.planes] for p in self.painted]

    @property
    def left_out(self) -> int:
        """Return how many annotated planes are left out at first, to score on them."""
        return sum(map(len, self._held))

    @property
    def _held(self) -> _Planes:
        return _split([list(p.planes) for p in self.painted])[1]

    def run(self) -> Iterator[FineTuneUpdate]:
        """Learn until the budget is used up, yielding an update a step."""
        s, p = self.settings, self._pipeline
        started = time.perf_counter()
        torch.manual_seed(self.seed)  # of dropout
        networks = torch.nn.ModuleList([p.vision_encoder, p.unet])
        weights = _learned(p)
        optimizer = torch.optim.AdamW(weights, lr=s.learning_rate, weight_decay=s.weight_decay)
        ema = EMAModel(weights, decay=s.ema)
        every = [list(x.planes) for x in self.painted]
        train, held = _split(every)
        everything = not any(held)
        variation = s.variation or variation_for(self.painted)
        draws = self._draws(train, variation, between=everything)
        generator = torch.Generator().manual_seed(self.seed + 1)
        # What the source draws already needs no start, and would be drawn too large by one.
        drawn = self._score_source(every if everything else held)
        balance = s.balance if drawn is None or drawn < s.drawn_already else 0
        if not everything:
            self.before = drawn
        scored, looked = time.perf_counter(), 0  # when, and after which step
        running: float | None = None
        while (done := self._done(time.perf_counter() - started)) < 1:
            dice = None
            if not everything and done >= s.held_out:
                if self.step > looked:  # the last chance, and the only one of a short budget
                    dice = self._held_out(ema, weights, held)
                everything, self._early, self._best = True, self._best, None
                draws = self._draws(every, variation)
            for group in optimizer.param_groups:
                group["lr"] = s.learning_rate * _rate(done, s.warmup)
            networks.train()
            with torch.autocast(self.source.device.type, self.source.choice.dtype, enabled=self._half):
                share = _share(self.step, done, balance)
                loss = objective.loss(p, draws(), s, generator, self.source.device, share)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(weights, s.clip)
            optimizer.step()
            ema.step(weights)
            self.step += 1
            value = float(loss.detach())
            running = value if running is None else 0.95 * running + 0.05 * value
            if not everything and time.perf_counter() - scored > s.score_every:
                dice = self._held_out(ema, weights, held)
                scored, looked = time.perf_counter(), self.step
            self._spent = time.perf_counter() - started
            done = self._done(self._spent)
            left = self._spent * (1 - done) / max(done, 1e-6)
            self._averages = ema.shadow_params
            yield FineTuneUpdate(
                self.step, self._spent, min(done, 1.0), max(left, 0.0), running, dice, self.before,
                self.best, everything,
            )  # fmt: skip
        networks.eval()

    @property
    def _half(self) -> bool:
        return self.source.choice.dtype is not torch.float32

    def _done(self, seconds: float) -> float:
        parts = [0.0]
        if self.steps is not None:
            parts.append(self.step / self.steps)
        if self.seconds is not None:
            parts.append(seconds / self.seconds)
        return max(parts)

    def _draws(self, planes: _Planes, variation: Variation, *, between: bool = True) -> Draws:
        groups = [
            s.examples(chosen, between=between) for s, chosen in zip(self._stacks, planes, strict=True)
        ]
        side = -(-self.card.size // self._pipeline.multiple) * self._pipeline.multiple
        first = next(own[0] for own, _ in groups if own)
        area = math.prod(min(n, side) for n in first.image.shape[1:])
        size = int(np.clip(round(self.settings.pixels / area), 2, 8))
        return Draws(groups, size, side, variation, self.seed)

    def _held_out(self, ema: EMAModel, weights: list[Any], held: _Planes) -> float:
        """Score the averaged weights on what was left out."""
        ema.store(weights)
        ema.copy_to(weights)
        try:
            dice = self._score(held)
        finally:
            ema.restore(weights)
        if self.best is None or dice > self.best:
            self.best, self._best = dice, [a.clone() for a in ema.shadow_params]
        return dice

    def _score_source(self, held: _Planes) -> float | None:
        """Score the model that was started from, if it draws these classes at all."""
        if masks.channel_count(self.source.card) != masks.channel_count(self.card):
            return None
        return self._score(held)

    def _score(self, planes: _Planes, pipeline: SDSegPipeline | None = None) -> float:
        made = Model(self.card.name, self.card, pipeline or self._pipeline, self.source.choice)
        with torch.autocast(self.source.device.type, self.source.choice.dtype, enabled=self._half):
            return dice_on(made, self._stacks, planes)

    @property
    def result(self) -> Model:
        """Return the best model so far, in the source's precision and on its device."""
        if self.step == 0:
            raise InputError("fine-tuning: nothing was learned yet; run at least a step")
        import copy

        pipeline = copy.deepcopy(self._pipeline)
        _fill(pipeline, self._best or self._averages)
        # What draws planes worse that it has learned from since has got worse altogether.
        early, best = self._early, self.best
        if early is not None and best is not None and self._score(self._held, pipeline) < best:
            _fill(pipeline, early)
        said = sum(len(p.planes) for p in self.painted)
        scores = {}
        if self.best is not None:
            scores["Dice on painted planes left out"] = round(self.best, 4)
        if self.before is not None:
            scores["the same before fine-tuning"] = round(self.before, 4)
        card = dataclasses.replace(
            self.card,
            scores=scores,
            summary=f"Fine-tuned from {self.source.card.name} on {said} painted planes.",
            training_data=(
                f"{said} painted planes of {len(self.painted)} image(s), sha256 "
                f"{digest(self.painted)}, {self.step} steps in {self._spent:.0f} s; before that: "
                f"{self.source.card.training_data}"
            ),
            limitations="Learned from few planes: look at what it draws. Not for diagnosis.",
        )
        return Model(card.name, card, place(pipeline, self.source.choice), self.source.choice)


def _learned(pipeline: SDSegPipeline) -> list[torch.nn.Parameter]:
    """Return the weights that are trained: all but the mask autoencoder's."""
    return [*pipeline.vision_encoder.parameters(), *pipeline.unet.parameters()]


def _fill(pipeline: SDSegPipeline, weights: Sequence[torch.Tensor]) -> None:
    with torch.no_grad():
        for weight, value in zip(_learned(pipeline), weights, strict=True):
            weight.copy_(value)


def _classes(stacks: Sequence[Painted], coding: str) -> int:
    """Return how many classes were painted."""
    largest = 0
    for stack in stacks:
        for index in stack.planes:
            ids, _ = stack.plane(index)
            if ids.min() < 0:
                raise InputError(f"labels: negative ids ({ids.min()}); classes are counted from 1")
            largest = max(largest, int(ids.max()))
    if coding == "instances":
        return 1
    if largest > 64:
        raise InputError(
            f"labels: class ids go up to {largest}; they are counted 1, 2, ... If these are single "
            "objects, fine-tune a model of single objects such as 'nuclei', or pass labels > 0"
        )
    return max(1, largest)


def _split(planes: _Planes) -> tuple[_Planes, _Planes]:
    """Leave out every fifth annotated plane, at least one, if there are two; never the outermost."""
    flat = [(i, index) for i, chosen in enumerate(planes) for index in chosen]
    if len(flat) < 2:
        return planes, [[] for _ in planes]
    count = max(1, len(flat) // 5)
    wanted = np.linspace(0, len(flat) - 1, count + 2).round().astype(int)[1:-1]
    held: _Planes = [[] for _ in planes]
    train: _Planes = [[] for _ in planes]
    for number, (i, index) in enumerate(flat):
        (held if number in wanted else train)[i].append(index)
    return train, held


def _share(step: int, done: float, balance: int) -> float:
    """Return how much of the balance is left: gone after its steps, or after half of a short budget."""
    return max(0.0, 1 - max(step / balance, 2 * done)) if balance else 0.0


def _rate(done: float, warmup: float) -> float:
    if done < warmup:
        return 0.1 + 0.9 * done / warmup
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) + 0.01
