"""Training batches from image and mask pairs."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .. import intensity, masks
from .augment import Augment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from ..card import Card
    from ..datasets import Case
    from .recipe import Augmentation

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
        """Move all; channels last, which convolutions are fastest in."""
        where: dict[str, Any] = {"device": device, "memory_format": torch.channels_last}
        classes = None if self.classes is None else self.classes.to(device)
        return Batch(self.images.to(**where), self.masks.to(**where), classes)


@dataclass(frozen=True)
class _Plane:
    image: npt.NDArray[Any]  # (H, W) or (H, W, 3), raw
    labels: npt.NDArray[Any]  # (H, W)
    limits: tuple[float, float]


class Planes:
    """Every plane of a list of pairs, in memory, raw; brightness limits once a stack.

    Volumes are cut along their first axis, as files are read: z.
    """

    def __init__(self, pairs: Sequence[Case], card: Card) -> None:
        self.card = card
        self.planes: list[_Plane] = []
        for pair in pairs:
            image, labels, channel_axis = pair.read()
            if channel_axis is not None:
                image = np.moveaxis(image, channel_axis, -1)[..., :3]
            limits = intensity.limits(image, card.intensity)
            rest = image.shape[labels.ndim :]
            height, width = labels.shape[-2:]
            for plane, mask in zip(
                image.reshape(-1, height, width, *rest),
                labels.reshape(-1, height, width),
                strict=True,
            ):
                self.planes.append(_Plane(plane, mask, limits))

    def __len__(self) -> int:
        return len(self.planes)

    def crop(
        self, index: int, side: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
        """Cut a square from a plane at random: (3, side, side) in [-1, 1] and (side, side)."""
        plane = self.planes[index]
        image, labels = plane.image, plane.labels
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
        normal = intensity.normalize(image, *plane.limits)
        channels = normal[None] if normal.ndim == 2 else np.moveaxis(normal, -1, 0)
        if len(channels) != 3:
            channels = np.repeat(channels[:1], 3, axis=0)
        return np.ascontiguousarray(channels), labels


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
        for index in rng.integers(len(self.planes), size=self.batch):
            image, labels = self.planes.crop(int(index), self._augment.reach, rng)
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
