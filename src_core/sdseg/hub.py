"""Models on the Hugging Face hub: downloaded with progress, or said in a sentence why not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .card import CARD_FILE
from .errors import Cancelled, ModelFormatError, ModelNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FILES", "download", "is_hub_id"]

#: The files that make a model; nothing else is fetched or copied.
FILES = (CARD_FILE, "model_index.json", "*/config.json", "scheduler/*.json", "*/*.safetensors")

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_id(name: str) -> bool:
    """Say whether a text has the form ``owner/name``."""
    return _HUB_ID.fullmatch(name) is not None


def download(
    name: str, report: Callable[[int, int], None] | None = None, *, endpoint: str | None = None
) -> Path:
    """Fetch a model into the hub's own cache; what is there already is not fetched again.

    Parameters
    ----------
    name
        ``owner/name``.
    report
        Called with the bytes that are here and the bytes there are, from several threads. It may
        raise `Cancelled`, which ends the download; what is complete is kept for the next time.
    endpoint
        Another hub than the public one.

    Returns
    -------
    Path
        The model's folder in the cache.

    Raises
    ------
    Cancelled
        If ``report`` asked to stop.
    ModelFormatError
        If it is there and no model of this kind; nothing but its card was asked for then.
    ModelNotFoundError
        If there is no such model, or the hub cannot be reached and the cache has no copy.
    """
    from huggingface_hub import errors, hf_hub_download, snapshot_download

    offline = not _answers(endpoint)
    try:
        # The card first: any other repository may be a hundred gigabytes of somebody else's.
        hf_hub_download(name, CARD_FILE, endpoint=endpoint, local_files_only=offline)
        return Path(
            snapshot_download(
                name,
                allow_patterns=list(FILES),
                tqdm_class=_bars(report) if report else None,
                endpoint=endpoint,
                local_files_only=offline,
            )
        )
    except Cancelled:
        raise
    except errors.LocalEntryNotFoundError as error:  # an EntryNotFoundError too, so it comes first
        raise _unreachable(name, error, offline=offline) from error
    except errors.EntryNotFoundError as error:
        raise ModelFormatError(
            f"model: {name} is on the hub and holds no {CARD_FILE}, so it is no SDSeg model"
        ) from error
    except errors.GatedRepoError as error:
        raise ModelNotFoundError(
            f"model: {name} is shared on request only; ask for access on its page, log in with "
            "'hf auth login' and try again"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotFoundError(
            f"model: the hub has no public model {name}; check the spelling, or log in with "
            "'hf auth login' if it is private"
        ) from error
    except errors.HFValidationError as error:
        raise ModelNotFoundError(f"model: {name!r} is no hub id; give owner/name") from error
    # Offline is said by each layer of the network in its own way; the hub's client lets them through.
    except Exception as error:
        if isinstance(error.__cause__, Cancelled) or isinstance(error.__context__, Cancelled):
            raise Cancelled("stopped") from error
        raise _unreachable(name, error, offline=offline) from error


def _answers(endpoint: str | None) -> bool:
    """Ask the hub for a sign of life; its client would try for half a minute to find out."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(endpoint or constants.ENDPOINT, timeout=10)
    except Exception:  # noqa: BLE001 - requests has its own errors for it and httpx others
        return False
    return True


def _unreachable(name: str, error: Exception, *, offline: bool) -> ModelNotFoundError:
    why = "the hub could not be reached" if offline else f"the hub failed ({type(error).__name__})"
    return ModelNotFoundError(
        f"model: {name} is not on this machine and {why}. Connect to the network and try again; "
        "offline, give the folder of a downloaded copy"
    )


def _bars(report: Callable[[int, int], None]) -> type:
    """Make a class of progress bars that draw nothing and report bytes.

    The client opens a bar for what comes over the network and one for what is written, and one that
    counts files; the fullest of those that count bytes is what a person wants to know.
    """
    from tqdm.auto import tqdm

    counting: list[Any] = []

    class Bar(tqdm):  # type: ignore[type-arg,misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)  # the client's own; tqdm refuses it
            super().__init__(*args, **{**kwargs, "disable": True})
            self.total = kwargs.get("total")
            if kwargs.get("unit") == "B":
                counting.append(self)

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            if self in counting:
                fullest = max(counting, key=lambda bar: bar.n)
                report(int(fullest.n), int(fullest.total or 0))
            return None

        def __hash__(self) -> int:
            return id(self)

    return Bar
