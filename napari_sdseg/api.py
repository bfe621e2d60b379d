"""Arrays, files or layers in; arrays or layers out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._run import Progress, Run, check_target, guidance, open_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdseg import Model
    from sdseg.card import Placement

__all__ = ["segment"]


def segment(
    image: Any,
    model: str | Path | Model = "nuclei",
    *,
    axis: int | None = None,
    channel_axis: int | None = None,
    planes: slice | Sequence[int] | int | None = None,
    level: int = 0,
    spacing: Sequence[float] | float | None = None,
    placement: Placement | None = None,
    instances: bool | None = None,
    min_size: int = 0,
    max_size: int | None = None,
    threshold: float | None = None,
    orthogonal: bool = False,
    guide: Any = None,
    annotated: Sequence[Any] | None = None,
    ignore_label: int | None = None,
    samples: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    return_probability: bool = False,
    out: Any = None,
    progress: Progress | None = None,
) -> Any:
    """Segment an image or a stack, slice by slice.

    Parameters
    ----------
    image
        numpy, dask, zarr or torch array, memory map, path of an image (a file, an OME-Zarr or DICOM
        folder), or napari Image layer. Any real dtype, two axes or more; values are used as the
        model's card says. NaN and infinity count as background.
    model
        A name (``sdseg.list_models()``), a model folder, a hub id, or a loaded model.
    axis
        The axis that is sliced. None: of the last three, one that is by far the shortest, else the
        first of them.
    channel_axis
        The axis of colours. None: a last axis of 3 or 4 behind two longer ones.
    planes
        A slice, a position or a list of them along ``axis``: segment only these, and leave the rest
        of the result 0.
    level
        Of a multiscale layer or file: 0 is the full resolution.
    spacing
        Pixel size along the last axes that are not colours, in the unit of the model's card (one
        number: along all). None: the file's or the layer's own, if it has one. If the card gives a
        pixel size, planes are resized to it; else to square pixels.
    placement
        ``"tile"``: planes are cut into overlapping squares at the model's pixel size. ``"fit"``:
        whole planes are resized to the model's square. None: as the card says.
    instances
        Single objects instead of class ids. None: class ids; an instance model's foreground is 1.
    min_size, max_size
        With ``instances``: objects of fewer or more pixels (over the whole stack) are dropped.
    threshold
        Probability above which a pixel is foreground. None: the card's.
    orthogonal
        Average the probabilities of slicing the volume in its three directions; three times the
        work.
    guide
        Painted labels of the result's shape, an array or a Labels layer: painted planes are kept as
        painted, and planes between or beyond them start from the painted shapes instead of from noise
        alone, and are corrected by the image. Not for models of single objects.
    annotated
        With ``guide``: positions along ``axis`` of the planes that are painted completely. None: those
        on which anything is painted.
    ignore_label
        With ``guide``: the label of pixels of which nothing is said, on planes that are painted in
        part; the others are kept.
    samples
        Noise samples a plane. One is enough; more give a mean, and a stability map.
    seed
        Of the noise. The noise of a plane depends on this number and the plane's alone.
    batch_size
        Squares that go through the networks together. None chooses for the device.
    device, precision
        ``"cpu"``, ``"cuda"``, ...; ``"float32"``, ``"bfloat16"``, ``"float16"``. None chooses.
    return_probability
        Return the probabilities too, and the stability if ``samples`` is above 1.
    out
        Where the labels go, plane by plane: the path of a new file (``.ome.zarr``, ``.ome.tif``, ...)
        or anything of the labels' shape with numpy-style assignment, such as a zarr array. For
        results larger than memory.
    progress
        Called with the number of planes done and their total, after each.

    Returns
    -------
    labels
        The image's shape less the channel axis: uint8 class ids (uint16 above 255 classes) or
        uint32 objects. An array gives a numpy array; a dask array a lazy dask array; an Image layer
        a Labels layer in the same place; ``out``, if given, is returned itself.
    probability
        Only with ``return_probability``: (K, ...) float32 in [0, 1], K as `sdseg.masks` says.
    stability
        Only with ``return_probability`` and ``samples > 1``: (K, ...) float32.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        If an argument cannot be used; the message names it, what it got and what would work.

    Examples
    --------
    >>> from napari_sdseg import segment
    >>> labels = segment(stack, instances=True)  # doctest: +SKIP
    """
    from sdseg.axes import plan
    from sdseg.errors import InputError
    from sdseg.store import load_model

    source = open_image(image, channel_axis, level, axis)
    loaded = load_model(model, device=device, precision=precision)
    data, card = source.data, loaded.card
    work = plan(
        data.shape,
        data.dtype,
        card,
        axis=axis,
        channel_axis=source.channel_axis,
        planes=planes,
        spacing=source.spacing if spacing is None else spacing,
        unit=source.unit if spacing is None else card.unit,
        placement=placement,
    )
    single = bool(instances)
    sized = min_size > 0 or max_size is not None
    if sized and not single:
        raise InputError("min_size, max_size: only objects have sizes; give instances=True as well")
    options: dict[str, Any] = {"instances": single, "samples": samples, "seed": seed}
    if threshold is not None:
        options["threshold"] = threshold
    if guide is not None:
        options["guide"] = guidance(guide, data, work, card, annotated, ignore_label)
    elif annotated is not None or ignore_label is not None:
        raise InputError("annotated, ignore_label: say what the guide means; give guide=labels as well")
    run = Run(loaded, work, {**options, "orthogonal": orthogonal, "batch_size": batch_size}, progress)

    if source.layer is None and out is None and _is_dask(data):
        from sdseg.cluster import lazy_labels, lazy_results

        for name, given in (("orthogonal", orthogonal), ("guide", guide is not None)):
            if given:
                raise InputError(f"{name}: not for a dask array; pass numpy, or out= for the labels")
        options |= {"batch_size": batch_size}
        if return_probability:
            return lazy_results(data, loaded, work, **options)
        if sized:
            options |= {"min_size": min_size, "max_size": max_size}
        return lazy_labels(data, loaded, work, **options)
    if isinstance(out, str | Path):
        if return_probability:
            raise InputError("return_probability: a file holds the labels alone; leave one of them")
        taken = "give another name, or remove it first"
        check_target(Path(out), image, len(work.output_shape), said="out", advice=taken)
        kept = (min_size, max_size) if sized else None
        return run.write(run.labels(data, sizes=kept), Path(out), source.picture)

    found = run.into_array(data, out, keep=return_probability)
    if sized:
        from sdseg.instances import drop_sizes

        drop_sizes(found[0], min_size, max_size)
    result: Any = found[0]
    if source.layer is not None and out is None:
        from .layers import to_labels_layer

        settings = {k: v for k, v in options.items() if k != "guide"}
        settings |= {"guided": guide is not None}
        settings = {**settings, "orthogonal": orthogonal, "level": level, "placement": work.placement}
        result = to_labels_layer(result, source.layer, loaded, work, settings, level=level)
    return (result, *found[1:]) if return_probability else result


def _is_dask(data: Any) -> bool:
    return type(data).__module__.split(".")[0] == "dask"
