"""A folder of images, one after another, with a report that survives being stopped."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._console import console, progress
from ._job import beside, found_text

if TYPE_CHECKING:
    from rich.progress import TaskID

    from ._job import Job

__all__ = ["REPORT", "segment_folder"]

REPORT = "report.json"


def segment_folder(
    folder: Path, out: Path, job: Job, suffix: str | None = None, *, overwrite: bool = False
) -> int:
    """Segment every image of a folder.

    An image whose labels file is there is finished: files appear whole or not at all. The report is
    written anew after every image.

    Parameters
    ----------
    folder, out
        Where the images are, and where labels and report go.
    suffix
        Of the labels files; None: after the images'.

    Returns
    -------
    int
        How many images failed.

    Raises
    ------
    InputError
        If there is no image, or ``out`` holds labels made with other settings.
    """
    from rich.table import Table

    from sdseg import files
    from sdseg.errors import InputError, SDSegError

    images = files.images_in(folder)
    if out.is_dir() and out.samefile(folder):  # labels of an earlier run are no images
        ours = {
            beside(image, ndim, suffix=suffix, whole=whole).name
            for image in images
            for ndim in (2, 3)
            for whole in (True, False)
        }
        images = [image for image in images if image.name not in ours]
    if not images:
        raise InputError(f"{folder} holds no image; {', '.join(files.SUFFIXES)} can be read")
    if out.exists() and not out.is_dir():
        raise InputError(
            f"--out: {out} is a file; name a folder for the labels of {len(images)} images"
        )
    report = _Report(out, job)
    report.check(overwrite)
    stems = Counter(_stem(image) for image in images)
    failed = 0
    with progress("") as bars:
        all_files = bars.add_task("files", total=len(images))
        for image in images:
            entry: dict[str, Any] = {"image": image.name}
            task = bars.add_task(image.name, total=None)

            def name(ndim: int, image: Path = image) -> Path:
                whole = stems[_stem(image)] > 1
                return beside(image, ndim, folder=out, suffix=suffix, whole=whole)

            def tell(done: int, total: int, task: TaskID = task) -> None:
                bars.update(task, completed=done, total=total)

            there = None if overwrite else _finished(name)
            try:
                if there is not None:
                    report.add({**entry, "labels": there.name, "status": "skipped"})
                    continue
                path, outcome = job(image, name, tell, overwrite=overwrite)
                entry |= {
                    "labels": path.name,
                    "status": "done",
                    "planes": outcome.planes,
                    "seconds": round(outcome.seconds, 3),
                    "found": outcome.found,
                    "note": outcome.note,
                }
            except (SDSegError, OSError, ValueError, MemoryError) as error:
                failed += 1
                said = " ".join(str(error).split()) or type(error).__name__
                entry |= {"status": "failed", "error": said}
                console.print(f"failed: {image.name}: {said}", style="red", soft_wrap=True)
            finally:
                bars.remove_task(task)
                bars.advance(all_files)
            report.add(entry)

    table = Table("image", "", "planes", "s", "found or failed", title=str(out))
    entries = [report.entries[image.name] for image in images]
    for entry in entries:
        found = entry.get("error") or found_text(entry.get("found", {}))
        table.add_row(
            entry["image"], entry["status"], str(entry.get("planes", "")),
            f"{entry['seconds']:.1f}" if "seconds" in entry else "", found,
        )  # fmt: skip
    console.print(table)
    counts = Counter(entry["status"] for entry in entries)
    words = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
    console.print(f"{len(images)} images: {words}. Report: {report.path}", soft_wrap=True)
    return failed


def _stem(image: Path) -> str:
    from sdseg.files import suffix_of

    suffix = suffix_of(image)
    return image.name[: -len(suffix)] if suffix else image.name


def _finished(name: Any) -> Path | None:
    """Return the labels file if it is there; its format may depend on how many axes there are."""
    for ndim in (2, 3):
        path: Path = name(ndim)
        if path.exists():
            return path
    return None


class _Report:
    """What became of every image, in a JSON file that is always whole."""

    def __init__(self, out: Path, job: Job) -> None:
        self.path = out / REPORT
        card = job.model.card
        self.head: dict[str, dict[str, Any]] = {
            "model": {"name": card.name, "version": card.version},
            "settings": job.settings.told(),
        }
        self.entries: dict[str, dict[str, Any]] = {}

    def check(self, overwrite: bool) -> None:
        """Read the report of an earlier run, and refuse to mix its labels with other ones."""
        from sdseg.errors import InputError

        if not self.path.exists() or overwrite:
            return
        try:
            old = json.loads(self.path.read_text(encoding="utf-8"))
            entries = {entry["image"]: entry for entry in old["files"]}
            settings, model = old["settings"], old["model"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.path} is not a report of this program; name another folder for --out"
            ) from error
        changed = [k for k, v in self.head["settings"].items() if settings.get(k) != v]
        if model != self.head["model"] and "model" not in changed:
            changed.append("model")
        if changed and any(entry["status"] != "failed" for entry in entries.values()):
            raise InputError(
                f"{self.path.parent} holds labels made with another {', '.join(changed)}; name another "
                "folder for --out, or do all again with --overwrite"
            )
        self.entries = entries

    def add(self, entry: dict[str, Any]) -> None:
        """Note what became of an image; what is known of a skipped one is kept."""
        from napari_sdseg import __version__

        if entry["status"] == "skipped":
            known = self.entries.get(entry["image"], {})
            if known.get("status") in ("done", "skipped"):
                entry = {**known, **entry}
        self.entries[entry["image"]] = entry
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        values = {
            "software": f"napari-sdseg {__version__}",
            **self.head,
            "files": list(self.entries.values()),
        }
        text = json.dumps(values, indent=2)
        try:
            fresh.write_text(text + "\n", encoding="utf-8")
            os.replace(fresh, self.path)
        finally:
            fresh.unlink(missing_ok=True)
