"""The training loop that both stages share.

A stage says what is trained, what a batch costs and how good the result is; the loop owns the
optimiser, the averaged weights, the log, and what must survive a kill. It is a generator of
`TrainUpdate`: whoever consumes it draws the progress, and stops it by not asking for more.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel

from ..atomic import atomic_folder, recover

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from accelerate import Accelerator

    from .data import Batch, Batches
    from .recipe import StageRecipe

__all__ = ["Loop", "Stage", "TrainUpdate"]


@dataclasses.dataclass(frozen=True)
class TrainUpdate:
    """What there is to say after a step.

    Attributes
    ----------
    stage
        ``"autoencoder"`` or ``"denoiser"``.
    step, total
        Steps done, and to do, in this stage.
    loss
        Running mean of the training loss.
    dice
        Validation Dice, on the updates that carry one.
    best
        The best validation Dice so far.
    seconds_left
        Of this stage.
    message
        A sentence, now and then.
    """

    stage: str
    step: int
    total: int
    loss: float | None = None
    dice: float | None = None
    best: float | None = None
    seconds_left: float | None = None
    message: str | None = None


class Stage(Protocol):
    """What is trained, and how."""

    name: str
    network: torch.nn.Module

    def losses(
        self, network: torch.nn.Module, batch: Batch, generator: torch.Generator, done: float
    ) -> dict[str, torch.Tensor]:
        """Return the parts of the loss, ``"loss"`` being what is minimised.

        ``done`` is the fraction of the steps that lie behind, from 0 to 1.
        """

    def validate(self) -> float:
        """Return the mean foreground Dice on the validation split, with the weights as they are."""

    def save(self, folder: Path, score: float) -> None:
        """Write the model as it is into an empty folder."""


class _Counter:
    """Step and best score, saved and restored with everything else."""

    def __init__(self) -> None:
        self.step = 0
        self.best = -1.0

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.best = int(state["step"]), float(state["best"])


class Loop:
    """Train a stage in a folder, from where it stopped.

    The folder holds ``state/`` (everything needed to go on), ``best/`` and ``last/`` (models),
    ``log.csv`` and TensorBoard files.
    """

    def __init__(
        self,
        stage: Stage,
        batches: Batches,
        settings: StageRecipe,
        folder: Path,
        accelerator: Accelerator,
        *,
        seed: int,
        resume: bool = True,
    ) -> None:
        self.stage, self.batches, self.settings, self.folder = stage, batches, settings, folder
        self.accelerator, self.seed = accelerator, seed
        folder.mkdir(parents=True, exist_ok=True)
        s = settings
        trained = [p for p in stage.network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(self._groups(), lr=s.learning_rate, weight_decay=s.weight_decay)
        scheduler = (
            torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
            if s.decay
            else get_scheduler("constant_with_warmup", optimizer, num_warmup_steps=s.warmup)
        )
        self.network, self.optimizer = accelerator.prepare(stage.network, optimizer)
        self.scheduler = scheduler
        self.ema = EMAModel(trained, decay=s.ema)
        self.ema.to(accelerator.device)
        self._trained = trained
        self.counter = _Counter()
        for item in (self.ema, self.counter, scheduler):
            accelerator.register_for_checkpointing(item)
        if resume and recover(folder / "state"):
            accelerator.load_state(str(folder / "state"))
            self.ema.to(accelerator.device)

    def _groups(self) -> list[Any]:
        """Return what is trained; the class embedding apart if it has a rate of its own."""
        s = self.settings
        named = [(n, p) for n, p in self.stage.network.named_parameters() if p.requires_grad]
        embedding = [p for n, p in named if ".class_embedding." in n]
        if not embedding or s.class_rate == 1:
            return [p for _, p in named]
        rest = [p for n, p in named if ".class_embedding." not in n]
        return [{"params": rest}, {"params": embedding, "lr": s.learning_rate * s.class_rate}]

    def _rate(self, step: int) -> float:
        s = self.settings
        warm = min(1.0, (step + 1) / max(1, s.warmup))
        left = (s.steps - step) / max(1.0, s.decay * s.steps)
        return warm * (0.5 - 0.5 * math.cos(math.pi * min(1.0, max(0.0, left))))

    # ------------------------------------------------------------------ running

    def run(self) -> Iterator[TrainUpdate]:
        """Train to the end, yielding an update a step."""
        s, acc, counter = self.settings, self.accelerator, self.counter
        if counter.step >= s.steps:
            return
        self.network.train()
        source = self.batches.since(counter.step * s.accumulate)
        log = _Log(self.folder, acc.is_main_process, counter.step)
        started, first, running = time.monotonic(), counter.step, None
        try:
            while counter.step < s.steps:
                parts = self._step(source)
                counter.step += 1
                value = parts["loss"]
                running = value if running is None else 0.98 * running + 0.02 * value
                log.write(counter.step, {**parts, "rate": float(self.scheduler.get_last_lr()[0])})
                done, dice = counter.step, None
                # Saved before validating, so that whatever goes wrong there costs no training; and
                # after it, so that the best score is known to a run that goes on from here.
                last = done == s.steps
                if done % s.save_every == 0 or last:
                    self.save_state()
                if done % s.validate_every == 0 or last:
                    dice = self._validate(log)
                    self.save_state()
                pace = (time.monotonic() - started) / (done - first)
                yield TrainUpdate(
                    self.stage.name,
                    done,
                    s.steps,
                    loss=running,
                    dice=dice,
                    best=counter.best if counter.best >= 0 else None,
                    seconds_left=pace * (s.steps - done),
                )
        finally:
            source.close()  # type: ignore[attr-defined]
            log.close()

    def _step(self, source: Iterator[Batch]) -> dict[str, float]:
        s, acc = self.settings, self.accelerator
        totals: dict[str, float] = {}
        for part in range(s.accumulate):
            batch = next(source).to(acc.device)
            # Noise and timesteps depend on the step alone, so a resumed run repeats none of them.
            number = self.counter.step * s.accumulate + part
            generator = torch.Generator().manual_seed(
                hash((self.seed, acc.process_index, number)) % 2**63
            )
            with acc.autocast():
                done = self.counter.step / s.steps
                parts = self.stage.losses(self.network, batch, generator, done)
            acc.backward(parts["loss"] / s.accumulate)
            for name, value in parts.items():
                totals[name] = totals.get(name, 0.0) + float(value.detach()) / s.accumulate
        if s.clip:
            acc.clip_grad_norm_(self._trained, s.clip)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.step(self._trained)
        return totals

    # ------------------------------------------------------------------ validating and saving

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averaged weights into the network for a while."""
        self.ema.store(self._trained)
        self.ema.copy_to(self._trained)
        self.network.eval()
        try:
            yield
        finally:
            self.ema.restore(self._trained)
            self.network.train()

    def _validate(self, log: _Log) -> float | None:
        acc, dice = self.accelerator, None
        acc.wait_for_everyone()
        if acc.is_main_process:
            with self.averaged(), torch.inference_mode(False), torch.no_grad():
                dice = self.stage.validate()
                log.write(self.counter.step, {"dice": dice})
                with atomic_folder(self.folder / "last") as place:
                    self.stage.save(place, dice)
                if dice > self.counter.best:
                    self.counter.best = dice
                    with atomic_folder(self.folder / "best") as place:
                        self.stage.save(place, dice)
        acc.wait_for_everyone()
        return dice

    def save_state(self) -> None:
        """Save all that is needed to go on, whole or not at all."""
        if self.accelerator.is_main_process:
            with atomic_folder(self.folder / "state") as place:
                self.accelerator.save_state(str(place), safe_serialization=True)
                (place / "progress.json").write_text(json.dumps(self.counter.state_dict()))
        self.accelerator.wait_for_everyone()


class _Log:
    """CSV for people, TensorBoard for curves; a resumed run goes on in the same files."""

    def __init__(self, folder: Path, enabled: bool, step: int) -> None:
        self._csv = self._board = None
        if not enabled:
            return
        from torch.utils.tensorboard import SummaryWriter

        path = folder / "log.csv"
        kept = []
        if path.is_file():  # steps after the last save will be done again
            with path.open(newline="") as file:
                kept = [
                    row for row in csv.reader(file) if row and row[0].isdigit() and int(row[0]) <= step
                ]
        self._file = path.open("w", newline="")
        self._csv = csv.writer(self._file)
        self._csv.writerow(["step", "name", "value"])
        self._csv.writerows(kept)
        self._board = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        if self._csv is None or self._board is None:
            return
        for name, value in values.items():
            self._csv.writerow([step, name, f"{value:.6g}"])
            self._board.add_scalar(name, value, step)
        self._file.flush()

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
            self._file.close()
