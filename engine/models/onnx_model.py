"""An exported classifier, computed by ONNX Runtime behind the interface of a model of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, PretrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput

from engine.errors import ModelError
from engine.models.model_files import ONNX
from engine.models.transformers_logging import quiet
from engine.preset.text import plain
from engine.record.export import ExportFacts, check_installed, read_facts


class OnnxModel(nn.Module):
    """The model in the folder of an export. It computes on the processor, with as many threads as torch has at the time.

    Raises `ModelError` when ONNX Runtime is not installed or refuses the file.
    """

    _supports_sdpa = False

    def __init__(self, folder: Path):
        super().__init__()
        with quiet():
            self.config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True)
        self.facts: ExportFacts | None = read_facts(folder)
        self._path = folder / ONNX
        self._sessions: dict[int, Any] = {}
        self._inputs = frozenset(given.name for given in self._session.get_inputs())

    @property
    def parameter_count(self) -> int:
        """Parameters of the model that was exported; 0 where the export doesn't say."""
        return 0 if self.facts is None else self.facts.parameters

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Logits (batch, classes), float32, on the device of the inputs, which are (batch, length)."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._inputs:
            given["token_type_ids"] = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        arrays = {name: tensor.cpu().numpy().astype(np.int64, copy=False) for name, tensor in given.items()}
        (logits,) = self._session.run(["logits"], arrays)
        return SequenceClassifierOutput(logits=torch.from_numpy(logits).float().to(input_ids.device))

    @property
    def _session(self) -> Any:
        """The session for the present number of threads: ONNX Runtime fixes it when a session is made."""
        threads = torch.get_num_threads()
        if threads not in self._sessions:
            self._sessions[threads] = _session(self._path, threads)
        return self._sessions[threads]


def _session(path: Path, threads: int) -> Any:
    check_installed()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  (its classes are those of a C++ library, which are no public names)
        reason = plain(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
        sentence = f"ONNX Runtime cannot load the exported model: {reason}"
        raise ModelError(sentence, kind="onnx-refused", file=plain(str(path))) from None
