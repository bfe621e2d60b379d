"""Converted checkpoints against the published implementation's own outputs.

    python benchmarks/reference.py FOLDER

For every NAME.ckpt of the folder, with NAME.yaml and NAME_expected.safetensors beside it: the largest
difference of every quantity, of the averaged and of the raw weights, right after converting and after
saving and loading. The exit code is not 0 if one is above its limit.

The column "own rounding" is how far the converted networks in float32 are from the same networks in
float64: where it is large, agreement is not a matter of the right formula but of the same operations
in the same order (`sdseg.models.published`), on a processor and with a number of threads that sum in
the same order too. It decides nothing.

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

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from sdseg import SDSegPipeline
from sdseg.convert import convert
from sdseg.schedule import clean_latent, signal_and_noise
from sdseg.training.losses import latent_losses

#: Largest difference allowed. The clean latent, and so the decoded mask, multiply errors by 38.7.
ABSOLUTE, MULTIPLIED, RELATIVE = 1e-4, 5e-3, 1e-4


def limit(quantity: str) -> float:
    """Return how far a quantity may be off; losses are compared relative to their value."""
    last = quantity.rsplit(".", 1)[-1]
    return MULTIPLIED if last in ("x0_T", "decoded") else RELATIVE if "loss" in last else ABSOLUTE


def timesteps(pipeline: SDSegPipeline, expected: dict[str, torch.Tensor], which: str) -> torch.Tensor:
    """Tell the timestep of each sample: the losses' ratio is its sqrt((1 - a) / a)."""
    ratio = expected[f"{which}loss_latent"] / expected[f"{which}loss_noise"]
    a = pipeline.scheduler.alphas_cumprod.float()
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
    signal, rest = signal_and_noise(alphas[t])
    truth = posterior.mean * pipeline.vae.config.scaling_factor
    noisy = signal * truth + rest * noise
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


@torch.inference_mode()
def double_eps(
    pipeline: SDSegPipeline, expected: dict[str, torch.Tensor], weights: str
) -> dict[str, float]:
    """Return how far float32 is from float64 at the last timestep, same weights and same inputs."""
    both = torch.cat([expected["noise"], expected["condition_latent"]], dim=1)
    last = len(pipeline.scheduler.alphas_cumprod) - 1
    found = {}
    for name in sorted(k for k in expected if k.startswith(weights) and k.endswith("eps_T")):
        labels = None
        if "class" in name:
            number = int(name.split("class")[1].split(".")[0])
            labels = torch.full((len(both),), number)
        said = []
        for dtype in (torch.float64, torch.float32):
            torch.nn.Module.to(pipeline.unet, dtype)
            said.append(pipeline.unet(both.to(dtype), last, class_labels=labels).sample.double())
        found[name] = float((said[0] - said[1]).abs().max())
    return found


def compare(checkpoint: Path, table: Table) -> bool:
    """Fill a table for one checkpoint; say whether everything is within its limit."""
    expected = load_file(checkpoint.with_name(f"{checkpoint.stem}_expected.safetensors"))
    good, seen = True, set()
    for weights in ("ema", "raw"):
        model = convert(checkpoint, checkpoint.with_suffix(".yaml"), raw=weights == "raw")
        before = differences(model.pipeline, expected, weights)
        with tempfile.TemporaryDirectory() as place:
            again = SDSegPipeline.from_pretrained(model.save(Path(place) / "model"))
            after = differences(again, expected, weights)
        exact = double_eps(model.pipeline, expected, weights)
        for name, value in before.items():
            fits = max(value, after[name]) <= limit(name)
            good, seen = good and fits, seen | {name}
            if not name.startswith(weights):
                name = f"{name} ({weights})"
            plain = name.split(" (")[0]
            table.add_row(
                checkpoint.stem, name, f"{value:.1e}", f"{after[plain]:.1e}", f"{limit(plain):.0e}",
                "yes" if fits else "NO", f"{exact[plain]:.1e}" if plain in exact else "",
            )  # fmt: skip
    left = set(expected) - seen - {"image", "mask", "noise"}
    for name in sorted(left):
        table.add_row(checkpoint.stem, name, "", "", "", "not compared")
    return good and not left


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, help="with NAME.ckpt, NAME.yaml, NAME_expected.safetensors"
    )
    folder = parser.parse_args().folder
    checkpoints = sorted(folder.glob("*.ckpt"))
    if not checkpoints:
        sys.exit(f"no *.ckpt in {folder}")
    table = Table(
        "checkpoint", "quantity", "converted", "saved and loaded", "limit", "within", "own rounding"
    )
    good = True
    for checkpoint in checkpoints:
        good = compare(checkpoint, table) and good
    Console(width=110).print(table)
    print("everything is within its limit" if good else "NOT within the limits")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
