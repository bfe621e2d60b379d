"""Smooth random deformations, as a grid to sample from."""

from __future__ import annotations

import torch
from torch.nn import functional as F

__all__ = ["bent_grid", "sample_at"]


def bent_grid(
    strength: torch.Tensor,
    shape: tuple[int, int],
    generator: torch.Generator,
    *,
    shift: float = 1.0,
    scale: float = 1.0,
    bend: float = 2.0,
    rotate: float = 0.0,
    flips: tuple[bool, bool] = (False, False),
) -> torch.Tensor:
    """Draw where each pixel is taken from.

    Parameters
    ----------
    strength
        (N,) standard deviation of the deformation, as a fraction of half the plane's side.
    shape
        (H, W).
    generator
        Decides everything; on the CPU.
    shift, scale, bend
        How much of the strength goes into moving the whole, resizing it, and bending it smoothly.
    rotate
        Standard deviation of a turn, in radians.
    flips
        Whether rows, and columns, may be reversed.

    Returns
    -------
    Tensor
        (N, H, W, 2) float32, x and y from -1 to 1 as `torch.nn.functional.grid_sample` wants them,
        corners aligned.
    """
    n, (height, width) = len(strength), shape
    strength = strength.reshape(n, 1, 1, 1).float()

    def normal(*size: int) -> torch.Tensor:
        return torch.randn((n, *size), generator=generator)

    cells = int(torch.randint(3, 8, (1,), generator=generator))
    field = bend * strength * normal(2, cells, cells)
    field = F.interpolate(field, (height, width), mode="bicubic", align_corners=True)
    rows = torch.linspace(-1, 1, height).reshape(1, height, 1).expand(n, -1, width)
    columns = torch.linspace(-1, 1, width).reshape(1, 1, width).expand(n, height, -1)
    if rotate:
        angle, aspect = rotate * normal(1, 1).clamp(-2, 2), height / width
        rows, columns = (
            angle.cos() * rows - angle.sin() * columns / aspect,
            angle.sin() * rows * aspect + angle.cos() * columns,
        )
    grid = torch.stack([columns, rows], dim=-1) * (1 + scale * strength * normal(1, 1, 1).clamp(-2, 2))
    for axis, allowed in ((1, flips[0]), (0, flips[1])):
        if allowed:
            sign = torch.randint(0, 2, (n, 1, 1), generator=generator) * 2.0 - 1
            grid[..., axis] = grid[..., axis] * sign
    return grid + shift * strength * normal(1, 1, 2) + field.permute(0, 2, 3, 1)


def sample_at(maps: torch.Tensor, grid: torch.Tensor, *, padding: str = "border") -> torch.Tensor:
    """Take maps (N, C, H, W) from where a grid says, bilinear, in float32."""
    return F.grid_sample(
        maps.float(), grid.to(maps.device), mode="bilinear", padding_mode=padding, align_corners=True
    )
