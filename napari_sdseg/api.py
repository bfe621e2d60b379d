"""Arrays, files or layers in; arrays or layers out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdseg import Model

__all__ = ["segment"]

Progress = Callable[[int, int], object]


def segment(
    image: Any,
    model: str | Path | Model = "nuclei",
    *,
    axis: int | None = None,
    channel_axis: int | None = None,
    planes: slice | Sequence[int] | int | None = None,
    instances: bool | None = None,
    samples: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    return_probability: bool = False,
    progress: Progress | None = None,
) -> Any:
    """Segment an image or a stack, slice by slice.

    Parameters
    ----------
    image
        numpy, dask, zarr or torch array, memory map, path of an image file, or napari Image layer.
        Any real dtype, two axes or more; values are used as the model's card says.
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
    instances
        Single objects instead of class ids. None: class ids; an instance model's foreground is 1.
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
    progress
        Called with the number of planes done and their total, after each.

    Returns
    -------
    labels
        The image's shape less the channel axis: uint8 class ids (uint16 above 255 classes) or
        uint32 objects. An array gives a numpy array; a dask array a lazy dask array; an Image layer
        a Labels layer in the same place.
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
    import numpy as np

    from sdseg.axes import plan
    from sdseg.errors import InputError
    from sdseg.stack import label_dtype, segment_planes
    from sdseg.store import load_model

    data, layer, channel_axis = _array(image, channel_axis)
    loaded = load_model(model, device=device, precision=precision)
    work = plan(
        data.shape, data.dtype, loaded.card, axis=axis, channel_axis=channel_axis, planes=planes
    )
    single = bool(instances)
    options: dict[str, Any] = {"instances": single, "samples": samples, "seed": seed}
    dtype = label_dtype(loaded.card, single)

    if layer is None and _is_dask(data):
        from sdseg.cluster import lazy_labels

        if return_probability:
            raise InputError("return_probability: not for a dask array; pass a part as numpy")
        return lazy_labels(data, loaded, work, batch_size=batch_size, **options)

    labels = np.zeros(work.output_shape, dtype)
    probability: Any = None
    stability: Any = None
    for done in segment_planes(data, loaded, work, batch_size=batch_size, **options):
        labels[done.index] = done.labels
        if return_probability:
            if probability is None:
                shape = (len(done.probability), *work.output_shape)
                probability = np.zeros(shape, np.float32)
                stability = np.zeros(shape, np.float32) if done.stability is not None else None
            probability[:, *done.index] = done.probability
            if stability is not None:
                stability[:, *done.index] = done.stability
        if progress is not None:
            progress(done.number + 1, done.total)

    result: Any = labels
    if layer is not None:
        from .layers import to_labels_layer

        result = to_labels_layer(labels, layer, loaded, work, options)
    if not return_probability:
        return result
    return (result, probability) if stability is None else (result, probability, stability)


def _array(image: Any, channel_axis: int | None) -> tuple[Any, Any, int | None]:
    """Return an array, the layer it came from or None, and its channel axis."""
    import numpy as np

    from sdseg.errors import InputTypeError

    if isinstance(image, str | Path):
        from sdseg import files

        picture = files.read(image)
        found = picture.channel_axis if channel_axis is None else channel_axis
        return picture.data, None, found
    if hasattr(image, "data_to_world") and hasattr(image, "events"):
        from .layers import image_array

        data, found = image_array(image)
        return data, image, found if channel_axis is None else channel_axis
    if hasattr(image, "detach"):  # torch: its dtypes are not numpy's
        image = image.detach().cpu().numpy()
    if not (hasattr(image, "shape") and hasattr(image, "dtype")):
        if not isinstance(image, Sequence) or isinstance(image, bytes):
            raise InputTypeError(
                f"image: need an array, a path or a napari Image layer, got {type(image).__name__}"
            )
        image = np.asarray(image)
    return image, None, channel_axis


def _is_dask(data: Any) -> bool:
    return type(data).__module__.split(".")[0] == "dask"
