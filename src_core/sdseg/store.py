"""Where models live: bundled with the package, in the user's folder, in a folder, on a hub.

A model is a folder in diffusers' layout (``model_index.json``, safetensors) with a card beside it.
Only tensors are ever loaded from it, never code: weights are safetensors, and the classes that
``model_index.json`` may name are a fixed list.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from .atomic import atomic_folder
from .card import CARD_FILE, Card
from .errors import InputTypeError, ModelFormatError, ModelNotFoundError
from .hub import download, is_hub_id

if TYPE_CHECKING:
    import torch

    from .devices import DeviceChoice
    from .pipeline import SDSegPipeline

__all__ = ["Model", "ModelInfo", "list_models", "load_model", "place", "user_folder"]

#: The only classes a model folder may ask for.
COMPONENTS = {
    "vae": ("diffusers", "AutoencoderKL"),
    "vision_encoder": ("sdseg.models.vision_encoder", "VisionEncoder"),
    "unet": ("sdseg.models.denoiser", "Denoiser"),
    "scheduler": ("diffusers", "DDIMScheduler"),
}


@dataclass(frozen=True)
class ModelInfo:
    """A model that can be loaded by name; ``origin`` is ``"bundled"`` or ``"user"``."""

    name: str
    path: Path
    origin: str
    card: Card


@dataclass(frozen=True)
class Model:
    """A pipeline on a device, with its card.

    Attributes
    ----------
    name
        What it was asked for by.
    card, pipeline
        What it needs to be used rightly, and what does the work.
    choice
        Device and precision, and why.
    path
        The folder it came from, or None.
    """

    name: str
    card: Card
    pipeline: SDSegPipeline
    choice: DeviceChoice
    path: Path | None = None

    @property
    def device(self) -> torch.device:
        """Return where it computes."""
        return self.choice.device

    @property
    def precision(self) -> str:
        """Return the networks' precision: ``"float32"``, ``"bfloat16"`` or ``"float16"``."""
        return self.choice.precision

    @property
    def device_note(self) -> str:
        """Return a sentence on what was chosen and why."""
        return self.choice.note

    def save(self, folder: str | Path, *, half: bool = False) -> Path:
        """Save into a folder, whole or not at all.

        Parameters
        ----------
        folder
            Where to; a model that is there is replaced.
        half
            Store float16, half the size; the networks' outputs change by rounding.
        """
        with atomic_folder(folder) as fresh:
            self.write(fresh, half=half)
        return Path(folder)

    def write(self, folder: Path, *, half: bool = False) -> None:
        """Write the files into an empty folder."""
        import copy

        import torch

        pipeline = self.pipeline
        if half:
            pipeline = copy.deepcopy(pipeline)
            for name in ("vae", "vision_encoder", "unet"):
                torch.nn.Module.to(getattr(pipeline, name), torch.float16)
        pipeline.save_pretrained(folder, safe_serialization=True)
        for config in folder.rglob("*.json"):  # diffusers notes where on this machine it came from
            values = json.loads(config.read_text(encoding="utf-8"))
            if values.pop("_name_or_path", None) is not None:
                config.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        self.card.write(folder)


def bundled_folder() -> Path:
    """Return where the models that ship lie."""
    return Path(str(resources.files("sdseg") / "bundled"))


def user_folder() -> Path:
    """Return where the user's own models lie; the environment's ``SDSEG_MODELS`` moves it."""
    moved = os.environ.get("SDSEG_MODELS")
    return Path(moved) if moved else platformdirs.user_data_path("napari-sdseg") / "models"


def list_models() -> list[ModelInfo]:
    """List the models that can be loaded by name; a user's model hides a bundled one of its name."""
    found: dict[str, ModelInfo] = {}
    for origin, folder in (("bundled", bundled_folder()), ("user", user_folder())):
        for card_file in sorted(folder.glob(f"*/{CARD_FILE}")):
            place = card_file.parent
            if place.name.startswith("."):
                continue
            try:
                found[place.name] = ModelInfo(place.name, place, origin, Card.read(place))
            except ModelFormatError:
                continue  # a damaged model is said when it is asked for, not whenever all are listed
    return sorted(found.values(), key=lambda m: m.name)


