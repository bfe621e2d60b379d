"""How good fine-tuning is from a few painted planes, and how good other ways are from the same planes.

    python benchmarks/finetune.py DATA [--cases left_atrium ...] [--baselines shapes forest unet]
        [--ceiling] [--seconds S] [--json OUT] [--device cuda]

DATA holds folders `left_atrium/` (NAME_image.tif, NAME_label.tif), `vnc_em/`, `ircad_ct/` and
`nuclei3d/`; what is missing is left out. Painting is simulated: planes are copied from the truth, and
Dice is counted over all planes of the volume that were not.

    left_atrium  MR, each of the volumes: five evenly spaced planes, 120 s
    strokes      the same with brush strokes on 2 % of those planes' pixels, and nothing else known
    transfer     the same volumes: learnt from the planes of all but one (240 s), scored on that one,
                 of which nothing is painted
    vnc_em       EM, mitochondria: planes 2, 6, 10, 14 and 18 of 20, 120 s
    ircad_ct     CT, the liver with its vessels and tumours (holes of liver and tumour filled in every
                 plane), Hounsfield units as they are: five evenly spaced planes, 120 s
    nuclei3d     fluorescence, foreground: two planes, 120 s

"image alone" segments the image with the fine-tuned model; "guided" shows it the painted planes too.
Baselines: the painted planes' signed distances interpolated, without the image; a random forest on
each pixel's surroundings (needs scikit-learn); a U-Net of like size, trained from scratch with the
same kind of augmentation for the same seconds. The ceiling is no method: a model fine-tuned on every
plane of the volume, the scored ones too.

Seconds bound the work, so a faster machine trains for more steps and scores differ from run to run.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from _painted import CASES, Painted, Task, paint
from _painted_baselines import BASELINES, why_not
from rich.console import Console
from rich.table import Table

import napari_sdseg
from sdseg.errors import ModelNotFoundError
from sdseg.metrics import dice
from sdseg.store import locate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

console = Console(width=120)


@dataclass(frozen=True)
class Outcome:
    """What a method made of a task; ``seconds`` are those of learning."""

    method: str
    mask: npt.NDArray[np.bool_]
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One score, and the seconds that learning took."""

    case: str
    volume: str
    method: str
    dice: float
    seconds: float
    note: str


def missing(model: str) -> str | None:
    """Say what is not there for fine-tuning from a model, or None."""
    try:
        found = getattr(napari_sdseg, "finetune", None)
    except ImportError as error:
        return f"napari_sdseg.finetune() cannot be imported ({error})"
    if found is None:
        return "napari_sdseg has no finetune()"
    if "guide" not in inspect.signature(napari_sdseg.segment).parameters:
        return "napari_sdseg.segment() takes no guide"
    try:
        locate(model)
    except ModelNotFoundError as error:
        return str(error)
    return None


def tuned(painted: list[Painted], model: str, seconds: float, device: str | None) -> tuple[Any, float]:
    """Fine-tune on what is painted; return the model and the seconds it took."""
    images: Any = [p.image for p in painted]
    labels: Any = [p.labels for p in painted]
    planes: Any = [p.planes for p in painted]
    if len(painted) == 1:
        images, labels, planes = images[0], labels[0], planes[0]
    options: dict[str, Any] = {"annotated": planes, "seconds": seconds}
    if painted[0].ignore is not None:
        options["ignore_label"] = painted[0].ignore
    if device is not None:
        options["device"] = device
    call: Any = napari_sdseg.finetune  # type: ignore[attr-defined, unused-ignore]
    started = time.perf_counter()
    made = call(model, images, labels, **options)
    return made, time.perf_counter() - started


def by_model(task: Task, model: str, seconds: float, device: str | None) -> Iterator[Outcome]:
    """Fine-tune, then segment without and, where the task has it, with the painted planes."""
    made, took = tuned(task.painted, model, seconds, device)
    image, target = task.target.image, task.target
    yield Outcome("SDSeg, image alone", _labels(image, made), took)
    if task.guided:
        mask = _labels(image, made, guide=target.labels, annotated=target.planes)
        yield Outcome("SDSeg, guided", mask, took)


def _labels(image: npt.NDArray[Any], model: Any, **guide: Any) -> npt.NDArray[np.bool_]:
    return np.asarray(napari_sdseg.segment(image, model=model, axis=0, **guide)) > 0


def ceiling(task: Task, model: str, seconds: float, device: str | None) -> Outcome:
    """Fine-tune on every plane of the target."""
    target = task.target
    every = paint(target.name, target.image, target.truth, range(len(target.image)))
    made, took = tuned([every], model, seconds, device)
    return Outcome("ceiling: SDSeg that has seen all planes", _labels(target.image, made), took)


