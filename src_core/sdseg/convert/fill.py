"""Networks filled with the tensors of a checkpoint, each checked against the place it goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..errors import ModelFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .names import Source

__all__ = ["fill", "refuse_others"]


def fill(
    network: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    source: Callable[[str], Source],
    *,
    file: object,
    against: str,
    heads: Callable[[int], int] = lambda width: 1,
    optional: tuple[str, ...] = (),
) -> set[str]:
    """Put a checkpoint's tensors into a network, in float32.

    Parameters
    ----------
    network
        May lie on the ``meta`` device, so that no memory is spent on weights to be replaced; a
        tensor that needs no change stays a view of the (mapped) file.
    source
        Where the values of each tensor of the network lie in the checkpoint.
    file, against
        For messages: the checkpoint, and what says how large its tensors should be.
    heads
        Of an attention layer of so many channels, where queries, keys and values are packed head
        after head; 1: all queries come first.
    optional
        Names of the network that the checkpoint may lack; they keep what they are.

    Returns
    -------
    set
        The checkpoint's names that were used.

    Raises
    ------
    ModelFormatError
        Naming the first tensor that is missing or has another shape.
    """
    filled, used = {}, set()
    for name, place in network.state_dict().items():
        where = source(name)
        if where.key not in tensors:
            if name in optional:
                filled[name] = place
                continue
            raise ModelFormatError(
                f"checkpoint: {file} does not fit {against}: it has no {where.key}, where a tensor of "
                f"shape {_packed_shape(where, place)} is wanted"
            )
        used.add(where.key)
        got = tensors[where.key]
        if _plain(got.shape, place.ndim) != _packed_shape(where, place):
            raise ModelFormatError(
                f"checkpoint: {file} does not fit {against}: {where.key} has shape "
                f"{tuple(got.shape)}, wanted is {_packed_shape(where, place)}"
            )
        values = got.reshape(_packed_shape(where, place))
        if where.part is not None:
            width = len(place)
            h = heads(width)
            values = values.reshape(h, 3, width // h, *place.shape[1:])[:, where.part]
            values = values.reshape(place.shape)
        filled[name] = values.to(torch.float32).contiguous()
    # Weights to be trained are copied: those of a mapped file belong to the file.
    virtual = any(place.is_meta for place in network.state_dict().values())
    network.load_state_dict(filled, assign=virtual)
    return used


def _packed_shape(where: Source, place: torch.Tensor) -> tuple[int, ...]:
    first, *rest = place.shape
    return (first if where.part is None else 3 * first, *rest)


def _plain(shape: Iterable[int], ndim: int) -> tuple[int, ...]:
    """Leave out the trailing ones of a 1x1 convolution where a linear layer takes its place."""
    kept = list(shape)
    while len(kept) > ndim and kept[-1] == 1:
        kept.pop()
    return tuple(kept)


def refuse_others(names: Iterable[str], used: set[str], *, file: object, against: str) -> None:
    """Raise ModelFormatError naming the first of a checkpoint's tensors that has no place."""
    for name in names:
        if name not in used:
            raise ModelFormatError(
                f"checkpoint: {file} does not fit {against}: it has {name}, for which there is no place"
            )
