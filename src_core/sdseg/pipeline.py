"""SDSegPipeline: a batch of 2-D images in, mask probabilities out."""

# No `from __future__ import annotations` here: diffusers reads the types of `__init__` at run time.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline
from diffusers.utils import BaseOutput

from .errors import InputError
from .models import Denoiser, VisionEncoder

__all__ = ["SDSegOutput", "SDSegPipeline", "clean_latent", "make_scheduler", "plane_noise"]

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")


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
    return DDIMScheduler(
        num_train_timesteps=timesteps,
        beta_start=beta_start,
        beta_end=beta_end,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        prediction_type=prediction_type,
        timestep_spacing="trailing",
    )


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
    a = alpha_bar.to(noisy.device, torch.float32).reshape(-1, 1, 1, 1)
    if prediction_type == "epsilon":
        return (noisy - (1 - a).sqrt() * output) / a.sqrt()
    return a.sqrt() * noisy - (1 - a).sqrt() * output


@dataclass
class SDSegOutput(BaseOutput):  # type: ignore[misc]
    """What the pipeline gives.

    Attributes
    ----------
    probability
        (N, K, H, W) float32 in [0, 1], the mean over the samples.
    stability
        (N, K, H, W) float32 in [0, 0.5], the standard deviation over the samples; None for one.
    latent
        (N, C, h, w) float32: the last sample's clean mask latent.
    """

    probability: torch.Tensor
    stability: torch.Tensor | None
    latent: torch.Tensor


