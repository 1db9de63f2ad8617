"""Find a model's folder: on this machine, or fetched from the hub into its cache.

All errors of the hub are handled here: the rest of the package only loads local folders.
`HF_ENDPOINT` (a mirror), the proxy variables, `HF_TOKEN`, `HF_HUB_OFFLINE` and `HF_HOME` are respected, since
huggingface_hub reads them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from engine.data.hub_connection import HubUnreachableError, check_hub
from engine.errors import ModelError
from engine.models.model_files import PICKLED, SAFETENSORS, TOKENIZER, is_folder, missing_weights, student_of_run
from engine.preset.source_names import is_path
from engine.preset.text import plain
from engine.record.files import cause
from engine.record.phases import Report, unreported

SECONDS = 8.0
"""How long the hub may take to answer."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve_revision(model: str, revision: str | None = None) -> str | None:
    """The commit that `revision` (the main branch when None) of a hub model stands for; None for a folder.

    A full commit is returned as it is. When the hub cannot be reached, the commit that its cache holds for the
    revision. Raises `ModelError` when there is no such model or revision, or neither hub nor cache knows.
    """
    if is_path(model):
        return None
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    with _hub_errors(model, revision):
        try:
            check_hub()
            commit: str = HfApi().model_info(model, revision=revision, timeout=SECONDS).sha
        except (HTTPError, OSError) as error:
            cached = None if _is_answer(error) else _cached_folder(model, revision)
            if cached is None:
                raise
            return cached.name
    return commit


def fetch(
    model: str,
    revision: str | None = None,
    *,
    weights: bool = True,
    code: bool = False,
    report: Report = unreported,
) -> Path:
    """The local folder of a model: the folder itself, the student of a run directory, or the hub's files in its cache.

    Weights are fetched as safetensors if there are any, else pickled; `weights=False` leaves them out (for a
    tokenizer), and Python files are fetched only with `code`. `report` is called before each file. Raises `ModelError` when there is no such folder, model or
    revision, the run has no student, or when neither hub nor cache has it.
    """
    if is_path(model):
        folder, name = Path(os.path.expanduser(model)), plain(model)  # noqa: PTH111 - an unknown ~user is no folder
        if is_folder(folder):
            return student_of_run(folder) or folder
        if folder.exists():
            raise ModelError(f"the model {name} is a file, not a folder", kind="model-is-a-file", file=name)
        raise ModelError(f"the model folder {name} does not exist", kind="no-such-folder", file=name)
    report(f"looking for {plain(model)}")
    commit = resolve_revision(model, revision)
    with _hub_errors(model, revision):
        cached = _cached_folder(model, commit)
        if cached is not None and _complete(cached, weights=weights, code=code):
            return cached
        try:
            check_hub()
            listed = HfApi().model_info(model, revision=commit, timeout=SECONDS).siblings or ()
        except (HTTPError, OSError) as error:
            if not _is_answer(error) and cached is not None and (not weights or not missing_weights(cached)):
                return cached  # without a tokenizer: the preset may name another
            raise
        names = needed_files([file.rfilename for file in listed], weights=weights, code=code)
        for name in names[:1]:  # by the revision's own name, so that the cache learns which commit it stands for
            hf_hub_download(model, name, revision=revision)
        paths = []
        for done, name in enumerate(names):
            report(f"downloading {plain(model)}", done, len(names), "files")
            paths.append(Path(hf_hub_download(model, name, revision=commit)))
    if not paths:
        raise ModelError(f"the hub model {plain(model)} has no files of a transformers model", kind="empty-hub-model")
    return paths[0].parent


def check_available(model: str, revision: str | None = None, *, weights: bool = True) -> None:
    """Raise ModelError when neither the hub nor its cache has a model, or there is no such folder; fetches nothing."""
    if is_path(model):
        fetch(model)
        return
    with _hub_errors(model, revision):
        try:
            check_hub()
            HfApi().model_info(model, revision=revision, timeout=SECONDS)
        except (HTTPError, OSError) as error:
            cached = None if _is_answer(error) else _cached_folder(model, revision)
            if cached is None or (weights and missing_weights(cached)):
                raise


