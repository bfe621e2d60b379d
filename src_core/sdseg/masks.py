"""Label images <-> what the mask autoencoder sees.

The autoencoder sees a mask as an image of K channels in [-1, 1]; the pipeline gives K probabilities
in [0, 1] back (the same numbers, moved). What the K channels mean is the model's *coding*:

=============== ==================== ==========================================================
coding          channels             meaning
=============== ==================== ==========================================================
``binary``      1                    foreground
``multiclass``  one a class          this class (all classes in one call)
``instances``   2                    foreground; depth inside the object, 1 at its core
=============== ==================== ==========================================================

The depth of a pixel is its distance to the outside of its own object divided by the largest such
distance in that object: scale-free, 1 in the middle of every object whatever its size, and 0 where
two objects touch, which is what tells them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .errors import InputError

if TYPE_CHECKING:
    from .card import Card

__all__ = ["channel_count", "decode", "depth", "encode", "foreground"]


def channel_count(card: Card) -> int:
    """Return K, the number of mask channels of a model."""
    return {"binary": 1, "multiclass": len(card.classes), "instances": 2}[card.coding]


def depth(labels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return how deep each pixel lies inside its object.

    Parameters
    ----------
    labels
        (H, W) integer instance labels, 0 is background.

    Returns
    -------
    ndarray
        (H, W) float32 in [0, 1]: Euclidean distance to the nearest pixel of another label, divided
        by the object's largest; 0 on the background.
    """
    ids, dense = np.unique(labels, return_inverse=True)
    dense = dense.reshape(labels.shape).astype(np.uint32)
    if ids.size and ids[0] != 0:
        dense += 1
    if not dense.any():
        return np.zeros(labels.shape, np.float32)
    distance = edt.edt(np.ascontiguousarray(dense), black_border=False, parallel=1)
    largest = ndimage.maximum(distance, dense, np.arange(dense.max() + 1))
    largest = np.asarray(largest, np.float32)
    # An object that fills the whole plane has no outside: it counts as deep throughout.
    largest[~np.isfinite(largest) | (largest == 0)] = 1.0
    relative: npt.NDArray[np.float32] = np.clip(distance / largest[dense], 0.0, 1.0).astype(np.float32)
    relative[dense == 0] = 0
    return relative


def encode(labels: npt.NDArray[Any], card: Card) -> npt.NDArray[np.float32]:
    """Turn a label image into the mask that a model's autoencoder sees.

    Parameters
    ----------
    labels
        (H, W) integers; class ids, or instance ids for ``"instances"``. For ``"binary"`` and
        ``"instances"`` everything above 0 is foreground.
    card
        The model's card.

    Returns
    -------
    ndarray
        (K, H, W) float32 in [-1, 1].
    """
    if labels.ndim != 2:
        raise InputError(f"labels: need a plane (H, W), got shape {labels.shape}")
    if card.coding == "binary":
        channels: list[npt.NDArray[Any]] = [labels > 0]
    elif card.coding == "multiclass":
        channels = [labels == k for k in range(1, len(card.classes) + 1)]
    else:
        channels = [labels > 0, depth(labels)]
    return np.stack(channels).astype(np.float32) * 2.0 - 1.0


def foreground(probability: npt.NDArray[np.float32], card: Card) -> npt.NDArray[np.bool_]:
    """Return where a model sees any of its classes; (K, H, W) -> (H, W) bool."""
    if card.coding == "multiclass":
        probability = probability.max(axis=0, keepdims=True)
    inside: npt.NDArray[np.bool_] = probability[0] > card.threshold
    return inside


def decode(probability: npt.NDArray[np.float32], card: Card) -> npt.NDArray[np.uint8 | np.uint16]:
    """Turn probabilities into class ids.

    Parameters
    ----------
    probability
        (K, H, W) in [0, 1].

    Returns
    -------
    ndarray
        (H, W) of class ids, uint8 (uint16 above 255 classes): the most probable class where one
        exceeds the card's threshold, else 0.
    """
    dtype = np.uint8 if len(card.classes) < 256 else np.uint16
    inside = foreground(probability, card)
    if card.coding != "multiclass":
        return inside.astype(dtype)
    return np.where(inside, probability.argmax(axis=0) + 1, 0).astype(dtype)
