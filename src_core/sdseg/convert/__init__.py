"""Checkpoints of the original implementation, and of latent diffusion, in this project's layout."""

from __future__ import annotations

from .checkpoint import read_tensors
from .original import convert

__all__ = ["convert", "read_tensors"]
