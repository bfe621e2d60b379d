"""Teach a model something new: paint a few planes, learn for a minute, draw the rest.

    python docs/examples/teach.py [SECONDS]

The "painting" here is the ground truth of the sample CT on five planes.
"""

from __future__ import annotations

import sys

import numpy as np

from napari_sdseg import finetune, segment
from napari_sdseg.sample_data import load
from sdseg.metrics import dice


def main(seconds: float | None = 60, steps: int | None = None) -> None:
    """Learn the liver of the sample CT from five planes, and score all others."""
    sample = load("ct")
    liver = sample.labels == sample.class_names.index("liver") + 1
    shown = np.flatnonzero(liver.any(axis=(1, 2)))
    planes = [int(z) for z in np.linspace(shown[0], shown[-1], 7).round()[1:-1]]
    painted = np.zeros(liver.shape, np.uint8)
    painted[planes] = liver[planes]

    model = finetune(
        "base", sample.image, painted,
        annotated=planes, classes=["liver"], spacing=sample.spacing,
        seconds=seconds, steps=steps,
    )  # fmt: skip
    print(model.card.summary, model.card.scores)
    rest = np.setdiff1d(np.arange(len(liver)), planes)
    for said, options in {
        "the image alone": {},
        "from the painted shapes": {"guide": painted, "annotated": planes},
    }.items():
        labels = segment(sample.image, model, axis=0, spacing=sample.spacing, **options)
        print(f"{said}: Dice {dice(labels[rest] > 0, liver[rest]):.3f} on planes that were not painted")
    # model.save("models/liver"), and segment(..., model="models/liver") from then on


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
