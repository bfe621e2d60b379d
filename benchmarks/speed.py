"""How long a 256 x 256 plane takes: the networks one by one, and `segment()` as a whole.

    python benchmarks/speed.py [--model nuclei] [--planes 24]

Everything is measured in one run, interleaved, and the median is printed: machines differ and are
busy, ratios hold.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from napari_sdseg import segment
from sdseg import load_model
from sdseg.pipeline import clean_latent


def networks(model: Any, rounds: int, times: dict[str, list[float]]) -> None:
    """Time the three networks on one plane of random pixels."""
    pipe, dtype = model.pipeline, model.choice.dtype
    image = torch.rand(1, 3, 256, 256).to(dtype).contiguous(memory_format=torch.channels_last) * 2 - 1
    side = 256 // pipe.factor
    noisy = torch.randn(1, pipe.latent_channels, side, side)
    for _ in range(rounds):
        with torch.inference_mode():
            marks = [time.perf_counter()]
            condition = pipe.vision_encoder(image)
            marks.append(time.perf_counter())
            both = torch.cat([noisy.to(dtype), condition], 1).contiguous(
                memory_format=torch.channels_last
            )
            output = pipe.unet(both, 999).sample
            marks.append(time.perf_counter())
            alpha = pipe.scheduler.alphas_cumprod[999]
            latent = clean_latent(output, noisy, alpha, pipe.scheduler.config.prediction_type)
            pipe.decode_latents(latent)
            marks.append(time.perf_counter())
        for name, a, b in zip(
            ("vision encoder", "denoiser", "mask decoder"), marks, marks[1:], strict=False
        ):
            times[f"{model.precision} {name}"].append(b - a)
        times[f"{model.precision} networks"].append(marks[-1] - marks[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--planes", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    stack = np.random.default_rng(0).integers(0, 4000, (given.planes, 256, 256)).astype(np.uint16)
    models = [load_model(given.model, device="cpu", precision=p) for p in ("bfloat16", "float32")]
    times: dict[str, list[float]] = defaultdict(list)
    for model in models:  # once for the kernels to be chosen
        networks(model, 3, defaultdict(list))
        segment(stack[:4], model)
    for _ in range(given.rounds):
        for model in models:
            networks(model, 5, times)
            for what, options in (("segment()", {}), ("segment(instances=True)", {"instances": True})):
                started = time.perf_counter()
                segment(stack, model, **options)
                times[f"{model.precision} {what}"].append((time.perf_counter() - started) / len(stack))
    table = Table("", "median, ms a plane", "fastest")
    for name, values in times.items():
        table.add_row(name, f"{1e3 * statistics.median(values):.1f}", f"{1e3 * min(values):.1f}")
    console = Console()
    console.print(
        f"{given.planes} planes of 256 x 256, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )
    console.print(table)
    for model in models:
        bare = statistics.median(times[f"{model.precision} networks"])
        whole = statistics.median(times[f"{model.precision} segment()"])
        console.print(
            f"{model.precision}: the engine adds {100 * (whole / bare - 1):.0f} % to the bare networks"
        )


if __name__ == "__main__":
    main()
