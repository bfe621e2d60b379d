"""`python -m napari_sdseg.cli`, which `accelerate launch -m` needs."""

from __future__ import annotations

from . import main

if __name__ == "__main__":
    main()
