"""The noise schedule, the noise of a plane, and the clean latent that one step estimates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import DDIMScheduler

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["clean_latent", "in_double", "make_scheduler", "plane_noise", "signal_and_noise"]


def make_scheduler(
    prediction_type: str = "epsilon",
    *,
    timesteps: int = 1000,
    beta_start: float = 0.0015,
    beta_end: float = 0.0155,
) -> DDIMScheduler:
    """Return SDSeg's noise schedule.

    Latent diffusion's "linear" schedule is linear in the square root of beta, which diffusers calls
    ``scaled_linear``. ``trailing`` spacing makes the single step start at the last timestep, 999.
    """
    scheduler = DDIMScheduler(
        num_train_timesteps=timesteps,
        beta_start=beta_start,
        beta_end=beta_end,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        prediction_type=prediction_type,
        timestep_spacing="trailing",
    )
    in_double(scheduler)
    return scheduler


def in_double(scheduler: DDIMScheduler) -> None:
    """Give a scheduler its cumulative products in float64, as the published code computes them.

    diffusers multiplies a thousand float32 factors, which is 1e-6 off at the end. It is no part of
    what a scheduler saves, so it is done anew for a loaded one.
    """
    c = scheduler.config
    if c.beta_schedule != "scaled_linear" or c.trained_betas is not None:
        return
    ends = c.beta_start**0.5, c.beta_end**0.5
    betas = torch.linspace(*ends, c.num_train_timesteps, dtype=torch.float64) ** 2
    scheduler.alphas_cumprod = torch.cumprod(1 - betas, dim=0)


def signal_and_noise(alpha_bar: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sqrt(a) and sqrt(1 - a) as float32, (N, 1, 1, 1) each, by way of float64.

    Parameters
    ----------
    alpha_bar
        (N,) or scalar.
    """
    a = alpha_bar.cpu().double().reshape(-1, 1, 1, 1)  # not every device knows float64
    where = alpha_bar.device
    return a.sqrt().float().to(where), (1 - a).sqrt().float().to(where)


def plane_noise(
    seed: int, plane: int, sample: int, shape: tuple[int, int, int]
) -> npt.NDArray[np.float32]:
    """Return the standard normal noise of one plane.

    It depends on these numbers alone, never on the batch a plane happens to travel in; a tile takes
    its part of it.
    """
    generator = np.random.default_rng([seed, plane, sample])
    return generator.standard_normal(shape, dtype=np.float32)


def clean_latent(
    output: torch.Tensor, noisy: torch.Tensor, alpha_bar: torch.Tensor, prediction_type: str
) -> torch.Tensor:
    """Estimate the clean latent from what the network said, in float32.

    With z_t = sqrt(a) z_0 + sqrt(1 - a) e (Ho et al. 2020, eq. 4):
    epsilon, z_0 = (z_t - sqrt(1 - a) e) / sqrt(a), the paper's; sample, the output itself;
    v_prediction, z_0 = sqrt(a) z_t - sqrt(1 - a) v (Salimans & Ho 2022). At the last timestep the
    first multiplies the network's rounding error by 38.7, hence float32.

    Parameters
    ----------
    output, noisy
        (N, C, h, w), any float dtype.
    alpha_bar
        Cumulative product of alphas at each sample's timestep, (N,) or scalar.
    """
    output, noisy = output.float(), noisy.float()
    if prediction_type == "sample":
        return output
    signal, noise = (v.to(noisy.device) for v in signal_and_noise(alpha_bar))
    if prediction_type == "epsilon":
        return (noisy - noise * output) / signal
    return signal * noisy - noise * output
