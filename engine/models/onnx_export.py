"""Write a classifier as ONNX, with torch's exporter, and make it smaller with ONNX Runtime's own tools."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.data.batches import Batch
from engine.errors import ModelError
from engine.evaluate.predict import takes_types
from engine.preset.text import plain
from engine.record.export import check_installed

SAMPLE = (2, 9)
"""Batch and length of the tokens that the exporter follows; both stay free in the file."""
IN_8_BITS = ["MatMul", "Gemm", "Gather"]
"""What is in 8 bits where ranges of activations are measured beforehand: products with weights, and embeddings. Everything
else has ranges that 8 bits cannot hold: the attention mask adds -3e38, softmax and normalisation spread theirs.
"""
LARGEST = 2_000_000_000
"""Bytes of weights: a file of this format holds no more."""


def write_onnx(model: PreTrainedModel, path: Path) -> None:
    """Write a model with free batch size and length; inputs are those of the model's tokenizer, the output is `logits`.

    Raises `ModelError` for an operator that cannot be exported, for missing packages, and for weights of more than 2 GB.
    """
    check_installed()
    if sum(tensor.nbytes for tensor in model.parameters()) > LARGEST:
        raise ModelError("the weights take more than 2 GB, which an ONNX file cannot hold", kind="too-large-for-onnx")
    tokens = torch.full(SAMPLE, min(5, int(model.config.vocab_size) - 1))
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if takes_types(model) else [])]
    given = (tokens, torch.ones_like(tokens), torch.zeros_like(tokens))[: len(names)]
    free = {name: {0: "batch", 1: "length"} for name in names}
    try:
        with _silent(), torch.inference_mode(False), torch.no_grad():
            model.eval()
            program = torch.onnx.export(
                _Logits(model, names), given, dynamo=True, input_names=names, output_names=["logits"],
                dynamic_shapes={"given": tuple(free.values())}, verbose=False,
            )  # fmt: skip
            assert program is not None
            program.save(path, external_data=False)
    except Exception as error:
        reason = plain(next(iter(str(error).strip().splitlines()), "") or type(error).__name__)
        family = plain(str(model.config.model_type))
        sentence = f"torch cannot export this model of the family {family} to ONNX: {reason}"
        raise ModelError(sentence, kind="onnx-export-failed") from error


class _Logits(nn.Module):
    """A model as a function of tensors in a fixed order."""

    def __init__(self, model: PreTrainedModel, names: list[str]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *given: Tensor) -> Tensor:
        logits: Tensor = self.model(**dict(zip(self.names, given, strict=True))).logits
        return logits


def write_half(source: Path, path: Path) -> None:
    """Write an exported model with weights and products in half precision; inputs and logits stay as they are."""
    check_installed()
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _silent():
        onnx.save(convert_float_to_float16(onnx.load(str(source)), keep_io_types=True), str(path))


def write_int8(source: Path, path: Path, batches: Iterable[Batch] | None = None) -> None:
    """Write an exported model whose matrix products are in 8 bits.

    With `batches`, the ranges of activations are measured on these; without, each is measured as it comes. A prepared copy
    stays in the source's folder.
    """
    check_installed()
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = source.with_name("prepared.onnx")
    with _silent():
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        if batches is None:
            quantize_dynamic(str(prepared), str(path), weight_type=QuantType.QInt8, per_channel=True)
        else:
            quantize_static(
                str(prepared), str(path), _Reader(source, batches), per_channel=True, activation_type=QuantType.QUInt8,
                op_types_to_quantize=IN_8_BITS,
                extra_options={"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": IN_8_BITS},
            )  # fmt: skip


class _Reader:
    """Calibration batches as ONNX Runtime asks for them."""

    def __init__(self, source: Path, batches: Iterable[Batch]):
        import onnx

        names = {given.name for given in onnx.load(str(source), load_external_data=False).graph.input}
        self._rows: Iterator[dict[str, Any]] = (_inputs(batch, names) for batch in batches)

    def get_next(self) -> dict[str, Any] | None:
        """The inputs of the next batch; None at the end."""
        return next(self._rows, None)


def _inputs(batch: Batch, names: set[str]) -> dict[str, Any]:
    """The named inputs; the token types of single texts, which have none, are 0."""
    types = batch.token_type_ids if batch.token_type_ids is not None else torch.zeros_like(batch.input_ids)
    given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "token_type_ids": types}
    return {name: tensor.numpy() for name, tensor in given.items() if name in names}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what these tools print and warn off the terminal: it is about their insides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
