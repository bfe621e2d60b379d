"""LPIPS, the perceptual distance of R. Zhang et al. 2018, where its weights are present."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["perceptual_distance", "why_not"]

#: torchvision's file of AlexNet, on which LPIPS stands by default.
_ALEXNET = "alexnet-owt-7be5be79.pth"


def why_not() -> str | None:
    """Say what LPIPS lacks here; None: nothing. Nothing is downloaded."""
    try:
        import lpips  # noqa: F401
    except ImportError:
        return "LPIPS needs the package lpips: pip install lpips"
    import torch

    place = Path(torch.hub.get_dir()) / "checkpoints" / _ALEXNET
    if not place.is_file():
        return f"LPIPS needs https://download.pytorch.org/models/{_ALEXNET} at {place}"
    return None


@cache
def _network() -> Any:
    import lpips

    return lpips.LPIPS(net="alex", verbose=False).eval()


def perceptual_distance(pictures: torch.Tensor) -> float:
    """Compare images with the first of them.

    Parameters
    ----------
    pictures
        (M, K, H, W) of 0 to 255; each channel is shown as a grey image.

    Returns
    -------
    float
        Mean over the others and the channels; NaN where `why_not` gives a reason.
    """
    if why_not() is not None:
        return math.nan
    import torch

    grey = pictures.reshape(len(pictures), -1, 1, *pictures.shape[2:]) / 255 * 2 - 1
    with torch.inference_mode():
        values = [
            float(_network()(o.repeat(1, 3, 1, 1), grey[0].repeat(1, 3, 1, 1)).mean()) for o in grey[1:]
        ]
    return sum(values) / len(values)
