"""Painted planes as the networks see them, and what is carried from them to the planes between."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ... import masks, tiles
from ...painted import plane_step, spread
from ...predict import colours
from ...shapes import Guess, Shapes
from .strokes import left_open, reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from ...axes import Index
    from ...card import Card
    from ...painted import Painted

__all__ = ["Example", "Stack", "known_mean"]

#: Planes between the painted ones that are learned from at most, spread evenly.
_BETWEEN = 48
#: Pixels by which carried shapes must have vanished before a plane counts as empty.
_GONE = 6.0
#: Trust in the emptiness of planes far beyond strokes, of which there are no shapes to tell. With some
#: of them Dice of that atrium is 0.76.
_UNTOLD = 0.75
#: Weight of what is merely probable beside strokes, at most.
_MOST = 0.5


@dataclass(frozen=True)
class Example:
    """One plane, resized as the network sees it.

    Attributes
    ----------
    image
        (3, h, w) in [-1, 1].
    target
        (K, h, w) coded masks in [-1, 1].
    weight
        (1, h, w) in [0, 1]: how much is known of each pixel.
    complete
        Every pixel is known, as painted.
    guess
        (K, h, w) in [-1, 1], carried from the other painted planes; None: there is none. Of strokes,
        with what probably is where they leave the plane open.
    carried
        The target itself is carried from painted planes: it may be started from, bent, like a painted
        one.
    """

    image: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor
    complete: bool
    guess: torch.Tensor | None = None
    carried: bool = False

    @cached_property
    def shows(self) -> bool:
        """Whether there is anything to be drawn on it."""
        return bool((self.target > 0).any())


@dataclass
class Stack:
    """Everything that is learned from one painted image.

    Parameters
    ----------
    painted, card
        What was painted, and the card of the model that learns it.
    limits
        Brightness limits of the image.
    lay
        How its planes are resized.
    between
        Learn from unpainted planes too, by the shapes that painted ones carry to them.
    """

    painted: Painted
    card: Card
    limits: tuple[float, float]
    lay: tiles.Layout
    between: bool = True
    _planes: dict[tuple[int, ...], Example] = field(default_factory=dict)

    def example(self, index: Index) -> Example:
        """Return an annotated plane; read once."""
        at = self.painted.at(index)
        if at not in self._planes:
            ids, known = self.painted.plane(index)
            target = self._encoded(ids)
            weight = torch.from_numpy(known.astype(np.float32))[None]
            image, drawn, smaller = self._image(index), self._resized(target), self._resized(weight)
            if known.all():
                self._planes[at] = Example(image, drawn, smaller, complete=True)
            else:
                # What is unknown has no part in the mean of a pixel.
                drawn = known_mean(self._resized(target * weight), smaller, drawn)
                filled, rest = left_open(ids, known, self._reach)
                told = smaller.mean() * self._resized(torch.from_numpy(rest)[None])
                told = told.clamp(max=_MOST)
                self._planes[at] = Example(
                    image,
                    drawn,
                    torch.maximum(smaller, told),
                    complete=False,
                    guess=self._resized(self._encoded(filled)),
                )
        return self._planes[at]

    @cached_property
    def _reach(self) -> float | None:
        """How far things go on from strokes; None of single objects, of which only some are painted."""
        if self.card.coding == "instances":
            return None
        planes = (self.painted.plane(index) for index in self.painted.planes)
        return reach(known & (ids > 0) for ids, known in planes if not known.all())

    def _encoded(self, ids: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(masks.encode(ids, self.card))

    def _image(self, index: Index) -> torch.Tensor:
        plane = self.painted.work.take(self.painted.image, index)
        ready = colours(plane, *self.limits, 3)
        return whole(torch.from_numpy(ready), self.lay)

    def _resized(self, maps: torch.Tensor) -> torch.Tensor:
        return whole(maps, self.lay)

    def examples(
        self, planes: Sequence[Index], *, between: bool = True
    ) -> tuple[list[Example], list[Example]]:
        """Return what some of the annotated planes teach.

        Returns
        -------
        painted, between
            The planes themselves, with what their neighbours would have guessed of them; and
            unpainted planes with what is guessed of them as target, where it is fairly sure.
        """
        own: list[Example] = []
        carried: list[Example] = []
        shapes = self._shapes(planes)
        for index in planes:
            example = self.example(index)
            volume = shapes.get(self.painted.volume(index))
            found = None if volume is None else volume.guess(self.painted.position(index))
            # Past where others show something they say that there is nothing, or hardly anything: a
            # network that learns to draw a shape there all the same will do so wherever nothing is.
            if found is None or found.one_sided:
                own.append(example)
            else:
                own.append(self._with(example, found))
        if not (between and self.between):
            return own, carried
        own += self._far(planes, (len(own) + 1) // 2)
        for at, volume in shapes.items():
            trust = volume.trust
            if trust <= 0:
                continue
            empty: list[Example] = []
            before = len(carried)
            for position in self._unpainted():
                found = volume.guess(position)
                if found is None:
                    continue
                index = self.painted.index(at, position)
                if found.doubt < 0.75:
                    carried.append(self._guessed(index, found, trust))
                elif found.distance.max() < -_GONE:
                    empty.append(self._empty(index, trust))
            # Few of these: networks learn to draw nothing all too easily.
            carried += empty[:: max(1, 3 * len(empty) // max(1, len(carried) - before))]
        return own, carried

    def _shapes(self, planes: Sequence[Index]) -> dict[tuple[int, ...], Shapes]:
        """Return the completely painted planes of each volume that has two or more."""
        if self.card.coding == "instances" or self.painted.axis is None:
            return {}
        return {
            at: Shapes(volume, self.card, step=plane_step(self.painted.work))
            for at, volume in self.painted.complete(planes).items()
            if len(volume) > 1
        }

    def _unpainted(self) -> list[int]:
        axis = self.painted.axis
        assert axis is not None
        painted = {self.painted.position(i) for i in self.painted.planes}
        count = self.painted.work.output_shape[axis]
        free = [z for z in range(count) if z not in painted]
        if len(free) > _BETWEEN:
            free = [free[i] for i in np.linspace(0, len(free) - 1, _BETWEEN).round().astype(int)]
        return free

    def _far(self, planes: Sequence[Index], at_most: int) -> list[Example]:
        """Take some planes more than a gap beyond the outermost strokes for empty, on either side."""
        if self.painted.axis is None:
            return []
        positions: dict[tuple[int, ...], list[int]] = {}
        for index in planes:
            if not self.example(index).complete:
                *volume, position = self.painted.at(index)
                positions.setdefault(tuple(volume), []).append(position)
        free = self._unpainted()
        far: list[Example] = []
        for at, known in positions.items():
            known.sort()
            if len(known) < 2:
                continue
            first, last = 2 * known[0] - known[1], 2 * known[-1] - known[-2]
            for there in ([z for z in free if z < first], [z for z in free if z > last]):
                far += [self._empty(self.painted.index(at, z), _UNTOLD) for z in spread(there, at_most)]
        return far

    def _with(self, example: Example, found: Guess) -> Example:
        guess = self._resized(torch.from_numpy(found.masks))
        return replace(example, guess=guess)

    def _empty(self, index: Index, trust: float) -> Example:
        """Take a plane far beyond the painted ones for empty, though not with much conviction."""
        image = self._image(index)
        nothing = masks.encode(np.zeros(self.painted.work.plane_shape, np.int64), self.card)
        weight = torch.full((1, *image.shape[1:]), 0.6 * trust)
        return Example(image, self._resized(torch.from_numpy(nothing)), weight, False, carried=True)

    def _guessed(self, index: Index, found: Guess, trust: float) -> Example:
        """Take a guess for the truth, but for a margin around its outline."""
        weight = torch.from_numpy(found.sure.astype(np.float32) * trust * (1 - found.doubt))[None]
        target = torch.from_numpy(found.masks)
        return Example(
            self._image(index), self._resized(target), self._resized(weight), False, carried=True
        )


def known_mean(weighed: torch.Tensor, weight: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return means of known values alone.

    Parameters
    ----------
    weighed, weight
        Values times weights (..., K, H, W) and weights (..., 1, H, W), both resampled.
    other
        What stands where nothing is known.
    """
    return torch.where(weight > 1e-3, weighed / weight.clamp(min=1e-3), other).clamp(-1, 1)


def whole(maps: torch.Tensor, lay: tiles.Layout) -> torch.Tensor:
    """Resize and pad a plane as the engine does, uncut: (C, H, W) -> (C, h, w)."""
    uncut = tiles.Layout(lay.shape, lay.resized, lay.worked, lay.worked, ((0, 0),), 1, lay.factor)
    return tiles.cut(maps.numpy(), uncut)[0]
