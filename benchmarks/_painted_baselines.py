"""What fine-tuning is measured against: other ways to get from a few painted planes to a volume.

Each takes a task, the seconds it may learn for and a device, and returns what it made of it. All see
what the model sees: the painted pixels, and images with their brightness limits found once a stack.
"""

from __future__ import annotations

import importlib.util
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import edt
import numpy as np
import torch
from _painted import UNKNOWN, Painted, Task

from sdseg.devices import choose
from sdseg.intensity import Intensity, limits, normalize
from sdseg.training.augment import Augment
from sdseg.training.recipe import Augmentation

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

__all__ = ["BASELINES", "interpolate", "why_not"]

#: Side of the U-Net's training squares, and how many are in a batch.
CROP, BATCH = 128, 4

#: At most so many pixels teach the forest: more of the same planes take longer and change little.
_PIXELS = 200_000


@dataclass(frozen=True)
class Found:
    """The target's mask (Z, H, W), the seconds of learning, and a word on how it went."""

    mask: npt.NDArray[np.bool_]
    seconds: float
    note: str


def signed_distance(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return pixels to the outline, which runs between pixels: above 0 inside, below 0 outside."""
    if not mask.any():
        # As far as anything can be, so that a shape is soon gone on the way to a plane without one.
        return np.full(mask.shape, -math.hypot(*mask.shape), np.float32)
    mask = np.ascontiguousarray(mask)
    outside = 0.5 - edt.edt(~mask, black_border=False, parallel=1)
    distance: npt.NDArray[np.float32] = np.where(
        mask, edt.edt(mask, black_border=False, parallel=1) - 0.5, outside
    )
    return distance


def interpolate(labels: npt.NDArray[Any], planes: list[int]) -> npt.NDArray[np.bool_]:
    """Carry painted planes to all others without looking at the image.

    Between two painted planes signed distances are mixed linearly; beyond the outermost, its shape
    shrinks by one pixel a plane.

    Parameters
    ----------
    labels
        (Z, H, W); only ``planes`` are looked at.
    planes
        The painted ones, in order.

    Returns
    -------
    ndarray
        (Z, H, W) bool.
    """
    known = {z: signed_distance(labels[z] > 0) for z in planes}
    found = np.zeros(labels.shape, bool)
    for z in range(len(labels)):
        below, above = (max((p for p in planes if p <= z), default=None),
                        min((p for p in planes if p >= z), default=None))  # fmt: skip
        if below is None or above is None:
            nearest = above if below is None else below
            assert nearest is not None
            found[z] = known[nearest] > abs(z - nearest)
        elif below == above:
            found[z] = known[z] > 0
        else:
            weight = (z - below) / (above - below)
            found[z] = (1 - weight) * known[below] + weight * known[above] > 0
    return found


def _by_shapes(task: Task, seconds: float, device: str | None) -> Found:
    return Found(interpolate(task.target.labels, task.target.planes), 0.0, "no image")


def _normal(volume: Painted) -> Callable[[int], npt.NDArray[np.float32]]:
    """Return what gives a plane in [-1, 1], with limits of the whole stack as a model's card has."""
    low, high = limits(volume.image, Intensity())
    return lambda z: normalize(volume.image[z], low, high)


def _features(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (H, W, F): brightness, edges and texture at scales from half a pixel to 16."""
    from skimage.feature import multiscale_basic_features

    found: Any = multiscale_basic_features
    out: npt.NDArray[np.float32] = found(plane, sigma_min=0.5, sigma_max=16)
    return out


def _by_forest(task: Task, seconds: float, device: str | None) -> Found:
    """Classify each pixel by what is around it in its plane; ``seconds`` do not bound it."""
    from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped]

    started = time.perf_counter()
    samples, answers = [], []
    for volume in task.painted:
        plane = _normal(volume)
        for z in volume.planes:
            known = volume.labels[z] != UNKNOWN
            samples.append(_features(plane(z))[known])
            answers.append(volume.labels[z][known])
    x, y = np.concatenate(samples), np.concatenate(answers)
    if len(x) > _PIXELS:
        some = np.random.default_rng(0).choice(len(x), _PIXELS, replace=False)
        x, y = x[some], y[some]
    forest = RandomForestClassifier(
        n_estimators=100, max_depth=16, n_jobs=torch.get_num_threads(), random_state=0
    ).fit(x, y)
    took = time.perf_counter() - started
    plane = _normal(task.target)
    found = np.zeros(task.target.image.shape, bool)
    for z in range(len(found)):
        features = _features(plane(z))
        found[z] = forest.predict(features.reshape(-1, features.shape[-1])).reshape(found[z].shape) > 0
    return Found(found, took, f"{len(x)} pixels")


class _Squares:
    """Batches of varied squares from the painted planes, as the model's own training varies them."""

    def __init__(self, painted: list[Painted]) -> None:
        self._augment = Augment(Augmentation(), CROP)
        self._rng = np.random.default_rng(0)
        self._planes = []
        for volume in painted:
            plane = _normal(volume)
            for z in volume.planes:
                pad = [max(0, self._augment.reach - n) for n in volume.labels[z].shape]
                around = [(p // 2, p - p // 2) for p in pad]
                image = np.pad(plane(z), around, mode="reflect")
                self._planes.append((image, np.pad(volume.labels[z], around, mode="reflect")))

    def _square(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        image, labels = self._planes[self._rng.integers(len(self._planes))]
        side = self._augment.reach
        middle = [int(self._rng.integers(n)) for n in labels.shape]
        if self._rng.random() < 0.5 and (labels == 1).any():
            # Half of them around the foreground, which may be a small part of the plane.
            at = np.argwhere(labels == 1)
            middle = [int(v) for v in at[self._rng.integers(len(at))]]
        start = [
            min(max(0, m - side // 2), n - side) for m, n in zip(middle, labels.shape, strict=True)
        ]
        take = np.s_[start[0] : start[0] + side, start[1] : start[1] + side]
        return self._augment(np.repeat(image[take][None], 3, axis=0), labels[take], self._rng)

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (N, 3, S, S) and labels (N, 1, S, S)."""
        images, labels = zip(*(self._square() for _ in range(BATCH)), strict=True)
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))[:, None]


def unet() -> torch.nn.Module:
    """Return a U-Net of 10 million parameters, as many as the bundled models have.

    MONAI's `UNet` rather than its `BasicUNet`: at this size a step takes a quarter of the time on a
    CPU, and within two minutes more steps are worth more than a finer first level. It ends in 32
    channels and a head: with a single one, its last normalisation takes away what tells foreground
    from background, and it learns next to nothing.
    """
    from monai.networks.nets import UNet

    body = UNet(2, 3, 32, (40, 80, 160, 320, 640), (2, 2, 2, 2), num_res_units=2)
    return torch.nn.Sequential(body, torch.nn.Conv2d(32, 1, 1))


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus soft Dice, over the painted pixels."""
    known = (labels != UNKNOWN).float()
    truth = (labels == 1).float()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    drawn = logits.sigmoid() * known
    overlap = 2 * (drawn * truth).sum() / (drawn.sum() + truth.sum() + 1)
    return (entropy * known).sum() / known.sum().clamp(min=1) + 1 - overlap


def _by_unet(task: Task, seconds: float, device: str | None) -> Found:
    """Train from scratch for as long as the model is fine-tuned."""
    started = time.perf_counter()
    torch.manual_seed(0)
    chosen = choose(device)
    half = chosen.dtype if chosen.dtype == torch.bfloat16 else None  # float16 would need scaling
    net = unet().to(chosen.device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
    squares, steps = _Squares(task.painted), 0
    with ThreadPoolExecutor(1) as ahead:
        waiting = ahead.submit(squares.batch)
        while (part := (time.perf_counter() - started) / seconds) < 1:
            images, labels = (t.to(chosen.device) for t in waiting.result())
            waiting = ahead.submit(squares.batch)
            # A short rise, then a cosine down to 0 when the time is up, however many steps that is.
            rate = min(1.0, (steps + 1) / 20) * 0.5 * (1 + math.cos(math.pi * part))
            optimizer.param_groups[0]["lr"] = 1e-3 * rate
            with torch.autocast(chosen.device.type, half, enabled=half is not None):
                logits = net(images)
            optimizer.zero_grad()
            loss: Any = _loss(logits.float(), labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            steps += 1
    took = time.perf_counter() - started
    net.eval()
    plane, found = _normal(task.target), np.zeros(task.target.image.shape, bool)
    height, width = task.target.image.shape[1:]
    with torch.inference_mode(), torch.autocast(chosen.device.type, half, enabled=half is not None):
        for z in range(len(found)):
            padded = np.pad(plane(z), ((0, -height % 16), (0, -width % 16)), mode="reflect")
            image = torch.from_numpy(padded).to(chosen.device).expand(1, 3, *padded.shape)
            found[z] = (net(image)[0, 0, :height, :width] > 0).cpu().numpy()
    return Found(found, took, f"{steps} steps")


#: Name -> what it is called in the table, and what does it.
BASELINES: dict[str, tuple[str, Callable[..., Found]]] = {
    "shapes": ("shape interpolation", _by_shapes),
    "forest": ("random forest", _by_forest),
    "unet": ("U-Net from scratch", _by_unet),
}


def why_not(name: str, task: Task) -> str | None:
    """Say why a baseline cannot do a task, or None if it can."""
    if name == "shapes" and not task.seen:
        return "nothing is painted on this volume"
    if name == "shapes" and task.target.ignore is not None:
        return "strokes have no outline"
    if name == "forest" and importlib.util.find_spec("sklearn") is None:
        return "scikit-learn is not installed (pip install scikit-learn)"
    return None
