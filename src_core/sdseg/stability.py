"""How much masks differ from one noise to another.

The published protocol: the whole test set is segmented M times, each time with one noise tensor for
all images; the probabilities, as images of 0 to 255, of times 2 to M are compared with those of time 1,
image by image, by PSNR, SSIM and MS-SSIM (and LPIPS), averaged over the times and then over the images.
Of volumes, planes without label are left out; so are empty predictions, and identical pairs for PSNR.
With noise of its own for every image the figures are those of what a user gets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import masks
from .axes import plan
from .datasets import SetCase
from .errors import InputError
from .metrics import dice
from .perceptual import perceptual_distance
from .predict import predict_planes
from .protocols import predict_square

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt
    import torch

    from .axes import Index
    from .datasets import Case
    from .predict import Prediction
    from .store import Model

__all__ = ["PlaneStability", "compare", "stability", "summary", "without_pictures"]


@dataclass(frozen=True)
class PlaneStability:
    """How one plane fares from noise to noise.

    Attributes
    ----------
    name, plane
        Of the case, and which of its planes.
    psnr, ssim, ms_ssim, lpips
        Of the other samples against the first, mean; NaN where nothing can be said: empty or
        identical masks, planes of less than 161 pixels a side (MS-SSIM), no weights (LPIPS).
    dice
        Of every sample.
    dice_of_mean
        Of the mean of all samples.
    image
        (H, W) or (H, W, 3), as the network was given it.
    mean, spread
        (K, H, W) float32, mean and standard deviation of the samples' probabilities.
    """

    name: str
    plane: int
    psnr: float
    ssim: float
    ms_ssim: float
    lpips: float
    dice: tuple[float, ...]
    dice_of_mean: float
    image: npt.NDArray[Any]
    mean: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32]


def stability(
    model: Model,
    cases: Sequence[Case],
    *,
    samples: int = 10,
    steps: int = 1,
    seed: int = 0,
    shared_noise: bool = False,
) -> Iterator[PlaneStability]:
    """Segment every plane of the cases several times.

    Cases of the published data sets at the network's resolution, others as any image of a user's.

    Parameters
    ----------
    samples
        M, at least 2. Sample m has the noise of seed ``seed + m``; of case c, if noise is not shared,
        of ``seed + M c + m``.
    shared_noise
        One noise tensor a sample for all planes of all cases, as published.

    Yields
    ------
    PlaneStability
        Planes with label only, of volumes.
    """
    if samples < 2:
        raise InputError(f"samples: need at least 2 to compare, got {samples}")
    for number, case in enumerate(cases):
        # The noise of a plane depends on its number: single images, all plane 0, need other seeds.
        start = seed if shared_noise else seed + number * samples
        image, labels, take, runs = _several(model, case, samples, start, steps, shared_noise)
        for drawn in zip(*runs, strict=True):
            index = drawn[0].index
            true = labels[index]
            if labels.ndim > 2 and not true.any():
                continue
            each = np.stack([d.probability for d in drawn])
            mean = each.mean(axis=0)
            yield PlaneStability(
                case.name,
                drawn[0].number,
                *compare(each),
                tuple(_dice(p, true, model) for p in each),
                _dice(mean, true, model),
                image[take(index)],
                mean,
                each.std(axis=0),
            )


def _several(
    model: Model, case: Case, samples: int, seed: int, steps: int, shared_noise: bool
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Callable[[Index], Index], list[Iterator[Prediction]]]:
    """Return image, labels, what turns an index into the labels into one into the image, and runs."""

    def options(m: int) -> dict[str, Any]:
        return {"steps": steps, "seed": seed + m, "shared_noise": shared_noise}

    if isinstance(case, SetCase):
        square = case.square()
        runs = [predict_square(model, square, **options(m)) for m in range(samples)]
        return square.image, square.labels, lambda index: index, runs
    image, labels, channel_axis = case.read()
    work = plan(image.shape, image.dtype, model.card, channel_axis=channel_axis)
    runs = [predict_planes(image, model, work, **options(m)) for m in range(samples)]
    return image, labels, work.source, runs


def _dice(probability: npt.NDArray[np.float32], true: npt.NDArray[Any], model: Model) -> float:
    """Mean over the classes."""
    drawn, count = masks.decode(probability, model.card), len(model.card.classes)
    if count == 1:
        return dice(drawn > 0, true > 0)
    return float(np.mean([dice(drawn == k, true == k) for k in range(1, count + 1)]))


def compare(each: npt.NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Compare samples with the first of them, as published.

    Parameters
    ----------
    each
        (M, K, H, W) in [0, 1].

    Returns
    -------
    psnr, ssim, ms_ssim, lpips
        Means over the other samples; the first in dB. NaN where nothing can be said.
    """
    import torch

    # Saved as 8-bit images, rounded down, and compared as 0 to 255.
    pictures = torch.from_numpy((each * 255).astype(np.uint8)).float()
    first = pictures[:1]
    others = [p[None] for p in pictures[1:] if p.any()] if first.any() else []
    lpips = perceptual_distance(pictures)
    return (
        _mean([_psnr(p, first) for p in others if not torch.equal(p, first)]),
        _mean([_ssim(p, first) for p in others]),
        _mean([_ms_ssim(p, first) for p in others]),
        lpips,
    )


