"""From a recipe and a folder of pairs to a model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers import AutoencoderKL

from .. import masks
from ..atomic import atomic_folder, recover
from ..datasets import cases, pairs
from ..devices import DeviceChoice, choose, move
from ..models import PRESETS, Preset, build, widened
from ..models.autoencoder import measure_scale
from ..pipeline import SDSegPipeline, make_scheduler
from ..store import Model, load_model
from . import initial
from .autoencoder import AutoencoderStage
from .data import Batches, Planes
from .denoiser import DenoiserStage
from .loop import Loop, TrainUpdate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .recipe import Recipe

__all__ = ["Trainer"]


class Trainer:
    """Train a model from nothing, in two stages, resumable at any moment.

    Parameters
    ----------
    recipe
        What to train and how.
    data
        A folder with ``images/``, ``masks/`` and the recipe's split files; or where the data set that
        the recipe names was unpacked.
    out
        A folder for everything the run writes: ``recipe.json``, ``autoencoder/``, ``denoiser/``. The
        model is ``denoiser/best``.
    resume
        Go on from the last save in ``out``; False starts again.

    Examples
    --------
    >>> trainer = Trainer(Recipe.read("nuclei"), "data/dsb2018", "runs/nuclei")  # doctest: +SKIP
    >>> for update in trainer.run():  # doctest: +SKIP
    ...     print(update.step, update.loss, update.dice)
    """

    def __init__(
        self, recipe: Recipe, data: str | Path, out: str | Path, *, resume: bool = True
    ) -> None:
        self.recipe, self.data, self.out, self.resume = recipe, Path(data), Path(out), resume
        self.is_main = True
        # Both splits are read at the door: a missing file costs a second, not a training.
        self._train_pairs = self._cases("train", recipe.train_split)
        self._val_pairs = self._cases("val", recipe.val_split)
        # Only where it is clear what is to be found can finding it be scored.
        self._scored = (
            [
                case
                for source, cases in zip(recipe.sources, self._val_pairs, strict=True)
                if source.labels == "objects"
                for case in cases
            ]
            if recipe.sources
            else self._val_pairs
        )
        # So are weights to start from.
        first, second = recipe.init_autoencoder, recipe.init_denoiser
        self._init_autoencoder = None if first is None else initial.find_autoencoder(first)
        self._init_denoiser = None if second is None else initial.find_denoiser(second)

    def _cases(self, part: str, split: str) -> Sequence[Any]:
        r = self.recipe
        if r.sources:
            return [pairs(self.data / s.folder, split) for s in r.sources]
        if r.dataset is None:
            return pairs(self.data, split)
        return cases(
            r.dataset, self.data, part, scheme=r.scheme, side=r.card.size,
            classes=len(r.card.classes), partial=r.partial,
        )  # fmt: skip

    @property
    def best_path(self) -> Path:
        """Return the folder of the best model, by validation Dice."""
        return self.out / "denoiser" / "best"

    def run(self) -> Iterator[TrainUpdate]:
        """Train both stages, yielding an update a step."""
        r = self.recipe
        accelerator = Accelerator(mixed_precision=self._mixed_precision())
        self.is_main = accelerator.is_main_process
        set_seed(r.seed)
        if self.is_main:
            self.out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(r.to_dict(), indent=2)
            (self.out / "recipe.json").write_text(text + "\n", encoding="utf-8")

        yield self._say("reading the images")
        train = Planes(self._train_pairs, r.card, r.sources, r.foreground)
        yield self._say(f"{len(train)} training planes, {len(self._scored)} validation images")

        preset = PRESETS[r.preset] if isinstance(r.preset, str) and r.preset in PRESETS else r.preset
        sizes = Preset(**preset) if isinstance(preset, dict) else preset
        if r.dropout is not None and isinstance(sizes, Preset):
            sizes = dataclasses.replace(sizes, dropout=r.dropout)
        vae, vision_encoder, unet = build(
            sizes,
            mask_channels=masks.autoencoder_channels(r.card),
            num_class_embeds=masks.embedding_count(r.card),
            size=r.card.size,
        )
        # 1. the mask autoencoder
        if r.autoencoder_from:
            vae = load_model(r.autoencoder_from, device="cpu", precision="float32").pipeline.vae
        else:
            if self._init_autoencoder is None:
                yield from self._autoencoder(vae, train, accelerator)
            else:
                yield from self._given_autoencoder(vae, train)
            accelerator.wait_for_everyone()
            vae = AutoencoderKL.from_pretrained(
                self.out / "autoencoder" / "best" / "vae", use_safetensors=True
            )

        # 2. the vision encoder and the denoiser
        if self._init_autoencoder is not None:
            initial.start_vision_encoder(vision_encoder, vae)
        if self._init_denoiser is not None:
            initial.start_denoiser(unet, vision_encoder, self._init_denoiser)
        # An autoencoder that draws one mask draws each class alone, from latents side by side.
        count = masks.autoencoder_channels(r.card)
        separate = count > 1 and vae.config.in_channels == 1
        if separate:
            unet = widened(unet, vae.config.latent_channels, 1, count)
        scheduler = make_scheduler(r.denoiser.prediction_type)
        pipeline = SDSegPipeline(
            vae, vision_encoder, unet, scheduler, mask_channels=count, separate=separate
        )
        for module in (vae, vision_encoder, unet):
            move(module, accelerator.device, training=True)
        # Validated in the precision in which the weights will be used here.
        device = DeviceChoice(accelerator.device, "float32", "training")
        model = Model(r.card.name, r.card, pipeline, device)
        stage = DenoiserStage(model, r.denoiser, self._scored)
        batches = Batches(
            train, r.augmentation, r.denoiser.crop, r.denoiser.batch,
            (r.seed, 2, accelerator.process_index),
        )  # fmt: skip
        loop = Loop(
            stage, batches, r.denoiser, self.out / "denoiser", accelerator,
            seed=r.seed, resume=self.resume,
        )  # fmt: skip
        yield from loop.run()

    def _given_autoencoder(self, vae: AutoencoderKL, train: Planes) -> Iterator[TrainUpdate]:
        """Take an autoencoder as it is; only the scale of its mask latents is measured."""
        r, place = self.recipe, self.out / "autoencoder" / "best"
        if not self.is_main or (self.resume and recover(place)):
            return
        assert self._init_autoencoder is not None
        yield self._say(f"the autoencoder of {self._init_autoencoder}, frozen")
        initial.start_autoencoder(vae, self._init_autoencoder)
        batches = Batches(train, r.augmentation, r.denoiser.crop, r.denoiser.batch, (r.seed, 1, 0))
        measure_scale(vae, (batches[i].masks for i in range(4)))
        with atomic_folder(place) as fresh:
            vae.save_pretrained(fresh / "vae", safe_serialization=True)

    def _autoencoder(
        self, vae: AutoencoderKL, train: Planes, accelerator: Accelerator
    ) -> Iterator[TrainUpdate]:
        r = self.recipe
        move(vae, accelerator.device, training=True)
        plain = dataclasses.replace(r.augmentation, scale=0.0, rotate=0.0)
        validation = Batches(
            Planes(self._val_pairs, r.card, r.sources), plain, r.autoencoder.crop, 16, (r.seed, 0)
        )
        batches = Batches(
            train, r.augmentation, r.autoencoder.crop, r.autoencoder.batch,
            (r.seed, 1, accelerator.process_index),
        )  # fmt: skip
        # Its own accelerator: what one stage registers must not be saved with the other.
        own = Accelerator(mixed_precision=accelerator.mixed_precision)
        loop = Loop(
            AutoencoderStage(vae, r.autoencoder, validation), batches, r.autoencoder,
            self.out / "autoencoder", own, seed=r.seed, resume=self.resume,
        )  # fmt: skip
        yield from loop.run()

    def _mixed_precision(self) -> str:
        wanted = self.recipe.mixed_precision
        if wanted != "auto":
            return wanted
        # float16 would need loss scaling to be safe; it is taken only when asked for.
        return "bf16" if choose().precision == "bfloat16" else "no"

    def _say(self, message: str) -> TrainUpdate:
        return TrainUpdate("data", 0, 0, message=message)
