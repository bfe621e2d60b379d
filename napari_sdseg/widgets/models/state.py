"""What the *Models* panel knows: the models, the chosen one, and how far its work is. No Qt here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from psygnal import SignalGroupDescriptor

from .._words import sentence

if TYPE_CHECKING:
    from pathlib import Path

    from sdseg.card import Card
    from sdseg.store import ModelInfo

__all__ = ["ModelsState", "Phase", "card_rows", "origin", "size_text"]

_ORIGINS = {"bundled": "comes with SDSeg", "user": "yours"}


class Phase(Enum):
    """Where the panel's work is."""

    IDLE = "idle"
    WORKING = "working"
    CANCELLING = "cancelling"


@dataclass
class ModelsState:
    """The list, the choice and the work; every change is an event.

    Attributes
    ----------
    models
        What `sdseg.list_models` gives, bundled ones first.
    chosen
        Name of the model whose card is shown; None while there is none.
    doing
        What is being done, as a person says it ("Downloading lab/liver").
    done, total
        Bytes; a total of 0: there is no telling.
    message
        The last thing to be said.
    deleted
        Where the model that was deleted last lies in the trash, until something else is done.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    models: tuple[ModelInfo, ...] = ()
    chosen: str | None = None
    phase: Phase = Phase.IDLE
    doing: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    deleted: Path | None = None

    # -- the list --------------------------------------------------------------------------------

    @property
    def info(self) -> ModelInfo | None:
        """Return the chosen model."""
        return next((m for m in self.models if m.name == self.chosen), None)

    def refresh(self, models: list[ModelInfo], choose: str | None = None) -> None:
        """Take a new list; choose one of it, or keep the choice, or what is in its place now."""
        before = [m.name for m in self.models]
        at = before.index(self.chosen) if self.chosen in before else 0
        self.models = tuple(sorted(models, key=lambda m: (m.origin != "bundled", m.name.lower())))
        names = [m.name for m in self.models]
        wanted = choose if choose in names else self.chosen
        if wanted not in names:
            wanted = names[min(at, len(names) - 1)] if names else None
        self.chosen = wanted

    def choose(self, name: str | None) -> None:
        """Show another model's card; what was said about the one before is out of date."""
        if name != self.chosen:
            self.chosen = name
            if not self.busy:
                self.say("")

    # -- what can be done ------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether work is going on, or still stopping."""
        return self.phase is not Phase.IDLE

    @property
    def can_add(self) -> bool:
        """Whether a model can be added now."""
        return not self.busy

    @property
    def can_change(self) -> bool:
        """Whether the chosen model can be renamed and deleted: it is the user's own."""
        return not self.busy and self.info is not None and self.info.origin == "user"

    @property
    def can_export(self) -> bool:
        """Whether the chosen model can be written somewhere."""
        return not self.busy and self.info is not None

    @property
    def can_undo(self) -> bool:
        """Whether a model that was just deleted can be brought back."""
        return not self.busy and self.deleted is not None

    def why_fixed(self) -> str:
        """Return why the chosen model can be neither renamed nor deleted; empty if it can."""
        if self.info is not None and self.info.origin == "bundled":
            return "It comes with SDSeg. Export a copy and add that under a name of its own."
        return ""

    # -- the work --------------------------------------------------------------------------------

    def say(self, message: str, deleted: Path | None = None) -> None:
        """Say something; a deletion can be undone until the next thing is said."""
        self.deleted = deleted
        self.message = sentence(message) if message else ""

    def begin(self, doing: str) -> bool:
        """Start some work; False if other work is going on."""
        if self.busy:
            return False
        self.say("")
        self.doing, self.done, self.total = doing, 0, 0
        self.phase = Phase.WORKING
        return True

    def advance(self, done: int, total: int) -> None:
        """Note how many bytes are done."""
        if self.phase is Phase.WORKING:
            self.total = total
            self.done = done

    def cancel(self) -> None:
        """Note that the work is asked to stop."""
        if self.phase is Phase.WORKING:
            self.phase = Phase.CANCELLING

    def end(self, message: str) -> None:
        """Note that the work is over, and how it went."""
        if self.busy:
            self.phase = Phase.IDLE
            self.say(message)

    def progress_text(self) -> str:
        """Return how far the work is: "Downloading lab/liver: 12 of 80 MB"."""
        if self.phase is Phase.CANCELLING:
            return "Stopping …"
        if not self.busy:
            return ""
        if not self.total:
            return f"{self.doing} …"
        return f"{self.doing}: {size_text(self.done, self.total)} of {size_text(self.total)}"


def origin(info: ModelInfo) -> str:
    """Say where a model is from."""
    return _ORIGINS.get(info.origin, info.origin)


def size_text(size: int, like: int | None = None) -> str:
    """Return bytes as a person reads them, in the unit that suits ``like``; only then unnamed."""
    whole = size if like is None else like
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if whole >= unit:
            value = f"{size / unit:.{1 if name == 'GB' or whole < 10 * unit else 0}f}"
            return value if like is not None else f"{value} {name}"
    return f"{size / 1e3:.0f}" if like is not None else f"{size / 1e3:.0f} kB"


def card_rows(card: Card, size: int) -> list[tuple[str, str]]:
    """Return a card's other facts as pairs of a heading and a text; those not known are left out."""
    scores = "\n".join(f"{name}: {value:.3f}" for name, value in card.scores.items())
    rows = [
        ("Learned from", card.training_data),
        ("Measured", scores),
        ("Fails on", card.limitations),
        ("Licence", card.licence or "not said; ask whoever made it before you share results"),
        ("Works on", _works_on(card)),
        ("Made from", card.parent or ""),
        ("Version", card.version),
        ("On disk", size_text(size)),
    ]
    return [(word, text) for word, text in rows if text]


def _works_on(card: Card) -> str:
    image = "colour" if card.intensity.kind == "rgb" else "grey and colour"
    image = "grey" if card.channels == 1 else image
    side = f"{card.size}\u00a0×\u00a0{card.size}"
    how = f"cut into squares of {side}" if card.placement == "tile" else f"resized as a whole to {side}"
    at = f", {card.pixel_size:g} {card.unit} a pixel" if card.pixel_size else ""
    return f"{image} images, {how}{at}"