def _mean(values: Sequence[float]) -> float:
    finite = [v for v in values if not math.isnan(v)]
    return float(np.mean(finite)) if finite else math.nan


def _psnr(one: torch.Tensor, first: torch.Tensor) -> float:
    """Return the peak signal to noise in dB, the peak being the first's, as torchmetrics has it."""
    return float(10 * (first.max() ** 2 / ((one - first) ** 2).mean()).log10())


def _range(one: torch.Tensor, first: torch.Tensor) -> float:
    """Return the larger of the two images' ranges, which torchmetrics takes for the data's."""
    return float(max(one.max() - one.min(), first.max() - first.min()))


def _ssim(one: torch.Tensor, first: torch.Tensor) -> float:
    from monai.metrics import SSIMMetric

    metric = SSIMMetric(spatial_dims=2, data_range=_range(one, first) or 1.0)
    return float(metric(one, first).mean())


def _ms_ssim(one: torch.Tensor, first: torch.Tensor) -> float:
    from monai.metrics import MultiScaleSSIMMetric

    if min(one.shape[-2:]) <= 160:  # five scales of a window of 11
        return math.nan
    metric = MultiScaleSSIMMetric(spatial_dims=2, data_range=_range(one, first) or 1.0)
    return float(metric(one, first).mean())


def without_pictures(plane: PlaneStability) -> PlaneStability:
    """Return the figures alone, so that a whole test set can be kept; the spread as its mean."""
    nothing = np.zeros((0, 0), np.float32)
    spread = np.full((1, 1, 1), plane.spread.mean(), np.float32)
    return replace(plane, image=nothing, mean=nothing, spread=spread)


def summary(planes: Sequence[PlaneStability]) -> dict[str, Any]:
    """Reduce planes to the figures of a table, ready for JSON; None where nothing can be said."""
    if not planes:
        raise InputError("cases: no plane with label among them")
    each = np.array([p.dice for p in planes])
    out: dict[str, Any] = {"planes": len(planes), "samples": each.shape[1]}
    for name, attribute in (
        ("PSNR (dB)", "psnr"), ("SSIM", "ssim"), ("MS-SSIM", "ms_ssim"), ("LPIPS", "lpips"),
    ):  # fmt: skip
        value = _mean([getattr(p, attribute) for p in planes])
        out[name] = None if math.isnan(value) else value
    out |= {
        "Dice of one sample": float(each.mean()),
        "Dice of the mean": float(np.mean([p.dice_of_mean for p in planes])),
        "Dice of the best": float(each.max(axis=1).mean()),
        "Dice of the worst": float(each.min(axis=1).mean()),
        "spread a pixel": float(np.mean([p.spread.mean() for p in planes])),
    }
    return out
