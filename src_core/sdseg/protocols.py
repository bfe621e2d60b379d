"""One case through a model by a protocol: what was drawn, and what is true, at each resolution.

``"sound"``: every plane has noise of its own. Folders of pairs go through the model as any image of a
user does; the published data sets are prepared as they were for training, and their probabilities are
brought back to the case's own resolution before anything is decided.

``"published"``: what the published implementation does. Everything is resized to the network's
square first, one noise tensor is shared by all planes, and masks are compared at that size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.nn import functional as F

from . import instances as objects_
from . import intensity, masks
from .axes import plan
from .datasets import Pair, SetCase, Square, scipy_zoom
from .errors import InputError
from .predict import predict_planes
from .stack import segment_planes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from .datasets import Case
    from .predict import Prediction
    from .store import Model

__all__ = ["Drawn", "Protocol", "View", "as_square", "draw", "predict_square", "resized"]

Protocol = Literal["sound", "published"]


@dataclass(frozen=True)
class View:
    """Class ids that were drawn and true ones, of one shape; pixel size in mm (None: not known)."""

    predicted: npt.NDArray[Any]
    true: npt.NDArray[Any]
    spacing: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Drawn:
    """A case that went through a model.

    Attributes
    ----------
    own
        In the case's own resolution.
    square
        In the network's; None: it was not compared there.
    objects
        Instance ids in the case's own resolution, if asked for.
    planes, seconds
        How many planes it has and how long they took.
    """

    own: View
    square: View | None
    objects: npt.NDArray[np.uint32] | None
    planes: int
    seconds: float


def draw(
    model: Model,
    case: Case,
    protocol: Protocol = "sound",
    *,
    instances: bool = False,
    samples: int = 1,
    steps: int = 1,
    seed: int = 0,
) -> Drawn:
    """Put a case through a model.

    Parameters
    ----------
    case
        A pair of files, or a case of a published set.
    instances
        Draw single objects too; only in their own resolution.
    """
    options: dict[str, Any] = {"samples": samples, "steps": steps, "seed": seed}
    shared = protocol == "published"
    if isinstance(case, SetCase):
        return _by_square(model, case.square(), {**options, "shared_noise": shared})
    if shared:
        return _by_square(model, as_square(case, model), {**options, "shared_noise": True})
    return _as_users_do(model, case, instances, options)


def _as_users_do(model: Model, case: Case, instances: bool, options: dict[str, Any]) -> Drawn:
    spacing = None
    if isinstance(case, Pair):
        image, true, channel_axis, spacing = case.load()
    else:
        image, true, channel_axis = case.read()
    card = model.card
    work = plan(image.shape, image.dtype, card, channel_axis=channel_axis)
    predicted = np.zeros(work.output_shape, np.uint16)
    objects = np.zeros(work.output_shape, np.uint32) if instances else None
    linker = objects_.Linker()
    started = time.perf_counter()
    for plane in segment_planes(image, model, work, instances=False, **options):
        predicted[plane.index] = plane.labels
        if objects is not None:
            found = objects_.objects(plane.probability, threshold=card.threshold)
            objects[plane.index] = linker.link(found)
    seconds = time.perf_counter() - started
    return Drawn(View(predicted, true, spacing), None, objects, work.n_planes, seconds)


def as_square(case: Case, model: Model) -> Square:
    """Resize any case to a model's square as the published implementation resizes what it tests on."""
    spacing = None
    if isinstance(case, Pair):
        image, true, channel_axis, spacing = case.load()
    else:
        image, true, channel_axis = case.read()
    side = model.card.size
    if channel_axis is not None and image.shape[channel_axis] == 1:
        image, channel_axis = image.take(0, axis=channel_axis), None
    if true.ndim not in (2, 3):
        raise InputError(
            f"{case.name}: the published protocol takes planes and volumes, got shape {true.shape}"
        )
    ends = intensity.limits(image, model.card.intensity)
    small = scipy_zoom(np.atleast_3d(true.T).T, side, linear=False).reshape(
        *true.shape[:-2], side, side
    )
    if channel_axis is None:
        values = scipy_zoom(np.atleast_3d(image.T).T.astype(np.float32), side, linear=True)
        zoomed = values.reshape(small.shape)
    elif true.ndim == 2:
        colours = np.moveaxis(image, channel_axis, 0)[:3].astype(np.float32)
        zoomed = np.moveaxis(scipy_zoom(colours, side, linear=True), 0, -1)
    else:
        raise InputError(f"{case.name}: the published protocol has no volumes in colour")
    return Square(zoomed, small, ends, true, spacing, aligned=True)


def predict_square(model: Model, square: Square, **options: Any) -> Iterator[Prediction]:
    """Yield the probabilities of a prepared case's planes; options are `predict_planes`'s."""
    image = square.image
    work = plan(
        image.shape,
        image.dtype,
        model.card,
        axis=0 if square.labels.ndim == 3 else None,
        channel_axis=square.channel_axis,
        placement="fit",
    )
    return predict_planes(image, model, work, limits=square.limits, **options)


def resized(
    probability: npt.NDArray[np.float32], shape: tuple[int, int], *, aligned: bool
) -> npt.NDArray[np.float32]:
    """Resize probabilities (K, h, w) to (K, H, W), on the grid that the image was resized on."""
    whole = torch.from_numpy(probability)[None]
    out = F.interpolate(whole, shape, mode="bilinear", align_corners=aligned)
    return np.asarray(out[0].numpy(), np.float32)


def _by_square(model: Model, square: Square, options: dict[str, Any]) -> Drawn:
    card, true = model.card, square.own_labels
    small = np.zeros(square.labels.shape, np.uint16)
    own = np.zeros(true.shape, np.uint16)
    started, planes = time.perf_counter(), 0
    for plane in predict_square(model, square, **options):
        small[plane.index] = masks.decode(plane.probability, card)
        back = resized(plane.probability, (true.shape[-2], true.shape[-1]), aligned=square.aligned)
        own[plane.index] = masks.decode(back, card)
        planes += 1
    seconds = time.perf_counter() - started
    return Drawn(View(own, true, square.spacing), View(small, square.labels), None, planes, seconds)
