from __future__ import annotations

import statistics
import subprocess
import sys
import time

HEAVY = "{'torch', 'diffusers', 'napari', 'qtpy', 'magicgui', 'monai', 'skimage', 'dask'}"


def test_importing_costs_nothing_heavy():
    code = f"import sys, napari_sdseg, sdseg; assert not {HEAVY} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_listing_models_needs_no_torch():
    code = f"import sys, sdseg; sdseg.list_models(); assert not {HEAVY} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_takes_under_three_tenths_of_a_second():
    def seconds(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - started

    # Interleaved, so that a busy machine slows both alike.
    pairs = [(seconds("import napari_sdseg"), seconds("import numpy")) for _ in range(5)]
    assert statistics.median(a - b for a, b in pairs) < 0.3


def test_the_public_face():
    import napari_sdseg

    assert set(napari_sdseg.__all__) == {"__version__", "finetune", "segment"}
    assert callable(napari_sdseg.segment)
    assert napari_sdseg.__version__[0].isdigit()
