"""An upload to a hub that takes connections and never answers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from huggingface_hub import constants

from engine.data import hub_connection
from engine.errors import RunError
from engine.models import hub_upload


def test_a_hub_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_TOKEN", "hf_mine")
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(hub_upload, "PATIENCE", 0.2)
        hub_connection.unreachable_reason.cache_clear()
        request = {
            "folder": str(tmp_path), "files": [], "repository": "me/x", "public": False, "revision": None, "message": None,
        }  # fmt: skip
        with pytest.raises(RunError) as caught:
            hub_upload.upload(request)
    assert caught.value.kind == "hub-connection-broke"