class SDSegPipeline(DiffusionPipeline):  # type: ignore[misc]
    """One-step latent diffusion of segmentation masks (Lin et al., MICCAI 2024).

    Parameters
    ----------
    vae
        Mask autoencoder; its ``scaling_factor`` brings mask latents to unit variance.
    vision_encoder
        Image -> condition latent.
    unet
        ``[noisy mask latent, condition latent]`` and a timestep -> noise, clean latent or v.
    scheduler
        Noise schedule and what the network predicts.
    mask_channels
        K, channels of the mask's coding. An autoencoder with more (the published one sees a mask
        three times over) gets copies, and its output is averaged.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        vision_encoder: VisionEncoder,
        unet: Denoiser,
        scheduler: DDIMScheduler,
        mask_channels: int = 1,
    ) -> None:
        super().__init__()
        self.register_modules(vae=vae, vision_encoder=vision_encoder, unet=unet, scheduler=scheduler)
        self.register_to_config(mask_channels=mask_channels)

    # ------------------------------------------------------------------ sizes

    @property
    def factor(self) -> int:
        """Return f: the latent's side is the image's divided by it."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def multiple(self) -> int:
        """Return what an image's sides must be multiples of: f times the denoiser's own halvings."""
        return int(self.factor * 2 ** (len(self.unet.config.block_out_channels) - 1))

    @property
    def latent_channels(self) -> int:
        """Return C, the channels of a mask latent."""
        return int(self.vae.config.latent_channels)

    # ------------------------------------------------------------------ masks <-> latents

    def encode_masks(self, masks: torch.Tensor, *, sample: bool = False) -> torch.Tensor:
        """(N, K, H, W) masks in [-1, 1] -> (N, C, h, w) latents of about unit variance, float32."""
        repeats = self.vae.config.in_channels // masks.shape[1]
        posterior = self.vae.encode(
            masks.repeat(1, repeats, 1, 1).to(self.vae.dtype)
            if repeats > 1
            else masks.to(self.vae.dtype)
        ).latent_dist
        latent = posterior.sample() if sample else posterior.mean
        scaled: torch.Tensor = latent.float() * self.vae.config.scaling_factor
        return scaled

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) latents -> (N, K, H, W) masks around [-1, 1], float32, not clamped."""
        scaled = latents / self.vae.config.scaling_factor
        masks: torch.Tensor = self.vae.decode(
            scaled.to(self.vae.dtype).contiguous(memory_format=torch.channels_last)
        ).sample.float()
        k = self.config.mask_channels
        if masks.shape[1] != k:
            masks = masks.reshape(len(masks), -1, k, *masks.shape[2:]).mean(dim=1)
        return masks

    # ------------------------------------------------------------------ the call

    def check_inputs(
        self,
        images: torch.Tensor,
        noise: torch.Tensor | None,
        seed: Sequence[int] | int,
        steps: int,
        samples: int,
    ) -> None:
        """Refuse at the door what would fail, or be silently wrong, further in."""
        want = self.vision_encoder.config.in_channels
        if not isinstance(images, torch.Tensor) or images.ndim != 4 or images.shape[1] != want:
            got = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
            raise InputError(f"images: need a tensor (N, {want}, H, W), got {got}")
        if any(side % self.multiple for side in images.shape[2:]):
            raise InputError(
                f"images: sides must be multiples of {self.multiple}, got {tuple(images.shape[2:])}"
            )
        if steps < 1 or samples < 1:
            raise InputError(f"steps and samples must be at least 1, got {steps} and {samples}")
        n, _, h, w = images.shape
        shape = (n, samples, self.latent_channels, h // self.factor, w // self.factor)
        if noise is not None and tuple(noise.shape) != shape:
            raise InputError(f"noise: need (N, samples, C, h, w) = {shape}, got {tuple(noise.shape)}")
        if not isinstance(seed, int) and len(seed) != n:
            raise InputError(f"seed: need one number, or one an image ({n}), got {len(seed)}")

    @torch.inference_mode()
    def __call__(
        self,
        images: torch.Tensor,
        *,
        steps: int = 1,
        samples: int = 1,
        eta: float = 0.0,
        seed: Sequence[int] | int = 0,
        noise: torch.Tensor | None = None,
        class_labels: torch.Tensor | None = None,
    ) -> SDSegOutput:
        """Segment a batch of images.

        Parameters
        ----------
        images
            (N, 3, H, W) in [-1, 1]; sides are multiples of `multiple`.
        steps
            Reverse steps. One, from the last timestep, is what SDSeg is trained for; more are DDIM.
        samples
            Noise samples; their mean is the probability and their spread the stability.
        eta
            DDIM's eta, for more than one step.
        seed
            One number (image i gets the noise of plane i) or one number an image.
        noise
            (N, samples, C, h, w) to start from, instead of a seed.
        class_labels
            (N,) class ids, for a class-conditioned denoiser.

        Returns
        -------
        SDSegOutput
        """
        # 0. check
        self.check_inputs(images, noise, seed, steps, samples)
        n, _, height, width = images.shape
        h, w = height // self.factor, width // self.factor
        device, dtype = self.unet.device, self.unet.dtype

        # 1. encode the image once, whatever the number of samples: (N, 3, H, W) -> (N, C', h, w)
        images = images.to(device, self.vision_encoder.dtype, memory_format=torch.channels_last)
        condition = self.vision_encoder(images).to(dtype)

        # 2. noise: (N, samples, C, h, w) float32
        if noise is None:
            seeds = [(seed, i) for i in range(n)] if isinstance(seed, int) else [(s, 0) for s in seed]
            shape = (self.latent_channels, h, w)
            noise = torch.from_numpy(
                np.stack([[plane_noise(s, i, k, shape) for k in range(samples)] for s, i in seeds])
            )
        noise = noise.to(device, torch.float32)

        # 3. denoise and decode, a sample at a time; mean and spread by Welford's recurrence
        mean = torch.zeros((n, self.config.mask_channels, height, width), device=device)
        squares = torch.zeros_like(mean) if samples > 1 else None
        for k in range(samples):
            latent = self.denoise(
                noise[:, k], condition, steps=steps, eta=eta, class_labels=class_labels
            )
            probability = ((self.decode_latents(latent) + 1) / 2).clamp(0, 1)
            delta = probability - mean
            mean += delta / (k + 1)
            if squares is not None:
                squares += delta * (probability - mean)

        # 4. output
        stability = None if squares is None else (squares / samples).clamp(min=0).sqrt()
        return SDSegOutput(probability=mean, stability=stability, latent=latent)

    def denoise(
        self,
        noisy: torch.Tensor,
        condition: torch.Tensor,
        *,
        steps: int = 1,
        eta: float = 0.0,
        class_labels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Run the reverse steps: (N, C, h, w) noise -> (N, C, h, w) clean latent, both float32."""
        kind = self.scheduler.config.prediction_type
        alphas = self.scheduler.alphas_cumprod
        self.scheduler.set_timesteps(steps)
        timesteps = self.scheduler.timesteps.tolist()
        latent = noisy
        for i, t in enumerate(timesteps):
            both = torch.cat([noisy.to(condition.dtype), condition], dim=1)
            both = both.contiguous(memory_format=torch.channels_last)
            output = self.unet(both, t, class_labels=class_labels).sample
            latent = clean_latent(output, noisy, alphas[t], kind)
            if i + 1 < len(timesteps):
                # In float32 and by the scheduler, from the clean latent's own noise estimate.
                previous = self.scheduler.step(output.float(), t, noisy, eta=eta)
                noisy = previous.prev_sample
        return latent
