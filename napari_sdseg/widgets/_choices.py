"""What the boxes of the panels offer: the viewer's images, and the models there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sdseg.layers import is_ours
from sdseg.store import list_models

from . import _made

if TYPE_CHECKING:
    import napari
    from magicgui.widgets import ComboBox

    from sdseg.card import Card

__all__ = ["offer_images", "offer_models"]


def offer_images(box: ComboBox, viewer: napari.Viewer) -> None:
    """List the images that a person opened; the choice stays if it can. Nobody is told of it."""
    from napari.layers import Image

    images = [x for x in viewer.layers if isinstance(x, Image) and not is_ours(x)]
    before = box.value
    with box.changed.blocked():
        box.choices = [(layer.name, layer) for layer in images]
        if before in images:
            box.value = before
        elif images:
            # what was just opened, or what the person has selected, is what they mean
            active = viewer.layers.selection.active
            box.value = active if active in images else images[-1]


def offer_models(box: ComboBox) -> dict[str, Card]:
    """List all models, those that are not saved as such; the choice stays. Return their cards."""
    unsaved = _made.cards()
    cards = {m.name: m.card for m in list_models()} | unsaved
    before = _made.called_now(box.value)
    with box.changed.blocked():
        box.choices = [(f"{n}  (not saved)" if n in unsaved else n, n) for n in cards]
        if before in cards:
            box.value = before
    return cards
