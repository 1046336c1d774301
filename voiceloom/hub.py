"""Published models by name: `owner/name` at Hugging Face, or `owner/name@revision`.

What has been fetched once is used from then on, offline and at the same commit: a model does not
change below a service because somebody uploaded another. A revision (commit, tag, branch) after @
asks for that one. Before the first use the licence is shown.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

WANTED = ("*.json", "*.safetensors")
"""Nothing else is fetched: pickles and code can run anything."""

_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w./-]+))?")


class HubError(ValueError):
    """A model that cannot be had by its name; says why, and what to do."""


def folder(name: str | os.PathLike) -> Path:
    """The folder of a model: `name` itself if there is one, else a copy of what the hub has.

    Raises:
        HubError: Neither a folder nor a name, or it cannot be fetched.
    """
    there = Path(name)
    if there.exists() or not isinstance(name, str):
        return there
    found = _NAME.fullmatch(name)
    if not found:
        raise HubError(f"{name}: no such folder, and not a name like kyutai/mimi")
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise HubError(
            f"{name}: no such folder; to fetch it by name: pip install 'voiceloom[hub]'"
        ) from error
    which: dict[str, Any] = {"repo_id": found["repo"], "revision": found["revision"]}
    try:
        return _snapshot(huggingface_hub, which, local_files_only=True)
    except (errors.LocalEntryNotFoundError, errors.IncompleteSnapshotError):
        pass
    try:
        _show_licence(huggingface_hub, which)
        return _snapshot(huggingface_hub, which)
    except errors.GatedRepoError as error:
        raise HubError(
            f"{name}: its owners want their terms accepted first, at https://huggingface.co/"
            f"{found['repo']}; then `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{name}: there is no such revision") from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(f"{name}: no such folder, and the hub knows no such model") from error
    except Exception as error:  # whatever its network library of the year raises
        raise HubError(
            f"{name}: no such folder, and the hub cannot be reached ({error}); fetch the model "
            "where there is a network, and give its folder"
        ) from error


def _snapshot(hub: Any, which: dict[str, Any], **how: Any) -> Path:
    return Path(hub.snapshot_download(**which, allow_patterns=list(WANTED), **how))


def _show_licence(hub: Any, which: dict[str, Any]) -> None:
    info = hub.HfApi().model_info(**which)
    card = info.card_data
    licence = card.license if card and card.license else "not stated"
    print(
        f"{which['repo_id']} (commit {info.sha}), licence: {licence}; "
        f"https://huggingface.co/{which['repo_id']}",
        file=sys.stderr,
    )
