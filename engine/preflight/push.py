"""What `crild push` would upload: the known files of a model's folder, and the figures in its card. Asks no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.data.hub_connection import endpoint
from engine.errors import ModelError, UsageError
from engine.models.model_files import ONNX, SAFETENSORS, VOCABULARIES, check_folder, has_tokenizer, missing_weights
from engine.preflight.models import weight_problems
from engine.preset.regular_file import read_regular
from engine.preset.text import listed, plain
from engine.record.export import CARD, EXPORT, LARGEST_CARD
from engine.record.files import read_json, why_unreadable
from engine.record.secrets import without_secrets

_NAMES = re.compile(
    rf"config\.json|model(?:-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|{re.escape(ONNX)}|{re.escape(EXPORT)}"
    r"|tokenizer(?:_config)?\.json|tokenizer\.model|special_tokens_map\.json|added_tokens\.json|vocab\.(?:txt|json)"
    rf"|merges\.txt|(?:spm|spiece|sentencepiece\.bpe)\.model|chat_template\.jinja|{re.escape(CARD)}"
)
"""The files that are uploaded: all that crild writes for those who use a model. Nothing else in its folder goes."""


@dataclass(frozen=True)
class CardFigure:
    """A metric that the card tells the hub."""

    metric: str
    value: float | str
    dataset: str
    split: str | None


@dataclass(frozen=True)
class PushPlan:
    """An upload: the files with their bytes, what stays here, and the card's figures."""

    folder: Path
    hub: str
    """Its address."""
    repository: str
    files: dict[str, int]
    left_out: tuple[str, ...]
    figures: tuple[CardFigure, ...]

    @property
    def has_card(self) -> bool:
        """Whether a model card goes, too."""
        return CARD in self.files


def push_plan(folder: Path, repository: str) -> PushPlan:
    """What of a model's folder goes into a repository of the hub.

    Raises UsageError for a name that the hub wouldn't take, ModelError for a folder without a whole model of crild's, and
    for a card or config that the hub couldn't read or that names a folder of this machine.
    """
    _check_name(repository)
    check_folder(folder)
    present = sorted(folder.iterdir())
    going = [path for path in present if _NAMES.fullmatch(path.name) and path.is_file() and not path.is_symlink()]
    files = {path.name: path.stat().st_size for path in going}
    left_out = tuple(path.name + "/" * path.is_dir() for path in present if path.name not in files)
    _check_complete(folder, files)
    _check_private(folder, files)
    hub = without_secrets(endpoint())
    return PushPlan(folder, hub, repository, files, left_out, tuple(_figures(folder)) if CARD in files else ())


def _check_name(repository: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError:
        sentence = (
            f"{plain(repository)!r} is no name of a repository: write OWNER/NAME, or NAME for your own account, in letters, "
            "digits, '-', '_' and '.', 96 at most"
        )
        raise UsageError(sentence, kind="invalid-repository-name", key="REPO") from None


def _check_complete(folder: Path, files: dict[str, int]) -> None:
    """Raise ModelError where config, weights or tokenizer are missing, empty or unreadable, or need code of their own."""
    where = plain(str(folder))
    missing = [] if ONNX in files else missing_weights(folder)
    weights = [name for name in files if name == ONNX or name.endswith(".safetensors")]
    if "config.json" not in files or missing or not weights:
        lacks = listed(missing or ["config.json" if weights else SAFETENSORS[0]], "and", 3)
        sentence = f"this folder holds no whole model: {lacks} is missing, or is a link or a folder"
        raise ModelError(sentence, kind="incomplete-model", file=where)
    if not has_tokenizer(folder):
        sentence = f"this folder has no tokenizer ({listed(VOCABULARIES)}), so nobody could use the model"
        raise ModelError(sentence, kind="no-tokenizer", file=where)
    for name, size in files.items():
        if (reason := why_unreadable(folder / name)) is not None:
            raise ModelError(f"cannot be read: {reason}", kind="unreadable-file", file=plain(str(folder / name)))
        if size == 0:
            raise ModelError("is empty", kind="empty-file", file=plain(str(folder / name)))
    for problem in () if ONNX in files else weight_problems(folder):
        raise problem
    if (read_json(folder / "config.json") or {}).get("auto_map"):
        sentence = "this model needs Python code of its own, which crild does not upload: use `hf upload`"
        raise ModelError(sentence, kind="own-code-not-uploaded", file=where)


def _check_private(folder: Path, files: dict[str, int]) -> None:
    """Raise ModelError for a card or config that names the home folder, or the one that the model is in."""
    private = [str(path) for path in (Path.home(), folder.parent) if len(path.parts) > 1]
    for name in files:
        if name not in (CARD, EXPORT) and not name.endswith("config.json"):
            continue
        text = read_regular(folder / name, LARGEST_CARD).decode("utf-8", "replace")
        for path in private:
            if re.search(rf"(?<![\w./-]){re.escape(path)}(?![\w.-])", text):
                sentence = f"names the folder {plain(path)} of this machine: edit it before others read it"
                raise ModelError(sentence, kind="private-path-in-file", file=plain(str(folder / name)))


def _figures(folder: Path) -> Iterator[CardFigure]:
    """The metrics in the card's metadata. Raises ModelError where the hub couldn't read them."""
    from huggingface_hub import ModelCard

    try:
        text = read_regular(folder / CARD, LARGEST_CARD).decode("utf-8")
        results = ModelCard(text).data.eval_results or ()
    except Exception as error:  # noqa: BLE001 - PyYAML's and huggingface_hub's own classes, and what bad metadata makes them raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        sentence = f"the hub cannot read the metadata at the top of the card ({plain(reason)}): correct it"
        raise ModelError(sentence, kind="invalid-model-card", file=plain(str(folder / CARD))) from None
    for result in results:
        value = result.metric_value
        figure = float(value) if isinstance(value, int | float) else plain(str(value))
        yield CardFigure(str(result.metric_type), figure, str(result.dataset_name), result.dataset_split)
