"""Give an editable install the files that a wheel carries inside the package.

The manifest and the sample data lie at the top level of the repository. A wheel holds them inside
``napari_sdseg`` (``force-include`` in pyproject.toml), where npe2 and the sample providers look for
them. For an editable install the same two places are links to the top level, so that an edit of
``napari.yaml`` counts at once. Where links are not allowed (Windows without developer mode) they are
copies, made anew by every install.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LINKS = {"napari.yaml": "napari_sdseg/napari.yaml", "sample_data": "napari_sdseg/_samples"}


class Links(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            return
        for source, place in LINKS.items():
            target, link = Path(self.root, source), Path(self.root, place)
            if link.is_symlink() or link.is_file():
                link.unlink()
            elif link.is_dir():
                shutil.rmtree(link)
            try:
                link.symlink_to(os.path.relpath(target, link.parent), target.is_dir())
            except OSError:
                (shutil.copytree if target.is_dir() else shutil.copyfile)(target, link)
