"""The three networks of SDSeg, and the presets that size them."""

from __future__ import annotations

from .autoencoder import mask_autoencoder
from .denoiser import Denoiser, widened
from .presets import PRESETS, Preset, build
from .vision_encoder import VisionEncoder

__all__ = ["PRESETS", "Denoiser", "Preset", "VisionEncoder", "build", "mask_autoencoder", "widened"]
