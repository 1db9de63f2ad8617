"""Upload a model to the Hugging Face hub, in one commit. Imports no torch.

huggingface_hub reads `HF_TOKEN`, `HF_ENDPOINT`, `HF_HUB_OFFLINE` and the proxy variables, and the login that `hf auth login`
stored.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, ModelInfo, constants, get_session
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import disable_progress_bars

from engine.data.hub_connection import HubUnreachableError, check_hub
from engine.errors import ModelError, RunError, UsageError
from engine.preset.text import plain, shown
from engine.record.export import CARD
from engine.record.phases import Report, unreported
from engine.record.secrets import without_secrets
from engine.record.student import THIS_FOLDER

_OTHER_MODELS = frozenset(
    {"model.safetensors", "model.onnx", "pytorch_model.bin", "adapter_config.json", "model_index.json", "modules.json"}
)
"""Files by which libraries take a repository for some model: one that a push leaves there would compete with its own."""
MESSAGE = "Upload with crild"
PATIENCE = 60.0
"""Seconds without a byte after which the connection counts as broken: the hub's own client would wait for ever."""
_AGAIN = "nothing was published; the same command continues, and sends no large file twice"


def upload(request: Mapping[str, Any], *, report: Report = unreported) -> dict[str, Any]:
    """Upload files of a folder into a model repository, all in one commit; create it if there is none.

    `request` has `folder`, `files` (names), `repository` (a name without an owner means the token's own account), `public`,
    `revision` (a branch, made if it is missing; None for main) and `message`. Returns `repository`, `url`, `commit`,
    `private`, `created`, and `kept`: the names of files that were in the repository and stay.

    Raises UsageError where a token is missing or not accepted, or the repository exists and is public but `public` is false;
    ModelError for a repository that holds another model, and for a card that the hub refuses; RunError where the hub refuses
    anything else or cannot be reached.
    """
    disable_progress_bars()
    get_session().timeout = PATIENCE
    api = HfApi()
    name = str(request["repository"])
    with _refusals(name):
        report("asking the hub")
        check_hub()
        account = api.whoami()
        _check_token(account)
        name = name if "/" in name else f"{account['name']}/{name}"
    with _refusals(name):
        info = _existing(api, name)
        if info is not None:
            _check_existing(info, name, request)
        else:
            report(f"creating {plain(name)}")
            _create(api, name, private=not request["public"])
        if request["revision"] is not None:
            api.create_branch(name, branch=request["revision"], exist_ok=True)
        report(f"uploading to {plain(name)}")
        commit = _committed(api, name, request)
    kept = sorted({file.rfilename for file in (info.siblings or ())} - set(request["files"])) if info else []
    return {
        "repository": name,
        "url": f"{constants.ENDPOINT}/{name}",
        "commit": commit,
        "private": bool(info.private) if info else not request["public"],
        "created": info is None,
        "kept": kept,
    }


