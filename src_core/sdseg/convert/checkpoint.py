"""The tensors of a checkpoint file, and nothing else that it may hold.

A ``.ckpt`` is a pickle, and a pickle can name any function to be called. Only PyTorch's restricted
reader is used here, which calls none but its own. Checkpoints of Lightning before 1.5, and the
published ones are, name Lightning's classes too (as keys of a table of callbacks); these names are
met with an empty class, so the file can be read, without Lightning, and nothing of it is run.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..errors import ModelFormatError, ModelNotFoundError

__all__ = ["read_tensors"]

#: What trainers leave beside the weights. Their names are replaced, never imported.
_HARMLESS = ("pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.", "numpy.")
#: Names that omegaconf's own objects need besides.
_HARMLESS_NAMES = ("typing.Any", "builtins.dict", "builtins.list", "builtins.int", "builtins.str")


class _Ignored:
    """Stands for a class of the trainer's; takes anything and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a checkpoint's weights by name: a Lightning ``.ckpt``, a plain one, or safetensors.

    The file is mapped, not read: what is not asked for, such as an optimiser's state, costs no
    memory.

    Raises
    ------
    ModelNotFoundError
        If there is no such file.
    ModelFormatError
        If it is no checkpoint, or wants anything to be run.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelNotFoundError(f"checkpoint: there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ModelFormatError(f"checkpoint: {path} is not valid safetensors: {error}") from error
    content = _read_pickle(path)
    found = content.get("state_dict", content) if isinstance(content, dict) else None
    tensors = (
        {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, torch.Tensor)}
        if isinstance(found, dict)
        else {}
    )
    if not tensors:
        raise ModelFormatError(f"checkpoint: {path} holds no table of weights (no 'state_dict')")
    return tensors


def _read_pickle(path: Path) -> Any:
    named = _named(path)
    refused = sorted(n for n in named if not n.startswith(_HARMLESS) and n not in _HARMLESS_NAMES)
    if refused:
        raise _refusal(path, f"it asks for {', '.join(refused)}")
    stand_ins: Any = [(_Ignored, name) for name in named]
    with torch.serialization.safe_globals(stand_ins):
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
        except pickle.UnpicklingError as error:
            asked = re.search(r"GLOBAL (\S+)", str(error))
            why = f"it asks for {asked[1]}" if asked else "it holds what only a program could read"
            raise _refusal(path, why) from error
        except (RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError) as error:
            raise ModelFormatError(
                f"checkpoint: {path} cannot be read; it is damaged, or no PyTorch checkpoint "
                f"({type(error).__name__}: {error})"
            ) from error


def _named(path: Path) -> list[str]:
    """Return what a file names that PyTorch's restricted reader does not know; nothing is run."""
    if not _is_zip(path):  # PyTorch's old format: the restricted reader alone judges it
        return []
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from error
    except (RuntimeError, OSError, EOFError, ValueError, AssertionError) as error:
        raise ModelFormatError(f"checkpoint: {path} is damaged ({error})") from error


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _refusal(path: Path, why: str) -> ModelFormatError:
    return ModelFormatError(
        f"checkpoint: {path} was refused and nothing of it was run: besides tensors, {why}. If its "
        "source is to be trusted, save its weights alone there: "
        "torch.save({'state_dict': weights}, file), or as safetensors"
    )
