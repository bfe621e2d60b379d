"""A training run as a file: everything that decides what comes out."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ..card import Card
from ..errors import InputError, ModelFormatError

__all__ = ["Augmentation", "Recipe", "Source", "StageRecipe"]


@dataclass(frozen=True)
class Augmentation:
    """How far training images are varied.

    Attributes
    ----------
    scale
        Largest relative change of size, both ways: 0.3 is from 1/1.3 to 1.3.
    rotate
        Largest turn in degrees, besides quarter turns.
    gamma
        Largest exponent of the contrast change (its inverse is the smallest).
    shift
        Largest shift of each channel, of the [-1, 1] range.
    noise
        Largest standard deviation of added Gaussian noise.
    blur
        Largest standard deviation of a Gaussian blur, in pixels.
    grey
        Probability that a colour image is shown in grey.
    invert
        Probability that an image is shown as its negative.
    flip_vertical, flip_horizontal, quarter_turns
        Probability of each: rows in reverse, columns in reverse, one to three quarter turns.
    """

    scale: float = 0.3
    rotate: float = 15.0
    gamma: float = 1.5
    shift: float = 0.1
    noise: float = 0.1
    blur: float = 1.0
    grey: float = 0.0
    invert: float = 0.0
    flip_vertical: float = 0.5
    flip_horizontal: float = 0.5
    quarter_turns: float = 0.75


@dataclass(frozen=True)
class StageRecipe:
    """One of the two trainings.

    Attributes
    ----------
    crop
        Side in pixels of the squares it is trained on.
    steps, batch, accumulate, learning_rate, warmup, weight_decay, clip
        As in any AdamW training; ``clip`` is the largest gradient norm (0: none).
    decay
        Fraction of the steps, at the end, over which the rate falls to 0 as a cosine (0: constant).
    ema
        Largest decay of the averaged weights, which are what is validated and kept.
    validate_every, save_every
        In steps.
    kl, latent_noise
        Autoencoder: weight of the KL term; noise added to the scaled latent before decoding, so that
        the decoder forgives what the denoiser gets wrong.
    prediction_type
        Denoiser: ``"epsilon"`` (the paper's), ``"sample"`` or ``"v_prediction"``.
    noise_weight, latent_weight, mask_weight
        Denoiser: of the noise loss, of the latent estimation loss, and of a loss on the decoded mask
        through the frozen decoder (0: not computed; the paper has none).
    mask_fraction
        Denoiser: of the batch, how much is decoded for it; decoding costs as much as denoising.
    class_rate
        Denoiser: learning rate of the class embedding, as a multiple (the paper's code: 100).
    last_step
        Denoiser: fraction of the batch trained at the last timestep, where the single step starts;
        the rest is uniform over all timesteps, as in the paper (0).
    guess
        Denoiser: fraction of the batch that starts from a mask bent out of shape instead of the true
        one, so that it learns to correct a guess by the image (see `sdseg.training.disturb`).
    balance
        Denoiser: how far what is drawn counts as much as the empty rest in the two losses on latents
        (1: as much; 0: as published). So at the first step; falls to 0 in a line until the last. For
        small things, which are otherwise found late or not at all.
    """

    crop: int = 256
    steps: int = 1000
    batch: int = 8
    accumulate: int = 1
    learning_rate: float = 1e-4
    warmup: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    decay: float = 0.0
    ema: float = 0.999
    validate_every: int = 500
    save_every: int = 250
    kl: float = 1e-6
    latent_noise: float = 0.0
    prediction_type: str = "epsilon"
    noise_weight: float = 1.0
    latent_weight: float = 1.0
    mask_weight: float = 0.0
    mask_fraction: float = 1.0
    last_step: float = 0.0
    class_rate: float = 1.0
    guess: float = 0.0
    balance: float = 0.0

    def __post_init__(self) -> None:
        if self.prediction_type not in ("epsilon", "sample", "v_prediction"):
            raise InputError(
                f"prediction_type: got {self.prediction_type!r}; "
                "use 'epsilon', 'sample' or 'v_prediction'"
            )
        for name in ("steps", "batch", "accumulate", "validate_every", "save_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Source:
    """One of several folders of pairs that a model is trained on.

    Attributes
    ----------
    folder
        Within the data folder; it has its own images/, masks/ and split files.
    labels
        ``"objects"``: everything labelled is foreground. ``"classes"``: each time a plane is seen, one
        of the classes on it is the foreground; the model is not validated on it, since nothing would
        tell it which class is meant.
    share
        How often it is drawn from, against the others.
    zoom
        What its planes are resized by.
    """

    folder: str
    labels: str = "objects"
    share: float = 1.0
    zoom: float = 1.0

    def __post_init__(self) -> None:
        if self.labels not in ("objects", "classes"):
            raise InputError(f"labels: got {self.labels!r}; use 'objects' or 'classes'")
        if not (self.share > 0 and self.zoom > 0):
            raise InputError(f"share, zoom: must be above 0, got {self.share} and {self.zoom}")


@dataclass(frozen=True)
class Recipe:
    """Everything a training run is made of.

    Attributes
    ----------
    preset
        A name of `sdseg.models.PRESETS`, or a table of sizes of your own (`sdseg.models.Preset`).
    card
        The card of the model that comes out; scores are filled in by measuring.
    dropout
        Instead of the preset's.
    train_split, val_split
        Files of stems within the data folder. Models are chosen on ``val_split``.
    sources
        Several folders of pairs within the data folder, instead of it alone; for a model of coding
        ``"binary"``.
    dataset, scheme, partial
        A published data set to train on (`sdseg.datasets.DATA_SETS`) instead of a folder of pairs, and
        which of its splits (None: the one whose parts are kept apart). ``partial`` takes what is there
        of it; else a missing file is an error.
    foreground
        Fraction of the training planes that must show something labelled; the rest are any. Where most
        planes are empty, networks learn to draw nothing and stay there.
    seed
        Of weights, data order, augmentation and noise.
    mixed_precision
        ``"auto"``, ``"no"``, ``"bf16"`` or ``"fp16"``, for the networks; losses are in float32.
    autoencoder_from
        A model whose mask autoencoder is used, frozen, instead of training one. One that draws a single
        mask draws each of several classes alone.
    init_autoencoder
        An autoencoder of photographs that is used, frozen, instead of training one, as published; the
        vision encoder starts from its encoder. A file or folder, see
        `sdseg.training.initial.find_autoencoder`. The preset must have its sizes (``"paper"``).
    init_denoiser
        What the denoiser starts from, see `sdseg.training.initial.find_denoiser`.
    """

    preset: str | dict[str, Any]
    card: Card
    dropout: float | None = None
    train_split: str = "train.txt"
    val_split: str = "val.txt"
    sources: tuple[Source, ...] = ()
    dataset: str | None = None
    scheme: str | None = None
    partial: bool = False
    foreground: float = 0.0
    seed: int = 0
    mixed_precision: str = "auto"
    autoencoder_from: str | None = None
    init_autoencoder: str | None = None
    init_denoiser: str | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    autoencoder: StageRecipe = field(default_factory=StageRecipe)
    denoiser: StageRecipe = field(default_factory=StageRecipe)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Build a recipe; an entry that is not known is an error that names it."""
        parts: dict[str, Any] = {
            "card": Card.from_dict,
            "sources": lambda v: tuple(Source(**s) for s in v),
            "augmentation": lambda v: Augmentation(**v),
            "autoencoder": lambda v: StageRecipe(**v),
            "denoiser": lambda v: StageRecipe(**v),
        }
        try:
            return cls(**{k: parts[k](v) if k in parts else v for k, v in values.items()})
        except TypeError as error:
            raise ModelFormatError(f"recipe: {error}") from error

    @classmethod
    def read(cls, source: str | Path) -> Recipe:
        """Read a TOML file, or a recipe that ships, by its name (such as ``nuclei``)."""
        path: Any = Path(source)
        if not path.is_file():
            shipped = resources.files("sdseg.training") / "recipes"
            path = shipped / f"{source}.toml"
            if not path.is_file():
                names = sorted(p.name[:-5] for p in shipped.iterdir() if p.name.endswith(".toml"))
                raise InputError(f"recipe: no file {source}, and it is none of {', '.join(names)}")
        try:
            return cls.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
        except tomllib.TOMLDecodeError as error:
            raise ModelFormatError(f"recipe {source}: not valid TOML: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return dataclasses.asdict(self)
