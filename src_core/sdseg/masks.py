"""Label images <-> what the mask autoencoder sees.

The autoencoder sees a mask as an image of one or more channels in [-1, 1]; the pipeline gives K
probabilities in [0, 1] back. What they mean is the model's *coding*:

=============== ==================== =============== ===========================================
coding          autoencoder sees     K probabilities meaning
=============== ==================== =============== ===========================================
``binary``      1 channel            1               foreground
``multiclass``  a channel a class    one a class     this class (all classes in one call)
``conditioned`` 1 channel            one a class     this class (one denoising call a class)
``instances``   2 channels           2               foreground; depth inside the object, 1 at
                                                     its core
=============== ==================== =============== ===========================================

``conditioned`` is the published way to several classes: the denoiser is told by an embedding which
class to draw, and the autoencoder sees one class at a time. Class 0, the background, is trained to
draw the foreground, whatever its class, and what it draws is negated; the softmax of what is drawn
for class 0, 1, ... gives the probabilities, and the most probable class is taken. The background's
own probability is what the K leave to 1.

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

__all__ = [
    "autoencoder_channels", "channel_count", "decode", "depth", "embedding_count", "encode",
    "encode_class", "foreground", "present",
]  # fmt: skip


def channel_count(card: Card) -> int:
    """Return K, the number of probabilities that a model gives for a pixel."""
    return {"binary": 1, "instances": 2}.get(card.coding, len(card.classes))


def autoencoder_channels(card: Card) -> int:
    """Return how many channels a mask has for the autoencoder of a model."""
    return 1 if card.coding == "conditioned" else channel_count(card)


def embedding_count(card: Card) -> int | None:
    """Return how many classes the denoiser tells apart, background among them; None: none."""
    return len(card.classes) + 1 if card.coding == "conditioned" else None


def present(labels: npt.NDArray[Any], card: Card) -> npt.NDArray[np.int64]:
    """Return the class ids that a label image holds, background's 0 among them if it is there."""
    ids = np.unique(labels).astype(np.int64)
    known = ids[(ids >= 0) & (ids <= len(card.classes))]
    return known if known.size else np.zeros(1, np.int64)


def encode_class(labels: npt.NDArray[Any], number: int) -> npt.NDArray[np.float32]:
    """Turn a label image into the mask of one class of the ``"conditioned"`` coding.

    Parameters
    ----------
    labels
        (H, W) class ids.
    number
        The class; 0 stands for everything that is not background.

    Returns
    -------
    ndarray
        (1, H, W) float32 in [-1, 1].
    """
    inside = labels == number if number else labels != 0
    drawn: npt.NDArray[np.float32] = inside[None].astype(np.float32) * np.float32(2) - np.float32(1)
    return drawn


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
    """Turn a label image into masks, a channel a probability that the model gives.

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
        (K, H, W) float32 in [-1, 1]; what the autoencoder sees, but for ``"conditioned"``, whose
        autoencoder sees one class at a time, see `encode_class`.
    """
    if labels.ndim != 2:
        raise InputError(f"labels: need a plane (H, W), got shape {labels.shape}")
    if card.coding == "binary":
        channels: list[npt.NDArray[Any]] = [labels > 0]
    elif card.coding in ("multiclass", "conditioned"):
        channels = [labels == k for k in range(1, len(card.classes) + 1)]
    else:
        channels = [labels > 0, depth(labels)]
    return np.stack(channels).astype(np.float32) * 2.0 - 1.0


def foreground(probability: npt.NDArray[np.float32], card: Card) -> npt.NDArray[np.bool_]:
    """Return where a model sees any of its classes; (K, H, W) -> (H, W) bool."""
    if card.coding == "conditioned":
        # Against the background's own probability: at a threshold of 0.5, the plain argmax over all.
        best = probability.max(axis=0)
        against = 1.0 - probability.sum(axis=0)
        won: npt.NDArray[np.bool_] = best * (1 - card.threshold) > against * card.threshold
        return won
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
        exceeds the card's threshold (``"conditioned"``: is the most probable of all), else 0.
    """
    dtype = np.uint8 if len(card.classes) < 256 else np.uint16
    inside = foreground(probability, card)
    if card.coding not in ("multiclass", "conditioned"):
        return inside.astype(dtype)
    return np.where(inside, probability.argmax(axis=0) + 1, 0).astype(dtype)
