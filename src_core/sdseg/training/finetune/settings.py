"""What a fine-tuning is made of, and how it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .draws import Variation

__all__ = ["FineTuneSettings", "FineTuneUpdate"]


@dataclass(frozen=True)
class FineTuneSettings:
    """How planes are learned from.

    Attributes
    ----------
    learning_rate
        The largest; it rises over the first `warmup` of the budget and falls to 0 as a cosine.
    pixels
        Of a batch, about: as many planes as hold them.
    ema
        Decay of the averaged weights, which are what is scored and kept.
    alone
        Fraction of a batch drawn from noise alone, as `segment` does it.
    guided
        Fraction that starts from a wrong guess; the rest starts from the noised truth, as published.
    latent_weight, noise_weight, mask_weight
        Of the latent estimation loss, the noise loss, and the loss on the decoded mask.
    balance
        Steps within which it fades that what is drawn counts as much as the empty rest, see
        `sdseg.training.losses.balance_weights`. It makes for an early start, and draws too much if it
        stays: it is gone after half of the budget in any case.
    drawn_already
        Dice on painted planes from which on a model needs no such start.
    between
        Learn from unpainted planes too, by the shapes that painted ones carry to them.
    held_out
        Fraction of the budget at the start during which some painted planes are left out, to score
        on them what the rest teaches; afterwards all are learned from.
    score_every
        Seconds between scores.
    variation
        How far planes are varied; None: see `sdseg.training.finetune.look.variation_for`.
    """

    learning_rate: float = 6e-4
    warmup: float = 0.03
    weight_decay: float = 0.01
    clip: float = 1.0
    pixels: int = 150_000
    ema: float = 0.98
    alone: float = 0.5
    guided: float = 0.3
    latent_weight: float = 1.0
    noise_weight: float = 0.5
    mask_weight: float = 1.0
    balance: int = 60
    drawn_already: float = 0.5
    between: bool = True
    held_out: float = 0.35
    score_every: float = 6.0
    variation: Variation | None = None


@dataclass(frozen=True)
class FineTuneUpdate:
    """What there is to say after a step.

    Attributes
    ----------
    step, seconds
        Done so far.
    done
        Fraction of the budget that is used up, 0 to 1.
    seconds_left
        Until the budget is used up.
    loss
        Running mean of the training loss.
    dice
        On painted planes that were left out so far, as `segment` would draw them; on the updates
        that carry one.
    before, best
        That Dice of the model that was started from, and the best so far; None: not known.
    everything
        Whether all painted planes are learned from by now, and `dice` is no longer measured.
    message
        A sentence, now and then.
    """

    step: int
    seconds: float
    done: float
    seconds_left: float
    loss: float | None = None
    dice: float | None = None
    before: float | None = None
    best: float | None = None
    everything: bool = False
    message: str | None = None
