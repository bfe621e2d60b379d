"""Results -> Labels layers that lie on their image, and say how they were made.

The only place that does so: the widgets and `napari_sdseg.segment` share it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from napari.layers import Image, Labels

    from sdseg import Card, Model
    from sdseg.stack import StackPlan

__all__ = [
    "METADATA_KEY",
    "geometry",
    "image_array",
    "image_spacing",
    "instance_features",
    "is_ours",
    "labels_kwargs",
    "make_labels",
    "make_stability",
    "shifted",
    "to_labels_layer",
]

#: Our layers carry this key in ``layer.metadata``; a name can be changed by anyone, this is not.
METADATA_KEY = "napari-sdseg"


def image_array(layer: Image, level: int = 0) -> tuple[Any, int | None]:
    """Return what is to be segmented of an Image layer.

    Parameters
    ----------
    level
        Of a multiscale layer; 0 is the finest.

    Returns
    -------
    data
        The layer's own array, not a copy.
    channel_axis
        The last axis for an RGB layer; None leaves it to be decided from the shape.

    Raises
    ------
    InputError
        If the layer has no such level.
    """
    from sdseg.errors import InputError

    levels = list(layer.data) if layer.multiscale else [layer.data]
    if level >= len(levels):
        raise InputError(
            f"level: {level} asked for, the layer {layer.name!r} has {len(levels)} (from 0)"
        )
    data = levels[level]
    return data, (data.ndim - 1 if layer.rgb else None)


def image_spacing(
    layer: Image, channel_axis: int | None = None, level: int = 0
) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the pixel size along a layer's axes less the channels, and its unit of length.

    Of the last three axes, which are space; None for a scale of 1 in pixels, which says nothing.
    """
    scale = np.array(layer.scale) * _level_factors(layer, level)
    units = [str(u) for u in layer.units]
    axes = [a for a in range(len(scale)) if layer.rgb or channel_axis is None or a != channel_axis]
    space = axes[-3:]
    spacing = tuple(abs(float(scale[a])) for a in space)
    unit = units[space[-1]]
    if unit == "pixel" and set(spacing) == {1.0}:
        return None, None
    return spacing, unit


def _level_factors(layer: Image, level: int) -> npt.NDArray[np.float64]:
    """Return how much coarser a level is than the finest, along the layer's axes."""
    if not level:
        return np.ones(layer.ndim)
    return np.asarray(layer.downsample_factors[level][: layer.ndim], np.float64)


def geometry(layer: Image, plan: StackPlan | None = None, level: int = 0) -> dict[str, Any]:
    """Return the keyword arguments that make a Labels layer lie on an Image layer.

    Parameters
    ----------
    layer
        The image that was segmented.
    plan
        What was done with its axes; a channel axis among the layer's own (an RGB layer's is not) is
        taken out of every field. None: nothing is taken out.
    level
        Of a multiscale image, that was segmented.

    Returns
    -------
    dict
        ``scale, translate, rotate, shear, affine, units, axis_labels``. With them the labels'
        ``data_to_world`` is the image's on the axes that are kept; where a rotation or shear mixes
        the channel axis with the others, the image's at channel 0.
    """
    fields: dict[str, Any] = {
        "scale": np.array(layer.scale),
        "translate": np.array(layer.translate),
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        # a matrix, since a shared Affine object would be renamed and changed along with the image
        "affine": np.array(layer.affine.affine_matrix),
        "units": tuple(layer.units),
        "axis_labels": tuple(layer.axis_labels),
    }
    if level:
        # A coarse pixel covers several fine ones, and its middle lies between theirs.
        factors = _level_factors(layer, level)
        fields = shifted(fields, (factors - 1) / 2)
        fields["scale"] = fields["scale"] * factors
    channel = None if plan is None or layer.rgb else plan.channel_axis
    return fields if channel is None else _without(fields, channel)


def shifted(fields: Mapping[str, Any], offset: npt.ArrayLike) -> dict[str, Any]:
    """Return a geometry whose pixel 0 lies where the pixel ``offset`` did; one number an axis."""
    turn = fields["rotate"] @ _shear_matrix(fields["shear"], len(fields["scale"]))
    moved = fields["translate"] + turn @ (fields["scale"] * np.asarray(offset, np.float64))
    return {**fields, "translate": moved}


def make_stability(
    shape: tuple[int, ...], layer: Image, plan: StackPlan, labels: Labels, *, level: int = 0
) -> Image:
    """Return an Image layer of zeros for the spread over noise samples, on the labels' place."""
    from napari.layers import Image

    from sdseg import scratch

    return Image(
        scratch.zeros(shape, np.float32),
        name=f"{labels.name} - stability",
        colormap="magma",
        blending="additive",
        contrast_limits=(0, 0.5),
        metadata={METADATA_KEY: {**labels.metadata[METADATA_KEY], "stability": True}},
        **geometry(layer, plan, level),
    )


def _without(fields: dict[str, Any], channel: int) -> dict[str, Any]:
    ndim = len(fields["scale"])
    kept = [a for a in range(ndim) if a != channel]
    square = np.ix_(kept, kept)
    rotate, affine = fields["rotate"], fields["affine"]
    shear = _shear_matrix(fields["shear"], ndim)
    left: dict[str, Any] = {
        "scale": fields["scale"][kept],
        "translate": fields["translate"][kept],
        "units": tuple(fields["units"][a] for a in kept),
        "axis_labels": tuple(fields["axis_labels"][a] for a in kept),
    }
    if all(_apart(matrix, channel) for matrix in (rotate, shear, affine[:-1, :-1])):
        corner = np.ix_([*kept, ndim], [*kept, ndim])
        return {**left, "rotate": rotate[square], "shear": shear[square], "affine": affine[corner]}

    # A block cut out of a rotation is no rotation. Scale and translation stay readable where they
    # are, and the affine takes up the rest: whole = affine @ (scale, translate).
    inner = np.eye(ndim + 1)
    inner[:-1, :-1] = rotate @ shear @ np.diag(fields["scale"])
    inner[:-1, -1] = fields["translate"]
    whole = (affine @ inner)[np.ix_([*kept, ndim], [*kept, ndim])]
    simple = np.diag([*left["scale"], 1.0])
    simple[:-1, -1] = left["translate"]
    n = len(kept)
    return {
        **left,
        "rotate": np.eye(n),
        "shear": np.eye(n),
        "affine": whole @ np.linalg.inv(simple),
    }


