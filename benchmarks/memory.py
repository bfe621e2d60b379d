"""Peak memory of segmenting few and many planes of a lazy stack.

    python benchmarks/memory.py [--planes 100 2000] [--side 256] [--model nuclei]

Each count runs in a process of its own: planes are made as they are read (a dask array), labels go
into a zarr array on disk. What is printed is the process's peak resident memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measure(count: int, side: int, model: str, instances: bool) -> None:
    """Segment a stack of ``count`` planes and print this process's peak memory in MiB."""
    import resource

    import dask.array as da
    import zarr

    from napari_sdseg import segment

    shape, chunk = (count, side, side), (1, side, side)
    stack = da.random.default_rng(0).integers(0, 4000, shape, chunks=chunk).astype("uint16")
    with tempfile.TemporaryDirectory() as folder:
        out = zarr.create_array(
            Path(folder) / "labels.zarr",
            shape=shape,
            chunks=chunk,
            dtype="uint32" if instances else "uint8",
        )
        segment(stack, model, out=out, instances=instances)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak // (1024 * 1024 if sys.platform == "darwin" else 1024))


def main() -> None:
    """Run both counts and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--planes", type=int, nargs="+", default=[100, 2000])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--instances", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        measure(given.one, given.side, given.model, given.instances)
        return
    peaks = []
    print(f"{'planes':>8} {'peak MiB':>9} {'ms a plane':>11}")
    for count in given.planes:
        words = [sys.executable, __file__, *sys.argv[1:], "--one", str(count)]
        started = time.perf_counter()
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        seconds = time.perf_counter() - started
        peaks.append(int(done.stdout.split()[-1]))
        print(f"{count:>8} {peaks[-1]:>9} {1e3 * seconds / count:>11.0f}", flush=True)
    print(f"growth from {given.planes[0]} to {given.planes[-1]} planes: {peaks[-1] - peaks[0]} MiB")


if __name__ == "__main__":
    main()
