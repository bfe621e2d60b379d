"""Training batches from image and mask pairs."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from .. import intensity, masks
from ..devices import training_format
from .augment import Augment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from ..card import Card
    from ..datasets import Case
    from .recipe import Augmentation, Source

__all__ = ["Batch", "Batches", "Planes"]

log = logging.getLogger(__name__)


@dataclass
class Batch:
    """Images (N, 3, S, S) and coded masks (N, K, S, S), float32 in [-1, 1].

    With the ``"conditioned"`` coding, masks are of one class each, and ``classes`` (N,) says which.
    """

    images: torch.Tensor
    masks: torch.Tensor
    classes: torch.Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Move all, in the format that training is fastest in."""
        where: dict[str, Any] = {"device": device, "memory_format": training_format(device)}
        classes = None if self.classes is None else self.classes.to(device)
        return Batch(self.images.to(**where), self.masks.to(**where), classes)


@dataclass(frozen=True)
class _Plane:
    image: npt.NDArray[Any]  # (H, W) or (H, W, 3), raw
    labels: npt.NDArray[Any]  # (H, W)
    limits: tuple[float, float]
    single: bool = False  # one of its classes is the foreground, another each time


class Planes:
    """Every plane of a list of pairs, in memory, raw; brightness limits once a stack.

    Volumes are cut along their first axis, as files are read: z. Where the card's placement is
    ``"fit"``, planes are resized to its square, as they are when the model segments.

    Parameters
    ----------
    pairs
        Images with their labels; or, with ``sources``, a list of them for each source.
    foreground
        Fraction of what is drawn that must show something labelled.
    """

    def __init__(
        self,
        pairs: Sequence[Case] | Sequence[Sequence[Case]],
        card: Card,
        sources: Sequence[Source] = (),
        foreground: float = 0.0,
    ) -> None:
        self.card = card
        self.planes: list[_Plane] = []
        groups: Any = pairs if sources else [pairs]
        self._ends: list[int] = []
        shares = [s.share for s in sources] or [1.0]
        self._until = np.cumsum(shares) / sum(shares)
        for group, source in zip(groups, sources or [None], strict=True):  # type: ignore[list-item]
            for pair in group:
                self._read(pair, source)
            self._ends.append(len(self.planes))
        self._foreground = foreground
        self._full = np.flatnonzero([bool(p.labels.any()) for p in self.planes])

    def _read(self, pair: Case, source: Source | None) -> None:
        image, labels, channel_axis = pair.read()
        if channel_axis is not None:
            image = np.moveaxis(image, channel_axis, -1)[..., :3]
        limits = intensity.limits(image, self.card.intensity)
        rest = image.shape[labels.ndim :]
        height, width = labels.shape[-2:]
        single = source is not None and source.labels == "classes"
        for plane, mask in zip(
            image.reshape(-1, height, width, *rest),
            labels.reshape(-1, height, width),
            strict=True,
        ):
            if single and not mask.any():
                continue  # no class that could be meant
            if source is not None and source.zoom != 1:
                plane, mask = _resized(plane, mask, source.zoom)
            self.planes.append(_Plane(plane, mask, limits, single))

    def draw(self, rng: np.random.Generator) -> int:
        """Draw a plane: a source by its share, then any of its planes."""
        wanted = len(self._ends) == 1 and self._foreground and len(self._full)
        if wanted and rng.random() < self._foreground:
            return int(rng.choice(self._full))
        if len(self._ends) == 1:
            return int(rng.integers(len(self.planes)))
        source = int(np.searchsorted(self._until, rng.random(), side="right"))
        first = self._ends[source - 1] if source else 0
        return int(rng.integers(first, self._ends[source]))

    def __len__(self) -> int:
        return len(self.planes)

    def crop(
        self, index: int, side: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
        """Cut a square from a plane at random: (3, side, side) in [-1, 1] and (side, side)."""
        plane = self.planes[index]
        image, labels = plane.image, plane.labels
        size = self.card.size
        if self.card.placement == "fit" and labels.shape != (size, size):
            image, labels = _fitted(image, labels, size)
        for axis in (0, 1):
            start = int(rng.integers(max(0, labels.shape[axis] - side) + 1))
            take = [slice(None)] * 2
            take[axis] = slice(start, start + side)
            image, labels = image[tuple(take)], labels[tuple(take)]
        pad = [max(0, side - n) for n in labels.shape]
        if any(pad):
            around = [(p // 2, p - p // 2) for p in pad]
            labels = np.pad(labels, around, mode="reflect")
            image = np.pad(image, around + [(0, 0)] * (image.ndim - 2), mode="reflect")
        if plane.single:
            classes = np.unique(labels[labels > 0])
            # All of them now and then: together they are a shape too.
            if classes.size and rng.random() < 0.85:
                labels = (labels == rng.choice(classes)).astype(np.uint8)
        normal = intensity.normalize(image, *plane.limits)
        channels = normal[None] if normal.ndim == 2 else np.moveaxis(normal, -1, 0)
        if len(channels) != 3:
            channels = np.repeat(channels[:1], 3, axis=0)
        return np.ascontiguousarray(channels), labels


def _fitted(
    plane: npt.NDArray[Any], mask: npt.NDArray[Any], side: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Resize to a square in the way of `sdseg.tiles.cut`: the same pixels in training as later."""
    colours = plane[None] if plane.ndim == 2 else np.moveaxis(plane, -1, 0)
    whole = torch.from_numpy(np.ascontiguousarray(colours, np.float32))[None]
    fitted = F.interpolate(whole, (side, side), mode="bilinear", align_corners=False, antialias=True)
    image = fitted[0, 0].numpy() if plane.ndim == 2 else np.moveaxis(fitted[0].numpy(), 0, -1)
    at = [((np.arange(side) + 0.5) * n / side).astype(int) for n in mask.shape]
    return image, mask[np.ix_(*at)]


def _resized(
    plane: npt.NDArray[Any], mask: npt.NDArray[Any], zoom: float
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    from skimage.transform import resize

    shape = tuple(max(1, round(n * zoom)) for n in mask.shape)
    larger = resize(plane.astype(np.float32), (*shape, *plane.shape[2:]), order=1)  # type: ignore[no-untyped-call]
    nearest = resize(mask, shape, order=0, preserve_range=True, anti_aliasing=False)  # type: ignore[no-untyped-call]
    return larger, nearest


class Batches:
    """An endless, seekable sequence of batches: batch ``i`` is the same whenever it is asked for.

    One thread draws the next batches while the networks train.
    """

    def __init__(
        self,
        planes: Planes,
        augmentation: Augmentation,
        crop: int,
        batch: int,
        seed: tuple[int, ...],
        *,
        ahead: int = 2,
    ) -> None:
        self.planes, self.batch, self.seed, self.ahead = planes, batch, seed, ahead
        self._augment = Augment(augmentation, crop)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sdseg-data")

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng([*self.seed, number])
        images, coded, classes = [], [], []
        card = self.planes.card
        for index in [self.planes.draw(rng) for _ in range(self.batch)]:
            image, labels = self.planes.crop(index, self._augment.reach, rng)
            image, labels = self._augment(image, labels, rng)
            images.append(image)
            if card.coding == "conditioned":
                # One of the classes that are there, the background among them.
                number = int(rng.choice(masks.present(labels, card)))
                classes.append(number)
                coded.append(masks.encode_class(labels, number))
            else:
                coded.append(masks.encode(labels, card))
        return Batch(
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(np.stack(coded)),
            torch.tensor(classes) if classes else None,
        )

    def since(self, number: int) -> Iterator[Batch]:
        """Yield batches ``number``, ``number + 1``, ... for ever."""
        waiting = [self._pool.submit(self.__getitem__, number + i) for i in range(self.ahead)]
        following = number + self.ahead
        try:
            while True:
                batch = waiting.pop(0).result()
                waiting.append(self._pool.submit(self.__getitem__, following))
                following += 1
                yield batch
        finally:
            for future in waiting:
                future.cancel()
