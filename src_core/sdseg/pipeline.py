"""SDSegPipeline: a batch of 2-D images in, mask probabilities out."""

# No `from __future__ import annotations` here: diffusers reads the types of `__init__` at run time.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline
from diffusers.utils import BaseOutput

from .errors import InputError, ModelFormatError
from .models import Denoiser, VisionEncoder
from .models.autoencoder import repeated
from .models.published import encoder_as_published
from .schedule import clean_latent, in_double, make_scheduler, plane_noise, signal_and_noise

__all__ = ["SDSegOutput", "SDSegPipeline", "clean_latent", "make_scheduler", "plane_noise"]


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
        (N, C, h, w) float32: the last sample's clean mask latent; (N, classes, C, h, w), background
        first, where every class has its own.
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
        Channels of one mask. An autoencoder with more (the published one sees a mask three times
        over) gets copies, and its output is averaged.
    separate
        Every mask channel goes through the autoencoder by itself, and its latent is a part of the
        whole latent's channels: how a frozen autoencoder of one mask serves several classes.

    Notes
    -----
    A denoiser with class embeddings draws one class a call, background's being class 0; see the
    ``"conditioned"`` coding in `sdseg.masks`.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        vision_encoder: VisionEncoder,
        unet: Denoiser,
        scheduler: DDIMScheduler,
        mask_channels: int = 1,
        separate: bool = False,
    ) -> None:
        super().__init__()
        if not separate and vae.config.in_channels % mask_channels:
            raise ModelFormatError(
                f"the autoencoder's {vae.config.in_channels} channels do not hold masks of "
                f"{mask_channels}: use the 'conditioned' coding, or an autoencoder of masks"
            )
        in_double(scheduler)
        if vision_encoder.config.as_published:  # diffusers' own class has no room in its config
            encoder_as_published(vae)
        self.register_modules(vae=vae, vision_encoder=vision_encoder, unet=unet, scheduler=scheduler)
        self.register_to_config(mask_channels=mask_channels, separate=separate)

    @property
    def factor(self) -> int:
        """Return f: the latent's side is the image's divided by it."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def multiple(self) -> int:
        """Return what an image's sides must be multiples of: f times the denoiser's own halvings."""
        return int(self.factor * 2 ** (len(self.unet.config.block_out_channels) - 1))

    @property
    def class_count(self) -> int | None:
        """Return how many classes the denoiser is told apart, background's 0 among them, or None."""
        count = self.unet.config.num_class_embeds
        return None if count is None else int(count)

    @property
    def latent_channels(self) -> int:
        """Return C, the channels of a mask latent."""
        parts = self.config.mask_channels if self.config.separate else 1
        return int(self.vae.config.latent_channels) * int(parts)

    def encode_masks(self, masks: torch.Tensor, *, sample: bool = False) -> torch.Tensor:
        """(N, K, H, W) masks in [-1, 1] -> (N, C, h, w) latents of about unit variance, float32."""
        n = len(masks)
        if self.config.separate:  # (N, K, H, W) -> (N * K, 1, H, W)
            masks = masks.flatten(0, 1)[:, None]
        posterior = self.vae.encode(repeated(self.vae, masks)).latent_dist
        latent = posterior.sample() if sample else posterior.mean
        scaled: torch.Tensor = latent.float() * self.vae.config.scaling_factor
        return scaled.reshape(n, -1, *scaled.shape[2:])

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) latents -> (N, K, H, W) masks around [-1, 1], float32, not clamped."""
        masks: torch.Tensor = self._copies(latents).mean(dim=1)
        return masks

    def _copies(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) latents -> (N, copies, K, H, W), all that the autoencoder draws, float32."""
        n, channels = len(latents), self.config.mask_channels
        scaled = latents / self.vae.config.scaling_factor
        if self.config.separate:
            scaled = scaled.reshape(n * channels, -1, *scaled.shape[2:])
        scaled = scaled.to(self.vae.dtype)
        if not torch.is_grad_enabled():  # training has its own format, `sdseg.devices`
            scaled = scaled.contiguous(memory_format=torch.channels_last)
        drawn: torch.Tensor = self.vae.decode(scaled).sample.float()
        if self.config.separate:  # (N * K, copies, H, W)
            return drawn.reshape(n, channels, -1, *drawn.shape[2:]).transpose(1, 2)
        return drawn.reshape(n, -1, channels, *drawn.shape[2:])

    def check_inputs(
        self,
        images: torch.Tensor,
        noise: torch.Tensor | None,
        seed: Sequence[int] | int,
        steps: int,
        samples: int,
        class_labels: torch.Tensor | None = None,
        guess: torch.Tensor | None = None,
        start: torch.Tensor | None = None,
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
        if class_labels is not None:
            count = self.class_count
            if count is None:
                raise InputError("class_labels: this denoiser knows no classes; leave them out")
            within = tuple(class_labels.shape) == (n,) and not class_labels.is_floating_point()
            if not within or class_labels.min() < 0 or class_labels.max() >= count:
                raise InputError(
                    f"class_labels: need {n} integers from 0 to {count - 1}, one an image, got "
                    f"{class_labels.tolist()}"
                )
        if (guess is None) != (start is None):
            raise InputError("guess and start: a guess needs a timestep to start from; give both")
        if guess is not None and start is not None:
            count = self.class_count
            channels = self.config.mask_channels if count is None else count - 1
            if tuple(guess.shape) != (n, channels, *images.shape[2:]):
                raise InputError(
                    f"guess: need masks (N, K, H, W) = {(n, channels, *images.shape[2:])}, got "
                    f"{tuple(guess.shape)}"
                )
            last = len(self.scheduler.alphas_cumprod) - 1
            within = tuple(start.shape) == (n,) and not start.is_floating_point()
            if not within or start.min() < 0 or start.max() > last:
                raise InputError(f"start: need {n} timesteps from 0 to {last}, got {start.tolist()}")
            if steps != 1 or class_labels is not None:
                raise InputError("guess: goes with a single step, and with all classes at once")

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
        guess: torch.Tensor | None = None,
        start: torch.Tensor | None = None,
        at_once: int | None = None,
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
            (N,) class ids: a class-conditioned denoiser draws this class alone, K is 1 and the
            probability that of its mask. None: all its classes, K is one a class and background left
            out.
        guess, start
            Masks (N, K, H, W) in [-1, 1] to start from, and the timestep (N,) to which they are
            noised: the image corrects them in one step. The higher the timestep, the less of the
            guess is left; the last leaves nothing, which is to start from noise alone.
        at_once
            Classes that go through the networks together; None: all. Memory is the only difference.

        Returns
        -------
        SDSegOutput
        """
        # 0. check
        self.check_inputs(images, noise, seed, steps, samples, class_labels, guess, start)
        n, h, w = len(images), images.shape[2] // self.factor, images.shape[3] // self.factor
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

        guessed = None
        if guess is not None:
            guess = guess.to(device, torch.float32)
            # One latent a mask: (N, C, h, w), or (N, classes, C, h, w) with the foreground first.
            guessed = self.encode_masks(guess) if self.class_count is None else self._by_class(guess)

        # 3. denoise and decode, a sample at a time; mean and spread by Welford's recurrence
        count = self.class_count if class_labels is None else None
        mean = squares = torch.zeros((), device=device)
        for k in range(samples):
            if count is None:
                latent = self.denoise(
                    self._noised(guessed, noise[:, k], start), condition, steps=steps, eta=eta,
                    class_labels=class_labels, start=start,
                )  # fmt: skip
                # Copies are clamped before they are averaged, as published.
                probability = ((self._copies(latent) + 1) / 2).clamp(0, 1).mean(dim=1)
            else:
                every = noise[:, k, None].expand(-1, count, -1, -1, -1)
                scores, latent = self._class_scores(
                    self._noised(guessed, every, start), condition, steps=steps, eta=eta,
                    at_once=at_once or count, start=start,
                )  # fmt: skip
                probability = scores.softmax(dim=1)[:, 1:]
            delta = probability - mean
            mean = mean + delta / (k + 1)
            squares = squares + delta * (probability - mean)

        # 4. output
        stability = None if samples == 1 else (squares / samples).clamp(min=0).sqrt()
        return SDSegOutput(probability=mean, stability=stability, latent=latent)

    def _by_class(self, masks: torch.Tensor) -> torch.Tensor:
        """Return latents of the masks of a class-conditioned model: (N, classes, C, h, w)."""
        whole = masks.amax(dim=1, keepdim=True)  # what class 0 draws
        every = torch.cat([whole, masks], dim=1)
        latents = self.encode_masks(every.flatten(0, 1)[:, None])
        return latents.reshape(len(masks), -1, *latents.shape[1:])

    def _noised(
        self, clean: torch.Tensor | None, noise: torch.Tensor, start: torch.Tensor | None
    ) -> torch.Tensor:
        """Noise latents to their timesteps: (N, ..., C, h, w)."""
        if clean is None or start is None:
            return noise
        alphas = self.scheduler.alphas_cumprod
        at = (len(noise), *(1,) * (noise.ndim - 1))
        root, rest = (v.to(noise.device).reshape(at) for v in signal_and_noise(alphas[start.cpu()]))
        # As in training: the last timestep has no trace of a mask.
        trace = (start < len(alphas) - 1).to(noise).reshape(at)
        return root * clean * trace + torch.where(trace > 0, rest, torch.ones_like(rest)) * noise

    def _class_scores(
        self,
        noisy: torch.Tensor,
        condition: torch.Tensor,
        *,
        steps: int,
        eta: float,
        at_once: int,
        start: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw every class: (N, classes, C, h, w), each from its own start.

        Returns
        -------
        scores, latents
            (N, classes, H, W), around -1 outside a class and 1 inside, not clamped, and class 0, which
            draws the foreground, negated; (N, classes, C, h, w).
        """
        n, count = len(noisy), self.class_count or 0
        scores, latents = [], []
        for first in range(0, count, at_once):
            ids = torch.arange(first, min(first + at_once, count), device=noisy.device)
            # Image by image, class by class: (N * classes, C, h, w).
            latent = self.denoise(
                noisy[:, first : first + len(ids)].flatten(0, 1),
                condition.repeat_interleave(len(ids), dim=0),
                steps=steps,
                eta=eta,
                class_labels=ids.repeat(n),
                start=None if start is None else start.repeat_interleave(len(ids)),
            )
            drawn = self.decode_latents(latent)[:, 0]
            scores.append(drawn.reshape(n, len(ids), *drawn.shape[1:]))
            latents.append(latent.reshape(n, len(ids), *latent.shape[1:]))
        every = torch.cat(scores, dim=1)
        return torch.cat([-every[:, :1], every[:, 1:]], dim=1), torch.cat(latents, dim=1)

    def denoise(
        self,
        noisy: torch.Tensor,
        condition: torch.Tensor,
        *,
        steps: int = 1,
        eta: float = 0.0,
        class_labels: torch.Tensor | None = None,
        start: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Run the reverse steps: (N, C, h, w) noise -> (N, C, h, w) clean latent, both float32.

        With ``start``, (N,) timesteps that the latents were noised to: the single step from there.
        """
        kind = self.scheduler.config.prediction_type
        alphas = self.scheduler.alphas_cumprod
        if start is not None:
            both = torch.cat([noisy.to(condition.dtype), condition], dim=1)
            both = both.contiguous(memory_format=torch.channels_last)
            output = self.unet(both, start.to(both.device), class_labels=class_labels).sample
            return clean_latent(output, noisy, alphas[start.cpu()], kind)
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
