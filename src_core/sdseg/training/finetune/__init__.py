"""Fine-tuning on the fly, from a few painted planes."""

from __future__ import annotations

from .doubt import next_plane
from .settings import FineTuneSettings, FineTuneUpdate
from .tuner import FineTuner

__all__ = ["FineTuneSettings", "FineTuneUpdate", "FineTuner", "next_plane"]
