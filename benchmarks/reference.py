"""Converted checkpoints against the published implementation's own outputs.

    python benchmarks/reference.py FOLDER

For every NAME.ckpt of the folder, with NAME.yaml and NAME_expected.safetensors beside it: the largest
difference of every quantity, of the averaged and of the raw weights, right after converting and after
saving and loading. The exit code is not 0 if one is above its limit.

What the files hold: an image, a mask, one noise, and of the published implementation the condition
latent, the mask latent's mean and log variance, the noise estimate at the last timestep (eps_T), the
clean latent it implies (x0_T), the mask decoded from that; the noised mask latent (x_t), the noise
estimate for it (eps_t) and both losses, at a timestep a sample that the two losses' ratio tells.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from sdseg import load_model
from sdseg.convert import convert
from sdseg.pipeline import clean_latent
from sdseg.training.losses import latent_losses

if TYPE_CHECKING:
    from sdseg import SDSegPipeline

#: Largest difference allowed. The clean latent, and so the decoded mask, multiply errors by 38.7.
ABSOLUTE, MULTIPLIED, RELATIVE = 1e-4, 5e-3, 1e-4


def limit(quantity: str) -> float:
    """Return how far a quantity may be off; losses are compared relative to their value."""
    last = quantity.rsplit(".", 1)[-1]
    return MULTIPLIED if last in ("x0_T", "decoded") else RELATIVE if "loss" in last else ABSOLUTE


def timesteps(pipeline: SDSegPipeline, expected: dict[str, torch.Tensor], which: str) -> torch.Tensor:
    """Tell the timestep of each sample: the latent loss over the noise loss is its sqrt((1 - a) / a)."""
    ratio = expected[f"{which}loss_latent"] / expected[f"{which}loss_noise"]
    a = pipeline.scheduler.alphas_cumprod
    weights = ((1 - a) / a).sqrt()
    return (weights[None] - ratio[:, None]).abs().argmin(dim=1)


@torch.inference_mode()
def quantities(
    pipeline: SDSegPipeline, expected: dict[str, torch.Tensor], which: str
) -> dict[str, torch.Tensor]:
    """Compute everything that is expected of one kind of weights and one class (or no class)."""
    image, mask, noise = expected["image"], expected["mask"], expected["noise"]
    kind = pipeline.scheduler.config.prediction_type
    condition = pipeline.vision_encoder(image)
    posterior = pipeline.vae.encode(mask).latent_dist
    found = {
        "condition_latent": condition,
        "mask_latent_mean": posterior.mean,
        "mask_latent_logvar": posterior.logvar,
    }
    labels = None
    if "class" in which:
        number = int(which.split("class")[1].rstrip("."))
        labels = torch.full((len(image),), number)

    def said(noisy: torch.Tensor, t: torch.Tensor | int) -> torch.Tensor:
        both = torch.cat([noisy, condition], dim=1)
        output: torch.Tensor = pipeline.unet(both, t, class_labels=labels).sample
        return output

    alphas = pipeline.scheduler.alphas_cumprod
    last = len(alphas) - 1
    eps = said(noise, last)
    clean = clean_latent(eps, noise, alphas[last], kind)
    t = timesteps(pipeline, expected, which)
    a = alphas[t].reshape(-1, 1, 1, 1)
    truth = posterior.mean * pipeline.vae.config.scaling_factor
    noisy = a.sqrt() * truth + (1 - a).sqrt() * noise
    eps_t = said(noisy, t)
    losses = latent_losses(truth, clean_latent(eps_t, noisy, alphas[t], kind), alphas[t])
    parts = {
        "eps_T": eps,
        "x0_T": clean,
        "decoded": pipeline.vae.decode(clean / pipeline.vae.config.scaling_factor).sample,
        "x_t": noisy,
        "eps_t": eps_t,
        "loss_noise": losses[0],
        "loss_latent": losses[1],
    }
    return found | {which + name: value for name, value in parts.items()}


def differences(
    pipeline: SDSegPipeline, expected: dict[str, torch.Tensor], weights: str
) -> dict[str, float]:
    """Return the largest difference of every quantity of one kind of weights (``ema``, ``raw``)."""
    prefixes = {k.rsplit(".", 1)[0] + "." for k in expected if k.startswith(f"{weights}.")}
    worst: dict[str, float] = {}
    for which in sorted(prefixes):
        for name, value in quantities(pipeline, expected, which).items():
            off = (value - expected[name]).abs()
            if "loss" in name:
                off = off / expected[name].abs()
            worst[name] = float(off.max())
    return worst


def compare(checkpoint: Path, table: Table) -> bool:
    """Fill a table for one checkpoint; say whether everything is within its limit."""
    expected = load_file(checkpoint.with_name(f"{checkpoint.stem}_expected.safetensors"))
    good, seen = True, set()
    for weights in ("ema", "raw"):
        model = convert(checkpoint, checkpoint.with_suffix(".yaml"), raw=weights == "raw")
        before = differences(model.pipeline, expected, weights)
        with tempfile.TemporaryDirectory() as place:
            again = load_model(model.save(Path(place) / "model"), device="cpu", precision="float32")
            after = differences(again.pipeline, expected, weights)
        for name, value in before.items():
            fits = max(value, after[name]) <= limit(name)
            good, seen = good and fits, seen | {name}
            if not name.startswith(weights):
                name = f"{name} ({weights})"
            plain = name.split(" (")[0]
            table.add_row(
                checkpoint.stem, name, f"{value:.1e}", f"{after[plain]:.1e}", f"{limit(plain):.0e}",
                "yes" if fits else "NO",
            )  # fmt: skip
    left = set(expected) - seen - {"image", "mask", "noise"}
    for name in sorted(left):
        table.add_row(checkpoint.stem, name, "", "", "", "not compared")
    return good and not left


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with NAME.ckpt, NAME.yaml, NAME_expected.safetensors")
    folder = parser.parse_args().folder
    checkpoints = sorted(folder.glob("*.ckpt"))
    if not checkpoints:
        sys.exit(f"no *.ckpt in {folder}")
    table = Table("checkpoint", "quantity", "converted", "saved and loaded", "limit", "within")
    good = all([compare(checkpoint, table) for checkpoint in checkpoints])
    Console().print(table)
    print("everything is within its limit" if good else "NOT within the limits")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