def locate(name: str | Path) -> Path:
    """Find a model's folder by name, path or hub id (``owner/name``).

    Raises
    ------
    ModelNotFoundError
        If there is none; the message lists what there is.
    """
    path = Path(name).expanduser()
    if (path / CARD_FILE).is_file():
        return path
    known = {m.name: m.path for m in list_models()}
    if str(name) in known:
        return known[str(name)]
    for folder in (user_folder(), bundled_folder()):  # there, but its card is damaged
        if re.fullmatch(r"[\w.-]+", str(name)) and (folder / str(name) / CARD_FILE).is_file():
            return folder / str(name)
    if path.exists():
        raise ModelNotFoundError(f"model: {path} is no model folder, it holds no {CARD_FILE}")
    if is_hub_id(str(name)):
        return download(str(name))
    raise ModelNotFoundError(
        f"model: no model {str(name)!r}; there are {', '.join(sorted(known)) or 'none'}. "
        "Or give a model folder, or a hub id such as owner/name."
    )


def check_index(folder: Path) -> None:
    """Refuse a folder that asks for any class but ours, before anything is imported for it.

    Raises
    ------
    ModelFormatError
        If it does, or says nothing of its classes.
    """
    path = folder / "model_index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"{path} cannot be read: {error}") from error
    for name, wanted in COMPONENTS.items():
        got = index.get(name)
        if not isinstance(got, list) or tuple(got) != wanted:
            raise ModelFormatError(f"{path}: {name} must be {list(wanted)}, got {got}")
    extra = [k for k, v in index.items() if isinstance(v, list) and k not in COMPONENTS]
    if extra or index.get("_class_name") != "SDSegPipeline":
        raise ModelFormatError(f"{path}: not an SDSeg model ({extra or index.get('_class_name')})")


def load_model(
    model: str | Path | Model,
    *,
    device: str | torch.device | None = None,
    precision: str | None = None,
) -> Model:
    """Load a model, ready to use.

    Parameters
    ----------
    model
        A name that `list_models` gives, a folder, a hub id (``owner/name``), or a loaded model.
    device, precision
        See `sdseg.devices.choose`. For a loaded model, None keeps what it has.

    Returns
    -------
    Model
        Models loaded by name are kept in memory, so asking again costs nothing.
    """
    from .devices import choose

    if isinstance(model, Model):
        if device is None and precision is None:
            return model
        choice = choose(device or model.device, precision or model.precision)
        if (choice.device, choice.precision) == (model.device, model.precision):
            return model
        import copy

        pipeline = place(copy.deepcopy(model.pipeline), choice)
        return Model(model.name, model.card, pipeline, choice, model.path)
    if not isinstance(model, str | Path):
        raise InputTypeError(f"model: need a name, a folder or a Model, got {type(model).__name__}")
    folder = locate(model).resolve()
    stamp = (folder / CARD_FILE).stat().st_mtime_ns
    return _load(str(model), folder, stamp, choose(device, precision))


@lru_cache(maxsize=4)
def _load(name: str, folder: Path, stamp: int, choice: DeviceChoice) -> Model:
    from diffusers.utils import logging

    from .pipeline import SDSegPipeline

    card = Card.read(folder)
    check_index(folder)
    logging.disable_progress_bar()
    try:
        pipeline = SDSegPipeline.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelFormatError(f"model: {folder} cannot be loaded: {error}") from error
    return Model(name if "/" not in name else card.name, card, place(pipeline, choice), choice, folder)


def _dtype(pipeline: SDSegPipeline, name: str, choice: DeviceChoice) -> torch.dtype:
    """Return a network's precision.

    A denoiser that predicts noise stays in float32 where the others are bfloat16: the single step
    multiplies its rounding by 38.7, and bfloat16's eight bits would show in the mask.
    """
    import torch

    noise = pipeline.scheduler.config.prediction_type == "epsilon"
    if name == "unet" and noise and choice.dtype is torch.bfloat16:
        return torch.float32
    return choice.dtype


def place(pipeline: SDSegPipeline, choice: DeviceChoice) -> SDSegPipeline:
    """Put a pipeline on a device in its precision, ready to infer; it is changed in place."""
    from .devices import move

    pipeline.set_progress_bar_config(disable=True)
    for name in ("vae", "vision_encoder", "unet"):
        module = getattr(pipeline, name)
        move(module, choice.device, _dtype(pipeline, name, choice))
        module.eval().requires_grad_(False)
    return pipeline
