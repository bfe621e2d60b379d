"""Volumes of which a few planes are painted, and what is scored: the tasks of `finetune.py`.

What a task may see of the truth is in `Painted.labels` alone; the rest is for scoring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from sdseg import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["CASES", "UNKNOWN", "Painted", "Task", "atria", "paint", "spread", "strokes", "with_strokes"]

#: What an unpainted pixel is, where strokes are painted instead of whole planes.
UNKNOWN = 255

#: Share of a plane's pixels that strokes cover.
STROKES = 0.02


@dataclass(frozen=True)
class Painted:
    """A volume with some of it painted.

    Attributes
    ----------
    name
        For the table.
    image, truth
        (Z, H, W); ``truth`` is bool.
    labels
        (Z, H, W) uint8, what was painted: 1 and 0 on ``planes``; elsewhere 0, or `UNKNOWN`.
    planes
        The painted planes.
    ignore
        `UNKNOWN` if only strokes were painted, else None.
    """

    name: str
    image: npt.NDArray[Any]
    truth: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.uint8]
    planes: list[int]
    ignore: int | None = None


@dataclass(frozen=True)
class Task:
    """What is learnt from, and what is scored.

    Attributes
    ----------
    painted
        The volumes that a method may learn from.
    target
        The volume it then segments; only its image is looked at, unless it is one of ``painted``.
    seconds
        For learning.
    guided
        Whether the painted planes are also to guide the segmentation.
    """

    case: str
    painted: list[Painted]
    target: Painted
    seconds: float
    guided: bool = True

    @property
    def seen(self) -> bool:
        """Return whether the target itself was painted."""
        return any(p is self.target for p in self.painted)

    @property
    def scored(self) -> npt.NDArray[np.intp]:
        """Return the planes of the target that nobody painted."""
        rest = np.arange(len(self.target.image))
        return np.setdiff1d(rest, self.target.planes) if self.seen else rest


def spread(truth: npt.NDArray[np.bool_], count: int = 5) -> list[int]:
    """Return ``count`` planes, evenly spaced between the first and the last that show something.

    Those two ends are left out: they show hardly anything, and nobody would paint them first.
    """
    shown = np.flatnonzero(truth.any((1, 2)))
    between = np.linspace(shown[0], shown[-1], count + 2).round().astype(int)[1:-1]
    return [int(z) for z in np.unique(between)]


def paint(
    name: str, image: npt.NDArray[Any], truth: npt.NDArray[Any], planes: Sequence[int]
) -> Painted:
    """Paint whole planes from the truth."""
    wanted = np.asarray(truth) > 0
    labels = np.zeros(wanted.shape, np.uint8)
    labels[list(planes)] = wanted[list(planes)]
    return Painted(name, image, wanted, labels, list(planes))


def strokes(
    plane: npt.NDArray[np.bool_], rng: np.random.Generator, share: float = STROKES
) -> npt.NDArray[np.uint8]:
    """Paint a plane with a brush instead of whole: half on the foreground, half on the background.

    Strokes are short, curved and three pixels wide, start anywhere and end at the outline, since
    nobody paints across it. No more than half of the foreground is covered.

    Parameters
    ----------
    plane
        (H, W), the truth.
    rng
        Decides everything.
    share
        Of the plane's pixels, how many are covered.

    Returns
    -------
    ndarray
        (H, W): 1, 0, or `UNKNOWN` where the brush was not.
    """
    labels = np.full(plane.shape, UNKNOWN, np.uint8)
    wanted = round(share * plane.size)
    inside = min(wanted // 2, int(plane.sum()) // 2)
    _brush(labels, plane, 1, inside, rng)
    _brush(labels, ~plane, 0, min(wanted - inside, int((~plane).sum()) // 2), rng)
    return labels


def _brush(
    labels: npt.NDArray[np.uint8],
    region: npt.NDArray[np.bool_],
    value: int,
    wanted: int,
    rng: np.random.Generator,
) -> None:
    """Cover ``wanted`` pixels of ``region``; a stroke's last dab may add a few more."""
    starts = np.argwhere(region)
    while wanted > 0:
        at = starts[rng.integers(len(starts))].astype(float)
        heading, turn = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.1)
        for _ in range(rng.integers(8, 25)):
            y, x = (int(v) for v in at.round())
            if not (0 <= y < region.shape[0] and 0 <= x < region.shape[1] and region[y, x]):
                break
            dab = np.s_[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            fresh = region[dab] & (labels[dab] == UNKNOWN)
            labels[dab][fresh] = value
            wanted -= int(fresh.sum())
            if wanted <= 0:
                return
            at += np.sin(heading), np.cos(heading)
            heading += turn


def with_strokes(whole: Painted, seed: int = 0) -> Painted:
    """Return the volume with strokes on its painted planes instead of whole planes."""
    labels = np.full(whole.labels.shape, UNKNOWN, np.uint8)
    for z in whole.planes:
        labels[z] = strokes(whole.truth[z], np.random.default_rng([seed, z]))
    return Painted(whole.name, whole.image, whole.truth, labels, whole.planes, UNKNOWN)


def atria(data: Path, count: int = 5) -> list[Painted]:
    """Read the left atria, each with ``count`` painted planes."""
    found = []
    for path in sorted((data / "left_atrium").glob("*_image.tif")):
        truth = tifffile.imread(path.with_name(path.name.replace("_image", "_label"))) > 0
        name = path.name.removesuffix("_image.tif")
        found.append(paint(name, tifffile.imread(path), truth, spread(truth, count)))
    return found


def _left_atrium(data: Path) -> Iterator[Task]:
    for volume in atria(data):
        yield Task("left_atrium", [volume], volume, 120)


def _strokes(data: Path) -> Iterator[Task]:
    for whole in atria(data):
        volume = with_strokes(whole)
        yield Task("strokes", [volume], volume, 120, guided=False)


def _transfer(data: Path) -> Iterator[Task]:
    volumes = atria(data)
    for target in volumes:
        others = [v for v in volumes if v is not target]
        yield Task("transfer", others, target, 240, guided=False)


def _vnc_em(data: Path) -> Iterator[Task]:
    folder = data / "vnc_em"
    if (folder / "image.tif").is_file():
        image, truth = (tifffile.imread(folder / n) for n in ("image.tif", "mitochondria.tif"))
        volume = paint("mitochondria", image, truth, [2, 6, 10, 14, 18])
        yield Task("vnc_em", [volume], volume, 120)


def liver(labels: npt.NDArray[Any], ids: dict[str, int]) -> npt.NDArray[np.bool_]:
    """Return the liver with its vessels and tumours, as a person outlines it: its holes filled.

    In the published labels vessels and tumours overwrite the liver. Tumours are added; of the
    vessels, what the liver surrounds in a plane is inside it. Of ircad_ct's 300,000 pixels of vessels
    52,780 are, and 6,913 of the 59,693 pixels that are filled have no label. A closing instead
    of filling adds fewer than 4,000 up to a radius of 8 pixels, and above that pieces of vessels that
    only pass by, so there is none.
    """
    from scipy.ndimage import binary_fill_holes

    body = np.isin(labels, [i for n, i in ids.items() if n.startswith("liver")])
    return np.stack([binary_fill_holes(plane) for plane in body])


def _ircad_ct(data: Path) -> Iterator[Task]:
    import json

    folder = data / "ircad_ct"
    for path in sorted((folder / "images").glob("*.nii.gz")):
        ids = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        image = np.asarray(files.read(path).data[...])
        truth = liver(np.asarray(files.read(folder / "masks" / path.name).data[...]), ids)
        volume = paint(path.name.removesuffix(".nii.gz"), image, truth, spread(truth))
        yield Task("ircad_ct", [volume], volume, 120)


def _nuclei3d(data: Path) -> Iterator[Task]:
    for path in sorted((data / "nuclei3d" / "images").glob("*.tif")):
        truth = tifffile.imread(data / "nuclei3d" / "masks" / path.name) > 0
        volume = paint(path.stem, tifffile.imread(path), truth, spread(truth, 2))
        yield Task("nuclei3d", [volume], volume, 120, guided=False)


#: Name -> the tasks of a data folder; none where it lacks the case.
CASES: dict[str, Callable[[Path], Iterator[Task]]] = {
    "left_atrium": _left_atrium,
    "strokes": _strokes,
    "transfer": _transfer,
    "vnc_em": _vnc_em,
    "ircad_ct": _ircad_ct,
    "nuclei3d": _nuclei3d,
}