def _shear_matrix(shear: npt.NDArray[Any], ndim: int) -> npt.NDArray[Any]:
    """Return napari's shear as a matrix; it gives the upper triangle alone where that is all."""
    if shear.ndim == 2:
        return shear
    matrix = np.eye(ndim)
    matrix[np.triu_indices(ndim, k=1)] = shear
    return matrix


def _apart(matrix: npt.NDArray[Any], axis: int) -> bool:
    """Whether a matrix leaves an axis alone."""
    others = [a for a in range(len(matrix)) if a != axis]
    return bool(
        np.allclose(matrix[axis, others], 0, atol=1e-12)
        and np.allclose(matrix[others, axis], 0, atol=1e-12)
    )


def move_to(layer: Labels, data: Any, fields: Mapping[str, Any]) -> None:
    """Exchange the plane that a Labels layer shows for another of the same stack, in its place."""
    layer.data = data
    for name in ("scale", "translate", "rotate", "shear", "affine"):
        setattr(layer, name, fields[name])


def redraw(layer: Labels, data: Any, kwargs: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Turn a Labels layer of a single plane into another, and show it.

    Such layers are exchanged and hidden, never removed: where the slider has been outside of one
    plane, removing its layer ends napari (0.9.2) in OpenGL, at the next drawing of the others.

    Parameters
    ----------
    data
        Labels, of as many axes as before.
    kwargs, fields
        What a new layer would get, see `labels_kwargs` and `geometry`.
    """
    from napari.utils.colormaps import label_colormap

    layer.data = data
    for name, value in {**kwargs, **fields}.items():
        setattr(layer, name, value)
    if "colormap" not in kwargs:
        layer.colormap = label_colormap()
    layer.editable = False
    layer.visible = True


def labels_kwargs(
    card: Card,
    *,
    source: str,
    model: str | None = None,
    instances: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return name, colours, class names and metadata of a Labels layer.

    Parameters
    ----------
    card
        Of the model that drew the labels.
    source
        Name of the image layer.
    model
        What the model was asked for by; None: the card's name.
    instances
        Whether labels are objects (napari's own colours) or classes (the card's).
    settings
        How it was made (axis, seed, ...): plain values, kept in the metadata.

    Returns
    -------
    dict
        ``name, features, metadata``, and for classes ``colormap``.
    """
    from . import __version__

    model = model or card.name
    kwargs: dict[str, Any] = {
        "name": f"{source} - {model}",
        "features": _table(["background", *([] if instances else _names(card))]),
        "metadata": {
            METADATA_KEY: {
                "model": model,
                "version": card.version,
                "software": f"napari-sdseg {__version__}",
                "source": source,
                "settings": {"instances": instances, **(settings or {})},
            }
        },
    }
    if not instances:
        from napari.utils.colormaps import DirectLabelColormap

        colors: dict[int | None, str] = {None: "transparent", 0: "transparent"}
        colors |= {i: c.color for i, c in enumerate(card.classes, start=1)}
        kwargs["colormap"] = DirectLabelColormap(color_dict=colors)
    return kwargs


def instance_features(card: Card, highest: int) -> dict[str, list[Any]]:
    """Return the features table of objects 1 to ``highest``: the status bar then names them."""
    return _table(["background", *(_names(card)[:1] * highest)])


def _names(card: Card) -> list[str]:
    return [c.name for c in card.classes]


def _table(names: list[str]) -> dict[str, list[Any]]:
    # napari finds the row of a label by the column "index"
    return {"index": list(range(len(names))), "name": names}


def make_labels(
    labels: npt.NDArray[Any],
    layer: Image,
    plan: StackPlan,
    card: Card,
    *,
    model: str | None = None,
    instances: bool = False,
    settings: Mapping[str, Any] | None = None,
    level: int = 0,
) -> Labels:
    """Return a Labels layer of ``labels`` (of shape ``plan.output_shape``) that lies on ``layer``.

    ``settings`` are kept in the metadata with what the plan decided.
    """
    from napari.layers import Labels

    decided = {"axis": plan.axis, "channel_axis": plan.channel_axis, **(settings or {})}
    kwargs = labels_kwargs(card, source=layer.name, model=model, instances=instances, settings=decided)
    return Labels(labels, **kwargs, **geometry(layer, plan, level))


def to_labels_layer(
    labels: npt.NDArray[Any],
    layer: Image,
    model: Model,
    plan: StackPlan,
    options: Mapping[str, Any],
    *,
    level: int = 0,
) -> Labels:
    """Return finished labels as a layer; ``options`` are those of `sdseg.stack.segment_planes`."""
    instances = bool(options.get("instances"))
    made = make_labels(
        labels,
        layer,
        plan,
        model.card,
        model=model.name,
        instances=instances,
        settings=options,
        level=level,
    )
    if instances:
        made.features = instance_features(model.card, int(labels.max(initial=0)))
    return made


def is_ours(layer: Any) -> bool:
    """Whether a layer was made by this plugin."""
    return METADATA_KEY in getattr(layer, "metadata", {})
