"""The published implementation's modules and this project's, side by side: same weights, same machine.

    python benchmarks/compare_published.py --published DIR [--config YAML] [--planes 3]

DIR is a checkout of the original implementation (github.com/lin-tianyu/Stable-Diffusion-Seg). Its
networks are built at the published size with random weights, written as a checkpoint of its own layout
and converted. Then both segment the same planes from the same noise, interleaved, in float32 (and this
project in the precision it chooses as well). Printed are the median seconds of encoder, denoiser and
decoder, and the Dice coefficient of the two masks. The exit code is not 0 if the float32 masks agree
less than 0.999.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
import types
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Table

from sdseg import load_model
from sdseg.convert import convert
from sdseg.metrics import dice
from sdseg.schedule import clean_latent

STAGES = ("encoder", "denoiser", "decoder")


def published(folder: Path, config: Path) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Build the original's vision encoder, UNet and mask autoencoder with random weights."""
    sys.path.insert(0, str(folder))
    for name in ("einops", "omegaconf", "pytorch_lightning", "taming"):
        try:
            __import__(name)
        except ImportError:  # named by the original's modules, not needed by these
            stub: Any = types.ModuleType(name)
            stub.rearrange = stub.repeat = None
            sys.modules[name] = stub
    from ldm.modules.diffusionmodules.model import Decoder, Encoder  # type: ignore[import-not-found]
    from ldm.modules.diffusionmodules.openaimodel import UNetModel  # type: ignore[import-not-found]

    params = yaml.safe_load(config.read_text(encoding="utf-8"))["model"]["params"]
    first = params["first_stage_config"]["params"]
    sizes, embed = first["ddconfig"], first["embed_dim"]
    torch.manual_seed(0)
    cond = torch.nn.Module()
    settings = params["cond_stage_config"]["params"]
    cond.encoder = Encoder(**{k: v for k, v in settings.items() if k not in ("ckpt_path", "embed_dim")})
    cond.out = torch.nn.Conv2d(2 * sizes["z_channels"], embed, 1)
    auto = torch.nn.Module()
    auto.encoder, auto.decoder = Encoder(**sizes), Decoder(**sizes)
    auto.quant_conv = torch.nn.Conv2d(2 * sizes["z_channels"], 2 * embed, 1)
    auto.post_quant_conv = torch.nn.Conv2d(embed, sizes["z_channels"], 1)
    unet = UNetModel(**params["unet_config"]["params"])
    for name, weight in unet.named_parameters():
        if not weight.any():  # layers that start at zero would hide what comes before them
            torch.nn.init.normal_(weight, std=0.02 if name.endswith("weight") else 0.01)
    return cond.eval(), unet.eval(), auto.eval(), params


def checkpoint(cond: Any, unet: Any, auto: Any, params: dict[str, Any], path: Path) -> None:
    """Write the networks as the original's training does."""
    state = {f"model.diffusion_model.{k}": v for k, v in unet.state_dict().items()}
    state |= {f"first_stage_model.{k}": v for k, v in auto.state_dict().items()}
    state |= {f"cond_stage_model.{k}": v for k, v in cond.state_dict().items()}
    ends = params["linear_start"] ** 0.5, params["linear_end"] ** 0.5
    betas = torch.linspace(*ends, params["timesteps"], dtype=torch.float64) ** 2
    state["betas"] = betas.float()
    state["alphas_cumprod"] = torch.cumprod(1 - betas, 0).float()
    state["scale_factor"] = torch.tensor(1.0)
    torch.save({"state_dict": state}, path)


@torch.inference_mode()
def by_published(
    cond: Any, unet: Any, auto: Any, image: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor
) -> tuple[list[float], torch.Tensor]:
    """Segment a plane with the original's modules; seconds of each stage, and the mask."""
    marks = [time.perf_counter()]
    condition = cond.out(cond.encoder(image))
    marks.append(time.perf_counter())
    eps = unet(torch.cat([noise, condition], 1), torch.full((len(noise),), 999))
    clean = clean_latent(eps, noise, alpha, "epsilon")
    marks.append(time.perf_counter())
    drawn = auto.decoder(auto.post_quant_conv(clean)).mean(1, keepdim=True)
    marks.append(time.perf_counter())
    return [b - a for a, b in itertools.pairwise(marks)], drawn


@torch.inference_mode()
def by_this(pipe: Any, image: torch.Tensor, noise: torch.Tensor) -> tuple[list[float], torch.Tensor]:
    """Segment a plane as the pipeline does; seconds of each stage, and the mask."""
    marks = [time.perf_counter()]
    image = image.to(pipe.vision_encoder.dtype).contiguous(memory_format=torch.channels_last)
    condition = pipe.vision_encoder(image).to(pipe.unet.dtype)
    marks.append(time.perf_counter())
    clean = pipe.denoise(noise, condition)
    marks.append(time.perf_counter())
    drawn = pipe.decode_latents(clean)
    marks.append(time.perf_counter())
    return [b - a for a, b in itertools.pairwise(marks)], drawn.mean(1, keepdim=True)


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, required=True)
    parser.add_argument("--config", type=Path, help="default: its configs/.../cvc-ldm-kl-8.yaml")
    parser.add_argument("--planes", type=int, default=3)
    given = parser.parse_args()
    config = given.config or given.published / "configs" / "latent-diffusion" / "cvc-ldm-kl-8.yaml"
    cond, unet, auto, params = published(given.published, config)
    with tempfile.TemporaryDirectory() as place:
        checkpoint(cond, unet, auto, params, Path(place) / "random.ckpt")
        converted = convert(Path(place) / "random.ckpt", config, raw=True)
        folder = converted.save(Path(place) / "model")
        del converted
        ours = {p: load_model(folder, device="cpu", precision=p) for p in ("float32", "bfloat16")}
    alpha = ours["float32"].pipeline.scheduler.alphas_cumprod[999]
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    agree: dict[str, list[float]] = defaultdict(list)
    generator = torch.Generator().manual_seed(1)
    for plane in range(given.planes + 1):  # the first warms up
        image = torch.rand(1, 3, 256, 256, generator=generator) * 2 - 1
        noise = torch.randn(1, 4, 32, 32, generator=generator)
        seconds, wanted = by_published(cond, unet, auto, image, noise, alpha)
        runs = {"published": seconds}
        for precision, model in ours.items():
            runs[precision], drawn = by_this(model.pipeline, image, noise)
            agree[precision].append(dice((drawn > 0).numpy(), (wanted > 0).numpy()))
        if plane:
            for name, parts in runs.items():
                for stage, value in zip(STAGES, parts, strict=True):
                    times[name, stage].append(value)
                times[name, "plane"].append(sum(parts))
    table = Table("seconds a plane of 256 x 256", *STAGES, "whole", "times faster", "Dice of the masks")
    base = statistics.median(times["published", "plane"])
    for name in ("published", *ours):
        middle = [statistics.median(times[name, s]) for s in (*STAGES, "plane")]
        agreed = f"{min(agree[name]):.5f}" if name in agree else ""
        table.add_row(
            name if name == "published" else f"this project, {name}",
            *(f"{v:.2f}" for v in middle), f"{base / middle[-1]:.2f}", agreed,
        )  # fmt: skip
    Console(width=120).print(table)
    sys.exit(0 if min(agree["float32"]) >= 0.999 else 1)


if __name__ == "__main__":
    main()
