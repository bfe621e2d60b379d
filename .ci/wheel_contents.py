"""What a wheel must and must not hold: ``wheel_contents.py WHEEL``."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Folders of the repository, and where a wheel has them.
PLACES = {
    "napari_sdseg": "napari_sdseg",
    "src_core/sdseg": "sdseg",
    "sample_data": "napari_sdseg/_samples",
}
#: Links that an editable install puts there; the wheel has the files themselves.
LINKS = (ROOT / "napari_sdseg" / "_samples", ROOT / "napari_sdseg" / "napari.yaml")

expected = {"napari_sdseg/napari.yaml"}
for source, place in PLACES.items():
    for file in (ROOT / source).rglob("*"):
        linked = any(file == link or link in file.parents for link in LINKS)
        if file.is_file() and not linked and "__pycache__" not in file.parts:
            expected.add(f"{place}/{file.relative_to(ROOT / source).as_posix()}")
with zipfile.ZipFile(sys.argv[1]) as wheel:
    size = sum(info.compress_size for info in wheel.infolist())
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    page = wheel.read(metadata).decode("utf-8")

missing, unwanted = sorted(expected - held), sorted(held - expected)
print(f"{Path(sys.argv[1]).name}: {len(held)} files, {size / 2**20:.1f} MiB")
if missing or unwanted:
    sys.exit(f"missing: {missing or 'nothing'}; not the package's: {unwanted or 'nothing'}")
# PyPI and the napari hub show the README away from its repository.
relative = [link for link in re.findall(r"\]\(([^)\s]+)\)", page) if not link.startswith(("http", "#"))]
if relative or "](https://" not in page:
    sys.exit(f"links that lead nowhere on a package's page: {relative or 'there is no page'}")
