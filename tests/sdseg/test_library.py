"""The user's own models: in, out, renamed, deleted; and the hub, played by a server on this machine."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sdseg import Card, hub, library, list_models
from sdseg.errors import Cancelled, InputError, ModelFormatError, ModelNotFoundError


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    """An empty folder for the user's models."""
    folder = tmp_path / "mine"
    monkeypatch.setenv("SDSEG_MODELS", str(folder))
    return folder


def users():
    return [m.name for m in list_models() if m.origin == "user"]


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def visible(folder):
    return [p.name for p in folder.iterdir() if not p.name.startswith(".")] if folder.exists() else []


def test_a_folder_is_copied_whole_and_without_what_is_not_the_model(random_models, tmp_path, mine):
    source = tmp_path / "source"
    shutil.copytree(random_models / "dots", source)
    (source / "notes.txt").write_text("-")
    (source / "unet" / "evil.py").write_text("-")
    seen = []
    info = library.add(source, report=lambda done, total: seen.append((done, total)))
    assert (info.name, info.origin, info.card.summary) == ("dots", "user", "Dots, for tests.")
    assert files(mine / "dots") == files(random_models / "dots")
    assert seen[-1][0] == seen[-1][1] == library.size_on_disk(mine / "dots")
    assert library.add(source).name == "dots-2", "a name that is taken gets a number"
    assert Card.read(mine / "dots-2").name == "dots-2"
    assert library.add(source, "spots").card.name == "spots"


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_is_exported_can_be_added(random_models, tmp_path, mine, kind):
    library.add(random_models / "organs")
    target = library.export("organs", tmp_path / ("out.zip" if kind == "zip" else "out"))
    added = library.add(target, "again")
    assert added.card.classes == Card.read(random_models / "organs").classes
    ours, theirs = files(mine / "again"), files(random_models / "organs")
    assert ours.pop("card.json") != theirs.pop("card.json")
    assert ours == theirs
    if kind == "folder":
        with pytest.raises(FileExistsError):
            library.export("organs", target)


def test_the_bundled_model_can_be_exported_and_neither_renamed_nor_deleted(tmp_path):
    assert library.export("nuclei", tmp_path / "n.zip").stat().st_size > 2**20
    for change in (lambda: library.rename("nuclei", "n"), lambda: library.delete("nuclei")):
        with pytest.raises(InputError, match="comes with SDSeg"):
            change()