def _check_token(account: Mapping[str, Any]) -> None:
    """Raise UsageError for a token that is known to allow no writing."""
    token = (account.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        sentence = f"the token can only read: make one that can write at {constants.ENDPOINT}/settings/tokens"
        raise UsageError(sentence, kind="token-cannot-write", key="HF_TOKEN")


def _existing(api: HfApi, name: str) -> ModelInfo | None:
    """The repository as it is, None where there is none (or none that this token may see)."""
    try:
        return api.model_info(name)
    except RepositoryNotFoundError:
        return None


def _check_existing(info: ModelInfo, name: str, request: Mapping[str, Any]) -> None:
    """Raise an error for a repository that would publish what should be private, or that holds another model."""
    if not info.private and not request["public"]:
        sentence = f"{name} exists and is public: add --public if everybody may read this model, or choose another name"
        raise UsageError(sentence, kind="repository-is-public", key="--public")
    present = {file.rfilename for file in info.siblings or ()}
    others = sorted(present & _OTHER_MODELS - set(request["files"]))
    if others:
        sentence = f"{name} exists and holds another model ({others[0]}), which this one would be mixed with: choose another name"
        raise ModelError(sentence, kind="repository-holds-another-model", key="REPO")


def _create(api: HfApi, name: str, *, private: bool) -> None:
    """Create the repository.

    Raises UsageError where the name is taken by something that the token may not see, RunError for a hub that makes no
    private ones.
    """
    try:
        api.create_repo(name, private=private, repo_type="model")
    except HfHubHTTPError as error:
        if error.response.status_code != 409:
            raise
        sentence = f"{name} exists already, but is no model that this token may see: choose another name"
        raise UsageError(sentence, kind="repository-name-taken", key="REPO") from None
    if private and not api.model_info(name).private:
        sentence = f"the hub made {name} public, although it was asked for a private one; nothing was uploaded to it"
        raise RunError(sentence, kind="repository-not-private")


def _committed(api: HfApi, name: str, request: Mapping[str, Any]) -> str:
    """Send the files and commit them; the commit.

    Large files go through Xet where it is available. A server that lacks it, or a firewall before it, fails there alone:
    then they go the older way, by LFS.
    """
    try:
        return _commit(api, name, request)
    except HTTPError:
        raise
    except (ConnectionError, RuntimeError) as error:
        if constants.HF_HUB_DISABLE_XET or isinstance(error.__cause__, HTTPError):  # it was LFS that failed
            raise
        constants.HF_HUB_DISABLE_XET = True
        return _commit(api, name, request)


def _commit(api: HfApi, name: str, request: Mapping[str, Any]) -> str:
    folder = Path(request["folder"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on a card without metadata
        done = api.create_commit(
            name,
            [CommitOperationAdd(file, _content(folder / file, name)) for file in request["files"]],
            commit_message=request["message"] or MESSAGE,
            revision=request["revision"],
        )
    return str(done.oid)


def _content(file: Path, name: str) -> str | bytes:
    """What is uploaded for a file: the file itself; of the card, its text with the repository's name in its example."""
    return str(file) if file.name != CARD else file.read_bytes().replace(THIS_FOLDER.encode(), name.encode())


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turn what the hub's client raises into an error with a sentence."""
    hub, where = plain(without_secrets(constants.ENDPOINT)), plain(name)
    try:
        yield
    except LocalTokenNotFoundError:
        sentence = (
            f"no token for {hub}: run `hf auth login`, or set HF_TOKEN to one that can write ({hub}/settings/tokens)"
        )
        raise UsageError(sentence, kind="no-hub-token", key="HF_TOKEN") from None
    except OfflineModeIsEnabled:
        raise UsageError("the hub is switched off: unset HF_HUB_OFFLINE", kind="hub-offline") from None
    except RevisionNotFoundError:
        raise UsageError(f"{where} has no such branch", kind="no-such-revision", key="--revision") from None
    except HfHubHTTPError as error:
        raise _refusal(error, where, hub) from None
    except ValueError as error:
        if CARD in str(error):
            sentence = f"the hub refuses the card: {_reason(error)}"
            raise ModelError(sentence, kind="hub-refuses-card", file=CARD) from None
        raise RunError(
            f"{hub} refuses the files, or is no hub: {_reason(error)}; nothing was published", kind="hub-refuses-files"
        ) from None
    except (HTTPError, OSError, RuntimeError) as error:
        inner = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
        if isinstance(inner, HfHubHTTPError):
            raise _refusal(inner, where, hub) from None
        if isinstance(error, HubUnreachableError):
            raise RunError(f"{hub} cannot be reached ({plain(str(error))})", kind="hub-unreachable") from None
        sentence = f"the connection to {hub} broke ({_reason(inner)}): {_AGAIN}"
        raise RunError(sentence, kind="hub-connection-broke") from None


def _refusal(error: HfHubHTTPError, where: str, hub: str) -> UsageError | RunError:
    """The error for an answer of the hub that is no success."""
    status = error.response.status_code
    said = "" if not error.server_message else f" ({shown(error.server_message, 200)})"
    match status:
        case 401 if not isinstance(error, RepositoryNotFoundError):
            sentence = (
                f"{hub} does not accept the token{said}: log in again (hf auth login), or set HF_TOKEN to a valid one"
            )
            return UsageError(sentence, kind="token-refused", key="HF_TOKEN")
        case 401 | 403 | 404:
            sentence = (
                f"the token may not write to {where}{said}: use one that can write there, or a repository of your own; "
                "nothing was published"
            )
            return UsageError(sentence, kind="no-right-to-write", key="REPO")
        case 409 | 412:
            sentence = f"{where} was changed by somebody else at the same moment{said}: {_AGAIN}"
            return RunError(sentence, kind="repository-changed")
        case 429:
            return RunError(f"{hub} asks to wait{said}: try again later; {_AGAIN}", kind="hub-asks-to-wait")
        case _:
            return RunError(f"{hub} answered with an error {status}{said}: {_AGAIN}", kind="hub-error")


def _reason(error: BaseException) -> str:
    """The last line of an exception's message."""
    lines = [line.strip("- ") for line in str(error).splitlines() if line.strip("- ")]
    return shown(lines[-1] if lines else type(error).__name__, 200)
