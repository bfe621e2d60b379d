"""Training: recipes, data, losses, and the two stages."""

from __future__ import annotations

from .loop import TrainUpdate
from .recipe import Augmentation, Recipe, StageRecipe
from .trainer import Trainer

__all__ = ["Augmentation", "Recipe", "StageRecipe", "TrainUpdate", "Trainer"]
