"""Whether painting the plane that a model is least sure of beats painting another one.

    python benchmarks/next_plane.py DATA [--seconds 40] [--rounds 2] [--seeds 3] [--ways asked ...]

DATA holds `left_atrium/` (NAME_image.tif, NAME_label.tif). Two planes of each volume are painted from
the truth, at a third and two thirds of those that show the atrium, and the model is fine-tuned. Then,
for two rounds, one more plane is painted and the model fine-tuned anew, from the same start and for
the same seconds. The plane is

    asked   the one `sdseg.training.finetune.next_plane` names
    random  any that is not painted, with three seeds
    gap     the middle of the widest gap between painted planes and the ends of the stack: what a person
            would do without help

Dice is given over the planes that this way has not painted, and over those that no way has: a way
that paints what is hard is not scored on it in the first, so the second is the fair comparison.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _painted import Painted, atria, paint
from finetune import missing, tuned
from rich.console import Console
from rich.table import Table

import napari_sdseg
from sdseg.axes import plan
from sdseg.guide import Guidance
from sdseg.metrics import dice
from sdseg.painted import painted as read_painted
from sdseg.training.finetune import next_plane

if TYPE_CHECKING:
    import numpy.typing as npt

console = Console(width=120)

WAYS = ("asked", "random", "gap")


@dataclass(frozen=True)
class Round:
    """A volume after a plane more was painted: masks of the image alone, and guided."""

    way: str
    number: int
    painted: Painted
    model: Any
    alone: npt.NDArray[np.bool_]
    guided: npt.NDArray[np.bool_]

    def scores(self, without: set[int]) -> tuple[float, float]:
        """Return Dice of both masks over the planes that are not in ``without``."""
        rest = np.setdiff1d(np.arange(len(self.alone)), sorted(without))
        truth = self.painted.truth[rest]
        return dice(self.alone[rest], truth), dice(self.guided[rest], truth)


def run(way: str, number: int, painted: Painted, given: argparse.Namespace) -> Round:
    """Fine-tune on the painted planes, and segment."""
    model, _ = tuned([painted], given.model, given.seconds, given.device)

    def masks(**guide: Any) -> npt.NDArray[np.bool_]:
        return np.asarray(napari_sdseg.segment(painted.image, model=model, axis=0, **guide)) > 0

    guided = masks(guide=painted.labels, annotated=painted.planes)
    done = Round(way, number, painted, model, masks(), guided)
    alone, shown = done.scores(set(painted.planes))
    console.print(
        f"{painted.name:<22} {way:<10} round {number}: planes {painted.planes}, Dice on the others "
        f"{alone:.3f}, guided {shown:.3f}",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    return done


def middle_of_gap(planes: list[int], count: int) -> int:
    """Return the middle of the widest run of planes that are not painted; the first of equal ones."""
    ends = [-1, *sorted(planes), count]
    gaps = [(b - a, -a) for a, b in itertools.pairwise(ends)]
    width, start = max(gaps)
    return -start + width // 2


def choose(way: str, before: Round, rng: np.random.Generator) -> int:
    """Return the plane to paint next."""
    painted = before.painted
    if way == "gap":
        return middle_of_gap(painted.planes, len(painted.image))
    if way == "random":
        rest = np.setdiff1d(np.arange(len(painted.image)), painted.planes)
        return int(rng.choice(rest))
    work = plan(painted.image.shape, painted.image.dtype, before.model.card, axis=0)
    drawn = read_painted(painted.image, painted.labels, work, annotated=painted.planes)
    guide = Guidance(drawn, before.model.card)
    return next_plane(painted.image, before.model, work, painted.planes, guide=guide)


def volume_rounds(start: Painted, given: argparse.Namespace) -> list[Round]:
    """Return the start and all rounds of all ways of one volume."""
    first = run("start", 0, start, given)
    done = [first]
    for way in given.ways:
        for seed in range(given.seeds if way == "random" else 1):
            # The name as well: volumes of alike sizes would all get the same plane.
            before, rng = first, np.random.default_rng([seed, *start.name.encode()])
            for number in range(1, given.rounds + 1):
                planes = sorted({*before.painted.planes, choose(way, before, rng)})
                painted = paint(start.name, start.image, start.truth, planes)
                before = run(way, number, painted, given)
                done.append(before)
    return done


def main(words: list[str] | None = None) -> None:
    """Run all volumes and print a table."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3, help="of the planes picked at random")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    parser.add_argument("--device")
    given = parser.parse_args(words)
    reason = missing(given.model)
    volumes = [] if reason else atria(given.data, 2)
    if not volumes:
        console.print(reason or f"{given.data} holds no left_atrium/*_image.tif")
        return
    found: dict[tuple[int, str], list[tuple[float, ...]]] = defaultdict(list)
    for start in volumes:
        done = volume_rounds(start, given)
        ever = {z for r in done for z in r.painted.planes}
        for r in done:
            scores = (*r.scores(set(r.painted.planes)), *r.scores(ever))
            found[r.number, r.way].append(scores)
    out = Table(
        "round", "plane", "runs", "Dice", "guided", "Dice, never painted", "guided, never painted"
    )
    for (number, way), values in sorted(found.items(), key=lambda item: item[0][0]):
        mean = np.mean(values, axis=0)
        out.add_row(str(number), way, str(len(values)), *(f"{v:.3f}" for v in mean))
    console.print(out)


if __name__ == "__main__":
    main()