def by_baseline(name: str, task: Task, seconds: float, device: str | None) -> Outcome:
    """Run a baseline on a task that it can do."""
    title, work = BASELINES[name]
    found = work(task, seconds, device)
    return Outcome(title, found.mask, found.seconds, found.note)


def outcomes(task: Task, given: argparse.Namespace, said: Callable[[str], None]) -> Iterator[Outcome]:
    """Run all that was asked for on a task."""
    seconds = given.seconds or task.seconds
    if given.model:
        yield from by_model(task, given.model, seconds, given.device)
    for name in given.baselines:
        reason = why_not(name, task)
        if reason is None:
            yield by_baseline(name, task, seconds, given.device)
        else:
            said(f"{task.case}: no {BASELINES[name][0]}: {reason}")
    # Of strokes and of a transfer the ceiling is that of left_atrium, all planes of the same volumes.
    if given.ceiling and given.model and task.case not in ("strokes", "transfer"):
        yield ceiling(task, given.model, seconds, given.device)


def scored(task: Task, outcome: Outcome) -> Row:
    """Count Dice over the planes that were not painted."""
    planes = task.scored
    value = dice(outcome.mask[planes], task.target.truth[planes])
    return Row(task.case, task.target.name, outcome.method, value, outcome.seconds, outcome.note)


def table(rows: list[Row]) -> Table:
    """Put the rows together: a line for each method of each case, means and each volume's."""
    grouped: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row.case, row.method].append(row)
    out = Table("case", "from the painted planes", "mean Dice", "each", "learnt for, s")
    before = None
    for (case, method), group in grouped.items():
        if before not in (None, case):
            out.add_section()
        out.add_row(
            case if case != before else "",
            method,
            f"{np.mean([r.dice for r in group]):.3f}",
            " ".join(f"{r.dice:.3f}" for r in group) if len(group) > 1 else "",
            f"{max(r.seconds for r in group):.0f}",
        )
        before = case
    return out


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument(
        "--baselines", nargs="*", choices=BASELINES, default=list(BASELINES), metavar="BASELINE",
        help=f"of {', '.join(BASELINES)}; nothing after it: none",
    )  # fmt: skip
    parser.add_argument(
        "--model", default="base", help="what fine-tuning starts from; '': baselines alone"
    )
    parser.add_argument("--ceiling", action="store_true", help="fine-tune on every plane as well")
    parser.add_argument("--seconds", type=float, help="for every training, instead of the case's own")
    parser.add_argument("--json", type=Path, help="write all rows to this file")
    parser.add_argument("--device")
    given = parser.parse_args(words)
    if given.seconds is not None and given.seconds <= 0:
        parser.error(f"--seconds: must be above 0, got {given.seconds:g}")
    return given


def main(words: list[str] | None = None) -> None:
    """Run the cases; rows as they come, then the table."""
    given = parsed(words)
    reason = missing(given.model) if given.model else None
    if reason:
        console.print(f"Only the baselines run. {reason}")
        given.model = ""
    if "strokes" in given.cases and "left_atrium" not in given.cases:
        console.print("strokes are compared with whole planes: left_atrium runs as well")
        given.cases = ["left_atrium", *given.cases]
    console.print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    rows: list[Row] = []
    told: set[str] = set()

    def said(text: str) -> None:
        if text not in told:
            told.add(text)
            console.print(text)

    for case in CASES:
        if case not in given.cases:
            continue
        count = 0
        for task in CASES[case](given.data):
            count += 1
            for outcome in outcomes(task, given, said):
                row = scored(task, outcome)
                rows.append(row)
                console.print(
                    f"{case:<12} {row.volume:<22} {row.method:<40} Dice {row.dice:.3f} "
                    f"{row.seconds:>5.0f} s  {row.note}",
                    soft_wrap=True, highlight=False,
                )  # fmt: skip
                if given.json:  # after every row: a run of hours may be ended
                    settings = {k: str(v) for k, v in vars(given).items() if v is not None}
                    settings |= {"torch": torch.__version__, "threads": str(torch.get_num_threads())}
                    whole = {"settings": settings, "rows": [asdict(r) for r in rows]}
                    given.json.write_text(json.dumps(whole, indent=1), encoding="utf-8")
        if not count:
            console.print(f"{case}: {given.data} does not hold it, left out")
    console.print(table(rows))


if __name__ == "__main__":
    main()
