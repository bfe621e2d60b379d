"""Where pixels lie: SimpleITK's spacing, origin and direction <-> the transform of a layer.

SimpleITK counts axes x, y, z and a layer z, y, x, both of the array and of the world, so every vector
is reversed, and every matrix in both directions. The world of medical files is in millimetres, to
the patient's left, back and head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sdseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

__all__ = ["from_itk", "layer_matrix", "parts", "to_itk"]


def from_itk(geometry: Mapping[str, Any]) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Return the order in which a layer takes a volume's axes, and its transform.

    A layer's plane across axis 0 is cut across axis 0 of the world, so a volume whose axes come in
    another order (a sagittal series) would show single pixels: its axes are put into the order of the
    world axes they are nearest to.

    Returns
    -------
    order
        ``data.transpose(order)`` is what the layer shows.
    fields
        ``scale, translate`` and, where it is not the identity, ``rotate``.
    """
    from scipy.optimize import linear_sum_assignment

    spacing, origin = (np.array(geometry[k][::-1], float) for k in ("spacing", "origin"))
    turn = np.array(geometry["direction"], float).reshape(len(spacing), -1)[::-1, ::-1]
    order = linear_sum_assignment(-np.abs(turn))[1]
    turn = turn[:, order] + 0.0  # without the minus before a zero
    fields: dict[str, Any] = {"scale": spacing[order], "translate": origin}
    if not np.allclose(turn, np.eye(len(spacing)), atol=1e-9):
        fields["rotate"] = turn
    return tuple(int(a) for a in order), fields


def layer_matrix(meta: Mapping[str, Any], ndim: int) -> npt.NDArray[np.float64]:
    """Return a layer's transform from pixels to the world as one matrix, (ndim + 1, ndim + 1)."""
    from napari.utils.transforms import CompositeAffine

    own = CompositeAffine(
        scale=_or(meta.get("scale"), [1.0] * ndim),
        translate=_or(meta.get("translate"), [0.0] * ndim),
        rotate=meta.get("rotate"),
        shear=meta.get("shear"),
        ndim=ndim,
    )
    outer = meta.get("affine")
    outer = getattr(outer, "affine_matrix", outer)
    whole = own.affine_matrix if outer is None else np.asarray(outer, float) @ own.affine_matrix
    return np.asarray(whole, np.float64)


def _or(value: Any, instead: Sequence[float]) -> Any:
    return instead if value is None else value


def parts(
    matrix: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Take a transform apart: pixel sizes, the directions of the axes (columns), the position of 0."""
    linear = matrix[:-1, :-1]
    sizes = np.linalg.norm(linear, axis=0)
    return sizes, linear / sizes, matrix[:-1, -1]


def to_itk(matrix: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return spacing, origin and direction of a transform, in SimpleITK's order.

    Raises
    ------
    InputError
        If the axes are not at right angles: no such format can say so.
    """
    sizes, directions, origin = parts(matrix)
    if not np.allclose(directions.T @ directions, np.eye(len(sizes)), atol=1e-4):
        raise InputError(
            "the layer is sheared, which NIfTI, NRRD and MetaImage cannot hold; take the shear out of "
            "its transform, or save it as .ome.tif"
        )
    return {
        "spacing": tuple(map(float, sizes[::-1])),
        "origin": tuple(map(float, origin[::-1])),
        "direction": tuple(map(float, directions[::-1, ::-1].ravel())),
    }
