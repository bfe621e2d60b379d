"""Small stacks with ground truth and the generators that make them."""

from .ct import ct_phantom
from .microscopy import nuclei_stack
from .sample import Sample

__all__ = ["Sample", "ct_phantom", "nuclei_stack"]
