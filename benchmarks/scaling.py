"""What a large volume costs: measured figures of this machine, and what follows from them.

    python benchmarks/scaling.py [--device cpu] [--terabytes 10] [--side 2048] [--tile-ms 1 2 5]

Measured: a tile through the networks, a plane through the engine, labels packed, joined and
renumbered, and what dask adds with two local workers. What is compared is measured in turns, and the
least of several repetitions is printed: what else runs on a machine only adds. The last table is
arithmetic, and says from which tile time.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from sdseg import Model, load_model, tiles
from sdseg.cluster import connect, segment_slabs
from sdseg.cluster.slabs import Packed
from sdseg.devices import default_batch_size
from sdseg.instances import drop_sizes, find
from sdseg.linking import match
from sdseg.masks import channel_count
from sdseg.stack import plan, segment_planes

if TYPE_CHECKING:
    from collections.abc import Callable

console = Console(width=110)


def least(rounds: int, **works: Callable[[], Any]) -> dict[str, float]:
    """Return the milliseconds of the fastest round of each, in turns, after one to warm up."""
    best = dict.fromkeys(works, math.inf)
    for number in range(rounds + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if number:
                best[name] = min(best[name], 1e3 * (time.perf_counter() - started))
    return best


def nuclei(planes: int, side: int) -> np.ndarray:
    """Return (planes, side, side) uint16: bright balls, cut plane by plane."""
    rng = np.random.default_rng(0)
    image = rng.normal(300, 40, (planes, side, side))
    count = max(1, side * side // 1400)
    for y, x, z, radius in zip(
        *rng.uniform(0, side, (2, count)),
        rng.uniform(-15, 15 + planes, count),
        rng.uniform(7, 15, count),
        strict=True,
    ):
        for number in range(planes):
            across = radius**2 - (number - z) ** 2
            if across <= 4:
                continue
            low_y, low_x = max(0, int(y - radius)), max(0, int(x - radius))
            part = image[number, low_y : int(y + radius) + 2, low_x : int(x + radius) + 2]
            yy, xx = np.ogrid[low_y : low_y + part.shape[0], low_x : low_x + part.shape[1]]
            part[(yy - y) ** 2 + (xx - x) ** 2 < across] += 600
    return np.clip(image, 0, 65535).astype(np.uint16)


def engine(model: Model, image: np.ndarray, rounds: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Print what a tile and a plane take; return ms of a tile, objects, and a plane's probability."""
    pipe, work = model.pipeline, plan(image.shape, image.dtype, model.card, axis=0)
    count = len(layout(model, image.shape[1:]).starts)
    batch = default_batch_size(model.device, 256)
    images = torch.rand(batch, 3, 256, 256) * 2 - 1
    noise = torch.randn(batch, 1, pipe.latent_channels, 256 // pipe.factor, 256 // pipe.factor)
    objects = np.zeros(image.shape, np.uint32)
    probability = np.zeros((channel_count(model.card), *image.shape[1:]), np.float32)

    def batch_of_tiles() -> None:
        pipe(images, noise=noise, samples=1, steps=1).probability.cpu()

    def planes(instances: bool) -> None:
        for done in segment_planes(image, model, work, instances=instances):
            if instances:
                objects[done.index] = done.labels
            probability[:] = done.probability

    with FlopCounterMode(display=False) as counted:
        batch_of_tiles()
    flops, tile = counted.get_total_flops() / batch, math.inf
    taken = {"class ids": math.inf, "objects": math.inf}
    for _ in range(rounds):
        tile = min(tile, least(20, tiles=batch_of_tiles)["tiles"] / batch)
        for name in taken:
            started = time.perf_counter()
            planes(name == "objects")
            ms = 1e3 * (time.perf_counter() - started) / len(image)
            taken[name] = min(taken[name], ms)
    console.print(
        f"a tile of 256 x 256: {tile:.2f} ms, {flops / 1e9:.1f} GFLOP (a multiplication and an "
        f"addition are 2), {flops / tile / 1e9:.3f} TFLOP/s"
    )
    table = Table(f"a plane of {image.shape[1]} x {image.shape[2]}, {count} tiles", "ms", "ms a tile")
    table.add_row("networks alone", f"{count * tile:.0f}", f"{tile:.2f}")
    for name, ms in taken.items():
        table.add_row(f"engine, {name}", f"{ms:.0f}", f"{ms / count:.2f}")
    console.print(table)
    return tile, objects, probability


def layout(model: Model, shape: tuple[int, ...]) -> tiles.Layout:
    """Return how planes are cut."""
    pipe = model.pipeline
    return tiles.layout((shape[0], shape[1]), model.card, pipe.factor, pipe.multiple)


def labels(model: Model, objects: np.ndarray, probability: np.ndarray, rounds: int) -> float:
    """Print what happens to a plane of objects on its way out; return how far it packs."""
    first, second = objects[0], objects[1]
    packed = Packed.of(first)
    lookup = np.arange(first.max() + 1, dtype=np.uint32)
    table = Table(f"labels, a plane of {len(np.unique(first)) - 1} objects", "ms")
    works = {
        "objects found in the probabilities, on the worker": lambda: find(probability, model.card),
        "packed, on the worker": lambda: Packed.of(first),
        "unpacked and renumbered, in the client": lambda: lookup[packed.open()],
        "matched with the next plane, once a slab": lambda: match(first, second),
        "sizes counted and filtered": lambda: drop_sizes(first.copy(), 20),
    }
    for name, ms in least(3 * rounds, **works).items():
        table.add_row(name, f"{ms:.1f}")
    ratio = first.nbytes / len(packed.data)
    console.print(table, f"packed {ratio:.0f} times: {len(packed.data) / 1e6:.2f} MB a plane")
    return ratio


def _nothing(number: int) -> int:
    return number


def dask_costs(model: Model, rounds: int) -> None:
    """Print what dask adds, and what two workers on this machine's cores gain or lose."""
    image = nuclei(24, 256)
    work = plan(image.shape, image.dtype, model.card, axis=0)
    here = torch.get_num_threads()
    wanted = [d.labels for d in segment_planes(image, model, work, instances=True)]
    with connect(workers=2) as client:

        def through(threads: int | None) -> list[np.ndarray]:
            found = segment_slabs(image, model, work, client, instances=True, slab=4, threads=threads)
            return [plane for _, plane in found]

        works = {
            f"this process, {here} threads": lambda: list(
                segment_planes(image, model, work, instances=True)
            ),
            f"2 workers of {here} threads": lambda: through(None),
            "2 workers of 1 thread": lambda: through(1),
        }
        table = Table(f"{len(image)} planes of 256 x 256, objects", "ms a plane")
        for name, ms in least(rounds, **works).items():
            table.add_row(name, f"{ms / len(image):.1f}")
        console.print(table)
        same = all(np.array_equal(a, b) for a, b in zip(wanted, through(None), strict=True))
        other = zip(wanted, through(1), strict=True)
        differ = sum(int(((a > 0) != (b > 0)).sum()) for a, b in other)
        console.print(
            f"with {here} threads equal to this process: {same}; with 1 thread {differ} of "
            f"{image.size} pixels of the foreground differ"
        )

        def tasks() -> None:
            client.gather([client.submit(_nothing, i, pure=False) for i in range(200)])

        each = least(rounds, tasks=tasks)["tasks"] / 200
        console.print(f"scheduler: {each:.2f} ms a task that does nothing")


def costs(
    tile_ms: list[tuple[str, float]], count: int, side: int, terabytes: float, ratio: float
) -> None:
    """Print what a volume costs, by arithmetic alone."""
    plane = 2 * side * side
    planes = math.ceil(terabytes * 1e12 / plane)
    console.print(
        f"\n{terabytes:g} TB of 16 bit are {planes:,} planes of {side} x {side}, "
        f"{count} tiles each: {planes * count:,} tiles; objects {2 * terabytes:g} TB as uint32, "
        f"{2 * terabytes / ratio:.2f} TB packed as above."
    )
    table = Table("ms a tile", "device-hours", "N", "hours", "read MB/s", "objects MB/s", "packed MB/s")
    for name, ms in tile_ms:
        seconds = planes * count * ms / 1e3
        for n in (1, 8, 64):
            rate = n * planes * plane / seconds / 1e6
            table.add_row(
                name if n == 1 else "", f"{seconds / 3600:,.0f}" if n == 1 else "", str(n),
                f"{seconds / n / 3600:,.1f}", f"{rate:,.1f}", f"{2 * rate:,.1f}",
                f"{2 * rate / ratio:,.2f}",
            )  # fmt: skip
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--device", default=None)
    parser.add_argument("--precision", default=None)
    parser.add_argument("--terabytes", type=float, default=10)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tile-ms", type=float, nargs="*", default=[0.5, 1, 2, 5])
    given = parser.parse_args()
    model = load_model(given.model, device=given.device, precision=given.precision)
    console.print(
        f"{model.device_note} torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    count = len(layout(model, (given.side, given.side)).starts)
    tile_ms, *planes = engine(model, nuclei(2, given.side), given.rounds)
    ratio = labels(model, *planes, given.rounds)
    dask_costs(model, given.rounds)
    supposed = [(f"{ms:g} (supposed)", ms) for ms in given.tile_ms]
    costs(
        [(f"{tile_ms:.2f} (measured)", tile_ms), *supposed], count, given.side, given.terabytes, ratio
    )


if __name__ == "__main__":
    main()