def test_renaming(random_models, mine):
    library.add(random_models / "dots")
    library.add(random_models / "organs")
    assert library.rename("dots", "spots").card.name == "spots"
    assert users() == ["organs", "spots"]
    assert Card.read(mine / "spots").name == "spots"
    for name, said in (
        ("organs", "already"), ("nuclei", "already"), ("../x", "cannot"), ("", "cannot"),
        (".x", "cannot"), ("a b", "cannot"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            library.rename("spots", name)
    with pytest.raises(InputError, match="no model 'dots'"):
        library.rename("dots", "x")


def test_what_is_deleted_can_be_brought_back_until_the_trash_is_emptied(random_models, mine):
    library.add(random_models / "dots")
    place = library.delete("dots")
    assert users() == []
    assert library.restore(place).name == "dots"
    assert files(mine / "dots") == files(random_models / "dots")
    place = library.delete("dots")
    library.add(random_models / "dots")
    assert library.restore(place).name == "dots-2"
    place = library.delete("dots-2")
    library.empty_trash(older_than=3600)
    assert place.exists()
    library.empty_trash()
    assert not place.exists()
    assert users() == ["dots"]


def test_a_cancelled_copy_leaves_nothing(random_models, mine, tmp_path):
    def stop(done, total):
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        library.add(random_models / "dots", report=stop)
    assert visible(mine) == []
    library.empty_trash()
    assert [p.name for p in mine.rglob("*")] == [".trash"]
    library.add(random_models / "dots")
    for name in ("out", "out.zip"):
        with pytest.raises(Cancelled):
            library.export("dots", tmp_path / name, stop)
        assert not list(tmp_path.glob("*out*"))


def test_what_is_no_model_is_refused_and_leaves_nothing(random_models, tmp_path, mine):
    (tmp_path / "empty").mkdir()
    (tmp_path / "not.zip").write_bytes(b"rubbish")
    broken = tmp_path / "broken"
    shutil.copytree(random_models / "dots", broken)
    index = json.loads((broken / "model_index.json").read_text())
    (broken / "model_index.json").write_text(json.dumps({**index, "unet": ["os", "system"]}))
    two = tmp_path / "two.zip"
    with zipfile.ZipFile(two, "w") as archive:
        for name in ("a/card.json", "b/card.json"):
            archive.writestr(name, "{}")
    for source, error, said in (
        (tmp_path / "empty", ModelNotFoundError, r"no card\.json"),
        (tmp_path / "not.zip", ModelFormatError, "no zip file"),
        (broken, ModelFormatError, "unet must be"),
        (two, ModelFormatError, "2 models"),
    ):
        with pytest.raises(error, match=said):
            library.add(source)
    assert visible(mine) == []


def test_a_zip_cannot_write_outside_its_model(random_models, tmp_path, mine):
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad, "w") as archive:
        for name, content in files(random_models / "dots").items():
            archive.writestr(name, content)
        archive.writestr("../config.json", "{}")
        archive.writestr("../escaped.safetensors", "x")
        archive.writestr("/elsewhere/config.json", "x")
    library.add(bad)
    assert files(mine / "dots") == files(random_models / "dots")
    assert not list(tmp_path.rglob("escaped*"))


def test_a_checkpoint_is_converted(random_models, monkeypatch, mine):
    """The conversion itself has tests of its own."""
    from sdseg import convert, load_model

    def fake(checkpoint, config, *, name, classes):
        assert (checkpoint, config) == ("last.ckpt", "cvc.yaml")
        return load_model(random_models / "dots", device="cpu", precision="float32")

    monkeypatch.setattr(convert, "convert", fake)
    assert library.add_checkpoint("last.ckpt", "cvc.yaml", "polyps").card.name == "polyps"
    assert users() == ["polyps"]


# -- the hub -------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download needs."""

    root, slow, asked = None, threading.Event(), []

    def do_GET(self):
        Hub.asked.append(self.path)
        parts = self.path.split("?")[0].strip("/").split("/")
        if len(parts) < 2:
            self.answer(200, b"", {})
            return
        if parts[0] == "api":
            folder = Hub.root / parts[2] / parts[3]
            listing = [
                {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for n, c in (files(folder) if folder.exists() else {}).items()
            ]
            if not folder.exists():
                self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            elif "tree" in parts:
                self.answer(200, json.dumps(listing).encode())
            else:
                siblings = [{"rfilename": f["path"], "size": f["size"]} for f in listing]
                body = {"id": "/".join(parts[2:4]), "sha": "a" * 40, "siblings": siblings}
                self.answer(200, json.dumps(body).encode())
            return
        repo, path = Hub.root / parts[0] / parts[1], "/".join(parts[4:])
        if not repo.exists():
            self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif not (repo / path).is_file():
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": "a" * 40})
        else:
            content = (repo / path).read_bytes()
            tag = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": "a" * 40}
            self.answer(200, content, tag)

    do_HEAD = do_GET

    def answer(self, code, body, headers=None):
        self.send_response(code)
        for key, value in {"Content-Length": len(body), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch, random_models):
    """The address of a hub that has ``lab/dots`` and ``lab/other``, which is no SDSeg model."""
    import huggingface_hub.constants as constants

    Hub.root, Hub.asked = tmp_path / "served", []
    shutil.copytree(random_models / "dots", Hub.root / "lab" / "dots")
    (Hub.root / "lab" / "dots" / "training.log").write_text("-")
    (Hub.root / "lab" / "other").mkdir()
    (Hub.root / "lab" / "other" / "model.safetensors").write_bytes(b"0" * 1000)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_model_is_downloaded_with_progress_and_kept(served, random_models, tmp_path):
    seen = []
    folder = hub.download("lab/dots", lambda *p: seen.append(p), endpoint=served)
    assert files(folder) == files(random_models / "dots")
    assert max(done for done, _ in seen) == library.size_on_disk(folder) - len(
        (folder / "card.json").read_bytes()
    )
    assert not any("training.log" in path for path in Hub.asked if "resolve" in path)
    shutil.rmtree(Hub.root)
    assert hub.download("lab/dots", endpoint="http://127.0.0.1:9") == folder, "offline, from the cache"


def test_cancelling_a_download(served):
    def stop(done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        hub.download("lab/dots", stop, endpoint=served)


def test_why_a_model_cannot_be_had_is_a_sentence(served):
    with pytest.raises(ModelNotFoundError, match="no public model lab/nothing"):
        hub.download("lab/nothing", endpoint=served)
    with pytest.raises(ModelFormatError, match="no SDSeg model"):
        hub.download("lab/other", endpoint=served)
    assert not any("safetensors" in path for path in Hub.asked), "nothing large was asked for"
    with pytest.raises(ModelNotFoundError, match="Connect to the network and try again"):
        hub.download("lab/elsewhere", endpoint="http://127.0.0.1:9")


def test_a_model_of_the_hub_is_added_under_its_name(served, monkeypatch, mine):
    monkeypatch.setattr(library, "download", lambda n, r: hub.download(n, r, endpoint=served))
    assert library.add_from_hub("lab/dots").name == "dots"
    assert not any(p.is_symlink() for p in (mine / "dots").rglob("*"))
