"""Which device and precision to use, and why, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .errors import InputError

__all__ = [
    "DeviceChoice", "at_once", "available", "choose", "default_batch_size", "move", "training_format",
]  # fmt: skip

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class DeviceChoice:
    """A device, a precision, and a sentence for the person who asks why."""

    device: torch.device
    precision: str
    note: str

    @property
    def dtype(self) -> torch.dtype:
        """Return the torch dtype of the precision."""
        return PRECISIONS[self.precision]


def _cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself.

    Asked of the processor, not timed: a timing would flip on a busy machine, and labels with it.
    Where it does, the shipped model's networks run 2 to 3 times faster (benchmarks/speed.py).
    """
    capabilities = torch.cpu.get_capabilities()
    return bool(
        capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16")
    )


def available() -> list[str]:
    """Return the names of this machine's devices, as `choose` takes them."""
    found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    return [*found, "mps"] if torch.backends.mps.is_available() else found


def choose(device: str | torch.device | None = None, precision: str | None = None) -> DeviceChoice:
    """Choose where and how precisely to compute.

    Parameters
    ----------
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; None takes the fastest there is.
    precision
        ``"float32"``, ``"bfloat16"`` or ``"float16"``; None takes the fastest that is safe there.

    Raises
    ------
    InputError
        If the device is not there, or the precision is none of the three.
    """
    if precision is not None and precision not in PRECISIONS:
        raise InputError(f"precision: got {precision!r}; use one of {', '.join(PRECISIONS)}")
    asked = device is not None
    if device is None:
        device = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        chosen = torch.device(device)
        if chosen.type not in ("cpu", "meta"):
            torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device: {device!r} cannot be used here ({error}); use 'cpu'") from error

    why = "as asked" if asked else "no GPU was found" if chosen.type == "cpu" else "the GPU was found"
    if precision is not None:
        return DeviceChoice(chosen, precision, f"{_name(chosen)} ({why}), {precision} as asked.")
    if chosen.type == "cuda":
        best = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
        return DeviceChoice(chosen, best, f"{_name(chosen)} ({why}), {best} for speed.")
    if chosen.type == "cpu" and _cpu_has_bfloat16():
        return DeviceChoice(
            chosen, "bfloat16", f"{_name(chosen)} ({why}), bfloat16, which it computes natively."
        )
    return DeviceChoice(chosen, "float32", f"{_name(chosen)} ({why}), float32.")


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return {"cpu": f"CPU with {torch.get_num_threads()} threads", "mps": "Apple GPU"}.get(
        device.type, str(device)
    )


def training_format(device: torch.device) -> torch.memory_format:
    """Return the memory format that training is fastest in.

    On a CPU not channels last, as for inference: the backward pass of a GroupNorm over bfloat16 took
    16 ms there and 0.5 ms in the plain format (5 x 16 x 192 x 160, two cores, torch 2.13), which
    costs a decoder half its speed.
    """
    return torch.contiguous_format if device.type == "cpu" else torch.channels_last


def move(
    module: torch.nn.Module,
    device: torch.device,
    dtype: torch.dtype | None = None,
    *,
    training: bool = False,
) -> None:
    """Move a network, channels last, which convolutions are fastest in; see `training_format`.

    By nn.Module's own method: diffusers' warns about modules to be kept in float32, and these have
    none.
    """
    format = training_format(device) if training else torch.channels_last
    where: dict[str, Any] = {"device": device, "memory_format": format}
    torch.nn.Module.to(module, dtype=dtype, **where)


def default_batch_size(device: torch.device, side: int) -> int:
    """Return how many squares of this side to send through the networks at once.

    A CPU is full with one, see `at_once`. A GPU is not; if its memory runs out the engine halves
    what this gives.
    """
    if device.type == "cpu":
        return 1
    return max(1, int(32 * (256 / max(side, 1)) ** 2))


def at_once(device: torch.device, batch_size: int) -> int:
    """Return how many of a batch really go through the networks together.

    On a CPU one: oneDNN computes a batch of one differently from larger ones, in bfloat16 by up to
    0.06 of a mask's range, enough to change labels with the batch size. One at a time is no slower
    there (65 ms against 69 and 77 ms a plane for batches of 2 and 4, measured on two cores).
    """
    return 1 if device.type == "cpu" else batch_size
