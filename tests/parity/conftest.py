"""The vectors, loaded once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .released import Released


@pytest.fixture(scope="session")
def released(shared: Any) -> Released:
    torch.set_num_threads(1)
    return Released()
