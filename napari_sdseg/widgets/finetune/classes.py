"""Painted labels and the classes they become. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sdseg.card import Card

__all__ = ["ClassRow", "class_ids", "class_rows", "default_names"]

#: More rows than this are no classes: somebody painted single objects.
_MOST = 64


@dataclass(frozen=True)
class ClassRow:
    """A row of the table.

    Attributes
    ----------
    label
        As painted; 0: all objects together.
    id
        The class it becomes; None: it says background.
    """

    label: int
    id: int | None
    name: str


def class_ids(painted: Sequence[int], background: int | None) -> dict[int, int]:
    """Return the class of each painted label: those above the background's move down by one."""
    above = {k: k - (background is not None and k > background) for k in painted if k > 0}
    return {k: i for k, i in above.items() if k != background}


def default_names(card: Card, ids: Iterable[int]) -> list[str]:
    """Return names of class 1, 2, ...: the model's own, and numbers where more are painted.

    A model of one class is started from for its skill, not for its class: where several are painted,
    none of them is that one.
    """
    own = [c.name for c in card.classes]
    if card.coding == "instances":
        return own[:1]
    total = max(max(ids, default=0), len(own))
    if len(own) == 1 and total > 1:
        own = []
    return [own[k] if k < len(own) else f"class {k + 1}" for k in range(min(total, _MOST))]


def class_rows(
    card: Card, painted: Sequence[int], background: int | None, names: Mapping[int, str]
) -> list[ClassRow]:
    """Return the rows of the table of classes."""
    if card.coding == "instances":
        return [ClassRow(0, 1, names.get(0, card.classes[0].name))] if painted else []
    ids = class_ids(painted, background)
    own = default_names(card, ids.values())
    rows = []
    for label in painted:
        if label == background:
            rows.append(ClassRow(label, None, "background"))
        elif label in ids and ids[label] <= len(own):
            rows.append(ClassRow(label, ids[label], names.get(label, own[ids[label] - 1])))
    return rows
