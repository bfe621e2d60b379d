"""Variations of a training image and its labels, drawn from MONAI."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from .recipe import Augmentation

__all__ = ["Augment"]


class Augment:
    """Crop and vary an image and its labels together.

    Deterministic: the same generator state gives the same result, so a resumed training sees the
    same data as an uninterrupted one.
    """

    def __init__(self, settings: Augmentation, crop: int) -> None:
        from monai import transforms as m

        self.settings = s = settings
        both = ("image", "labels")
        # The reach of a rotated, enlarged crop in the source image.
        self.reach = math.ceil(crop * (1 + s.scale) * (1 + math.sin(math.radians(s.rotate)) / 2))
        blur, contrast = (0.1, s.blur), (1 / s.gamma, s.gamma)
        self._compose = m.Compose(
            [
                m.RandFlipd(both, prob=s.flip_vertical, spatial_axis=0),
                m.RandFlipd(both, prob=s.flip_horizontal, spatial_axis=1),
                m.RandRotate90d(both, prob=s.quarter_turns, max_k=3),
                m.RandAffined(
                    both,
                    prob=1.0,
                    rotate_range=math.radians(s.rotate),
                    # MONAI scales coordinates by 1 + U(range): below 1 enlarges the image.
                    scale_range=((1 / (1 + s.scale) - 1, s.scale),) * 2,
                    spatial_size=(crop, crop),
                    mode=("bilinear", "nearest"),
                    padding_mode="reflection",
                ),
                # What changes nothing is left at probability 0: MONAI would compute it all the same.
                m.RandGaussianSmoothd("image", prob=0.2 * (s.blur > 0), sigma_x=blur, sigma_y=blur),
                m.RandAdjustContrastd("image", prob=0.4 * (s.gamma > 1), gamma=contrast),
                m.RandShiftIntensityd("image", prob=0.4, offsets=s.shift, channel_wise=True),
                m.RandGaussianNoised("image", prob=0.3, std=s.noise, sample_std=True),
            ]
        )

    def __call__(
        self,
        image: npt.NDArray[np.float32],
        labels: npt.NDArray[Any],
        rng: np.random.Generator,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Vary one image.

        Parameters
        ----------
        image
            (3, H, W) in [-1, 1].
        labels
            (H, W) integers.
        rng
            Decides everything.

        Returns
        -------
        image, labels
            (3, crop, crop) and (crop, crop).
        """
        self._compose.set_random_state(seed=int(rng.integers(2**31)))
        # Labels pass through float32 grids in MONAI: make ids small before, they are only names.
        _, dense = np.unique(labels, return_inverse=True)
        dense = dense.reshape(labels.shape) + (0 if (labels == 0).any() else 1)
        names = np.concatenate([[0], np.unique(labels[labels != 0])])
        out = self._compose({"image": image, "labels": dense[None].astype(np.float32)})
        varied = np.asarray(out["image"], np.float32)
        if self.settings.grey and rng.random() < self.settings.grey:
            varied = np.broadcast_to(varied.mean(axis=0), varied.shape)
        if self.settings.invert and rng.random() < self.settings.invert:
            varied = -varied
        placed = np.rint(np.asarray(out["labels"][0])).astype(np.int64)
        return np.clip(varied, -1, 1).astype(np.float32), names[placed].astype(np.int32)
