"""Segmentation that starts from what a person painted.

A diffusion model need not start from pure noise: it can start from a guess, noised as far as the
guess may be wrong, and correct it by the image in the same single step (Meng et al., ICLR 2022,
SDEdit). The guess here is the painted shapes, carried to the plane (`sdseg.shapes`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from . import masks
from .painted import Painted, plane_step
from .shapes import Shapes, timestep

if TYPE_CHECKING:
    import numpy.typing as npt

    from .axes import Index
    from .card import Card

__all__ = ["Guidance", "Start"]

#: Networks learn to correct guesses up to about this timestep; from there on, pure noise is better.
_GUIDED = 700


@dataclass(frozen=True)
class Start:
    """What is known of a plane before the networks see it.

    Attributes
    ----------
    masks, timestep
        (K, H, W) in [-1, 1] to start from, and the timestep they are noised to; None: pure noise.
    known, drawn
        Where the plane is painted (H, W), and the probabilities (K, H, W) that say so; None: nowhere.
    within
        (K, H, W), where alone anything may be drawn; None: anywhere.
    """

    masks: npt.NDArray[np.float32] | None = None
    timestep: int | None = None
    known: npt.NDArray[np.bool_] | None = None
    drawn: npt.NDArray[np.float32] | None = None
    within: npt.NDArray[np.bool_] | None = None

    @property
    def complete(self) -> bool:
        """Whether all of the plane is painted: nothing is left to be segmented."""
        return self.known is not None and bool(self.known.all())

    def keep(self, probability: npt.NDArray[np.float32]) -> None:
        """Put what was painted into a plane's probabilities, in place; none where none can be."""
        if self.within is not None:
            probability[~self.within] = 0
        if self.known is not None and self.drawn is not None:
            probability[:, self.known] = self.drawn[:, self.known]


@dataclass
class Guidance:
    """The starts of all planes of a stack.

    Parameters
    ----------
    painted
        The painted planes; completely painted ones carry their shapes to the others.
    card
        Of the model that is guided.
    """

    painted: Painted
    card: Card
    _volumes: dict[tuple[int, ...], Shapes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Shapes({}, self.card)  # refuses at the door a model that cannot be guided
        self._painted = {self.painted.at(i) for i in self.painted.planes}

    def start(self, index: Index) -> Start:
        """Return what is known of a plane."""
        told = Start()
        if self.painted.at(index) in self._painted:
            ids, known = self.painted.plane(index)
            drawn = ((masks.encode(ids, self.card) + 1) / 2).astype(np.float32)
            told = Start(known=known, drawn=drawn)
            if told.complete:
                return told
        shapes, position = self._shapes(index), self.painted.position(index)
        guess = shapes.guess(position)
        if guess is None:
            return told
        # Where things end it matters what shapes are worth.
        start = timestep(guess.doubt, shapes.trust if guess.one_sided and shapes.tested else 1.0)
        if start > _GUIDED:
            return told
        return replace(told, masks=guess.masks, timestep=start, within=guess.within)

    def in_doubt(self, index: Index) -> float:
        """Return the pixels of a plane that painted planes leave in doubt; 0 where they say nothing."""
        guess = self._shapes(index).guess(self.painted.position(index))
        return 0.0 if guess is None else guess.in_doubt

    def _shapes(self, index: Index) -> Shapes:
        volume = self.painted.volume(index)
        if volume not in self._volumes:
            here = [i for i in self.painted.planes if self.painted.volume(i) == volume]
            planes = self.painted.complete(here).get(volume, {})
            self._volumes[volume] = Shapes(planes, self.card, step=plane_step(self.painted.work))
        return self._volumes[volume]