def needed_files(names: Sequence[str], *, weights: bool = True, code: bool = False) -> list[str]:
    """The files to fetch of a model repository, the weights last (so that their presence means that all are there)."""
    kinds = (SAFETENSORS, PICKLED) if weights else ()
    heavy = next((kind for kind in kinds if any(_matches(name, kind) for name in names)), ())
    patterns = ("config.json", *TOKENIZER, *(("*.py",) if code else ()), *heavy)
    ranks = {name: [fnmatch(name, pattern) for pattern in patterns] for name in names if _matches(name, patterns)}
    return sorted(ranks, key=lambda name: (ranks[name].index(True), name))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return "/" not in name and any(fnmatch(name, pattern) for pattern in patterns)


def _cached_folder(model: str, revision: str | None) -> Path | None:
    """The cached snapshot of a revision, complete or not; its name is the commit."""
    path = try_to_load_from_cache(model, "config.json", revision=revision)
    return Path(path).parent if isinstance(path, str) else None


def _complete(folder: Path, *, weights: bool, code: bool) -> bool:
    """Whether a cached snapshot has all files that `fetch` would fetch."""
    names = [file.name for file in folder.iterdir()]
    has_code = not code or any(name.endswith(".py") for name in names)
    return any(_matches(name, TOKENIZER) for name in names) and has_code and not (weights and missing_weights(folder))


def _is_answer(error: Exception) -> bool:
    """Whether the hub answered and refused, rather than being unreachable or broken."""
    return isinstance(error, RepositoryNotFoundError | RevisionNotFoundError | GatedRepoError)


@contextmanager
def _hub_errors(model: str, revision: str | None) -> Iterator[None]:
    """Turn the errors of the hub's client into a `ModelError` with advice."""
    name = plain(model)
    hub = plain(constants.ENDPOINT)
    try:
        yield
    except HFValidationError:
        sentence = f"{name} is neither an existing folder nor a valid hub id (owner/name)"
        raise ModelError(sentence, kind="invalid-model-name") from None
    except GatedRepoError:
        raise ModelError(
            f"the hub model {name} is gated: accept its terms at {hub}/{name}, then log in (hf auth login, or HF_TOKEN)",
            kind="gated-hub-model",
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"there is no model {name} at {hub}, nor a folder of that name; for a private model log in "
            "(hf auth login, or HF_TOKEN)",
            kind="no-such-hub-model",
        ) from None
    except RevisionNotFoundError:
        sentence = f"the hub model {name} has no revision {plain(str(revision))}"
        raise ModelError(sentence, kind="no-such-revision", key="revision") from None
    except (HTTPError, LocalEntryNotFoundError, ConnectionError) as error:
        advice = (
            f"the model {name} is not in the cache, and there is no folder of that name; use a local folder, set HF_ENDPOINT to a mirror or "
            f"HTTPS_PROXY to a proxy, or copy a cache that has it to {plain(str(constants.HF_HUB_CACHE))}"
        )
        if constants.HF_HUB_OFFLINE:
            raise ModelError(f"the hub is switched off (HF_HUB_OFFLINE), {advice}", kind="hub-offline") from None
        if isinstance(error, HfHubHTTPError) and error.response is not None:
            status = error.response.status_code
            raise ModelError(f"{hub} answered with an error ({status}), {advice}", kind="hub-error") from None
        reason = str(error) if isinstance(error, HubUnreachableError) else type(error).__name__
        sentence = f"{hub} cannot be reached ({plain(reason)}), {advice}"
        raise ModelError(sentence, kind="hub-unreachable") from None
    except OSError as error:
        sentence = (
            f"the hub model {name} cannot be read from or stored in {constants.HF_HUB_CACHE}: {plain(cause(error))}"
        )
        raise ModelError(sentence, kind="cannot-write-hub-cache") from None
