"""Teach a model what was painted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._run import open_image, open_labels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sdseg import Model
    from sdseg.card import Placement
    from sdseg.training.finetune import FineTuner

    from ._run import Progress

__all__ = ["finetune", "tuner_for"]


def finetune(
    model: str | Path | Model,
    images: Any,
    labels: Any,
    *,
    annotated: Sequence[Any] | None = None,
    ignore_label: int | None = None,
    background_label: int | None = None,
    classes: Sequence[str] | None = None,
    axis: int | None = None,
    channel_axis: int | None = None,
    spacing: Sequence[float] | float | None = None,
    placement: Placement | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    device: str | None = None,
    precision: str | None = None,
) -> Model:
    """Teach a copy of a model what was painted on a few planes.

    Parameters
    ----------
    model
        What to start from: ``"base"``, which is made for it, or any other name, folder, hub id or
        loaded model. It is not changed.
    images
        An image as `segment` takes it, or a list of them.
    labels
        What was painted: whole numbers of the image's shape less the channel axis (an array, a Labels
        layer or a file), or a list of as many. Class ids from 1; for a model of single objects, object
        ids.
    annotated
        Positions along ``axis`` of the planes that are annotated; for several images, a list of such
        lists. None: those on which anything is painted. Without ``ignore_label`` these planes are
        painted completely: what is not painted there is background.
    ignore_label
        For strokes: the label of pixels of which nothing is said.
    background_label
        The label that says background, where ``ignore_label`` is 0.
    classes
        Names of class 1, 2, ...; None: the model's own, and more where more were painted.
    axis, channel_axis, spacing
        As for `segment`, for all images.
    placement
        ``"tile"`` or ``"fit"``; None: planes larger than the model's square are resized to it.
    steps, seconds
        How long to learn, whichever is used up first; None for both: 60 seconds.
    seed
        Of everything that is drawn at random. With ``steps``, the same seed gives the same model on
        the same machine; with ``seconds``, as many steps as the machine can do.
    progress
        Called with the steps done and the steps there will be, about, after each.
    device, precision
        As for `segment`.

    Returns
    -------
    Model
        In memory, on the device, for ``segment(model=...)``; ``.save(path)`` keeps it. Its card says
        what it was made from, and its Dice on painted planes that were left out while the others
        were learned, before and after.

    Raises
    ------
    ValueError, TypeError
        If an argument cannot be used; the message names it, what it got and what would work.

    Examples
    --------
    >>> from napari_sdseg import finetune, segment
    >>> model = finetune("base", stack, painted, annotated=[10, 30, 50])  # doctest: +SKIP
    >>> labels = segment(stack, model, guide=painted, annotated=[10, 30, 50])  # doctest: +SKIP
    """
    tuner = tuner_for(
        model, images, labels,
        annotated=annotated, ignore_label=ignore_label, background_label=background_label,
        classes=classes, axis=axis, channel_axis=channel_axis, spacing=spacing, placement=placement,
        steps=steps, seconds=seconds, seed=seed, device=device, precision=precision,
    )  # fmt: skip
    for update in tuner.run():
        if progress is not None:
            progress(update.step, max(update.step, round(update.step / max(update.done, 1e-6))))
    return tuner.result


def tuner_for(
    model: str | Path | Model,
    images: Any,
    labels: Any,
    *,
    axis: int | None = None,
    channel_axis: int | None = None,
    spacing: Any = None,
    device: str | None = None,
    precision: str | None = None,
    **options: Any,
) -> FineTuner:
    """Open images and labels, load the model, and return what learns; as for `finetune`."""
    from sdseg.store import load_model
    from sdseg.training.finetune import FineTuner

    several = isinstance(images, list | tuple) and not _numbers(images)
    loaded = load_model(model, device=device, precision=precision)
    many = images if several else [images]
    sources = [open_image(image, channel_axis, axis=axis) for image in many]
    drawn = [open_labels(one) for one in labels] if several else open_labels(labels)

    def each(values: list[Any]) -> Any:
        return values if several else values[0]

    return FineTuner(
        loaded,
        each([s.data for s in sources]),
        drawn,
        axis=axis,
        channel_axis=each([s.channel_axis for s in sources]),
        spacing=each([s.spacing if spacing is None else spacing for s in sources]),
        unit=each([s.unit if spacing is None else loaded.card.unit for s in sources]),
        **options,
    )


def _numbers(images: Sequence[Any]) -> bool:
    """Whether a list is an image written out, rather than several images."""
    first = images[0] if len(images) else None
    while isinstance(first, list | tuple) and len(first):
        first = first[0]
    return isinstance(first, int | float)
