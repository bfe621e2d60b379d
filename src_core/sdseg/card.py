"""The card: what a model needs to be used rightly, and what a person should know before using it.

A card is a JSON file beside the weights. It is read without torch, so listing models is cheap.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .errors import ModelFormatError, ModelNotFoundError
from .intensity import Intensity
from .units import known

__all__ = ["CARD_FILE", "Card", "ClassInfo", "Placement"]

CARD_FILE = "card.json"

Coding = Literal["binary", "multiclass", "conditioned", "instances"]
Placement = Literal["tile", "fit"]


@dataclass(frozen=True)
class ClassInfo:
    """A class a model draws: its name and the colour it is shown in (``#rrggbb``)."""

    name: str
    color: str = "#e8a33d"


@dataclass(frozen=True)
class Card:
    """What is known of a model.

    Attributes
    ----------
    name, summary, version
        What it is called, what it is for in a sentence, and which edition of it this is.
    classes
        Class 1, 2, ... in order; background is not listed.
    coding
        What the mask autoencoder sees (see `sdseg.masks`): ``"binary"``, ``"multiclass"``,
        ``"conditioned"`` or ``"instances"``.
    channels
        Image channels the network was trained to tell apart: 1 (grey, repeated) or 3 (colour).
    intensity
        The rule that makes [-1, 1] of raw values.
    size
        Side in pixels of the square the network was trained on.
    placement
        ``"tile"``: planes are cut into overlapping squares at their own pixel size.
        ``"fit"``: whole planes are resized to ``size`` and the result is resized back.
    overlap
        Pixels that neighbouring tiles share.
    pixel_size, unit
        Side of a pixel the network was trained on, where that is known: tiled planes are resized to
        it if the image knows its own. ``unit`` is ``"um"``, ``"mm"`` or ``"nm"``.
    threshold
        Probability above which a pixel is foreground; ``"conditioned"``: a class's probability
        against the background's, so that 0.5 draws whatever is most probable.
    training_data, licence, scores, limitations, parent
        What it learned from, under which terms the weights may be used, what it was measured to
        reach (name of the measure and set -> value), where it fails, which model it came from.
    """

    name: str
    summary: str = ""
    classes: tuple[ClassInfo, ...] = (ClassInfo("foreground"),)
    coding: Coding = "binary"
    channels: int = 3
    intensity: Intensity = field(default_factory=Intensity)
    size: int = 256
    placement: Placement = "tile"
    overlap: int = 64
    pixel_size: float | None = None
    unit: str | None = None
    threshold: float = 0.5
    version: str = "1"
    training_data: str = ""
    licence: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    limitations: str = ""
    parent: str | None = None

    def __post_init__(self) -> None:
        allowed = {
            "coding": ("binary", "multiclass", "conditioned", "instances"),
            "placement": ("tile", "fit"),
        }
        for attribute, values in allowed.items():
            if getattr(self, attribute) not in values:
                raise ModelFormatError(
                    f"card {attribute}: got {getattr(self, attribute)!r}; use one of {values}"
                )
        if self.pixel_size is not None and not (self.pixel_size > 0 and known(self.unit)):
            raise ModelFormatError(
                f"card pixel_size: got {self.pixel_size} {self.unit}; need a positive number and a "
                "unit such as 'um' or 'mm'"
            )
        if self.channels not in (1, 3):
            raise ModelFormatError(f"card channels: got {self.channels}; use 1 or 3")
        if self.coding not in ("multiclass", "conditioned") and len(self.classes) != 1:
            raise ModelFormatError(
                f"card classes: coding {self.coding!r} draws one class, got {len(self.classes)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Card:
        """Build a card; entries of a newer version that this one does not know are left out."""
        known = {f.name for f in dataclasses.fields(cls)}
        kept = {k: v for k, v in values.items() if k in known}
        try:
            if "classes" in kept:
                kept["classes"] = tuple(ClassInfo(**c) for c in kept["classes"])
            if "intensity" in kept:
                kept["intensity"] = Intensity.from_dict(kept["intensity"])
            return cls(**kept)
        except TypeError as error:
            raise ModelFormatError(f"the card cannot be read: {error}") from error

    @classmethod
    def read(cls, folder: str | Path) -> Card:
        """Read the card of the model in a folder."""
        path = Path(folder, CARD_FILE)
        if not path.is_file():
            raise ModelNotFoundError(f"no model in {folder}: it holds no {CARD_FILE}")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelFormatError(f"{path} is not valid JSON: {error}") from error
        return cls.from_dict(values)

    def write(self, folder: str | Path) -> None:
        """Write the card into a model's folder."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
        Path(folder, CARD_FILE).write_text(text, encoding="utf-8")
