"""Folders that transformers saves, read here: the same numbers as PyTorch's. Needs the extra `interop`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import Batch
from ernie_tiny.errors import InputError
from ernie_tiny.models.backbone import load_pretrained
from ernie_tiny.models.multitask import load_model
from ernie_tiny.models.signals import SignalRequest

torch = pytest.importorskip("torch", reason="the extra interop (torch, transformers) is not installed")
transformers = pytest.importorskip("transformers", reason="the extra interop (torch, transformers) is not installed")

TOKENS, BOUND = 60, 1e-5
SHAPE = {
    "vocab_size": TOKENS,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
PRUNED = {0: [1, 2, 0], 1: [3, 2, 1]}
DISTILBERT = {"vocab_size": TOKENS, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertForPreTraining", "BertConfig", SHAPE),
    "bert, relu": ("BertForMaskedLM", "BertConfig", {**SHAPE, "hidden_act": "relu"}),
    "bert, bare": ("BertModel", "BertConfig", SHAPE),
    "bert, classes": ("BertForSequenceClassification", "BertConfig", {**SHAPE, "num_labels": 3}),
    "bert, heads pruned": ("BertModel", "BertConfig", {**SHAPE, "num_attention_heads": 4, "pruned_heads": PRUNED}),
    "roberta": ("RobertaForMaskedLM", "RobertaConfig", {**SHAPE, "type_vocab_size": 1}),
    "xlm-roberta": ("XLMRobertaForMaskedLM", "XLMRobertaConfig", {**SHAPE, "type_vocab_size": 1}),
    "ernie": ("ErnieForMaskedLM", "ErnieConfig", {**SHAPE, "use_task_id": True, "task_type_vocab_size": 3}),
    "electra": ("ElectraForPreTraining", "ElectraConfig", {**SHAPE, "embedding_size": 8}),
    "electra, one width": ("ElectraForPreTraining", "ElectraConfig", {**SHAPE, "embedding_size": 16}),
    "electra, generator": ("ElectraForMaskedLM", "ElectraConfig", {**SHAPE, "embedding_size": 8}),
    "distilbert, heads pruned": (
        "DistilBertModel",
        "DistilBertConfig",
        {**DISTILBERT, "pruned_heads": {0: [0], 1: [1]}},
    ),
    "distilbert": ("DistilBertForMaskedLM", "DistilBertConfig", {**DISTILBERT, "max_position_embeddings": 40}),
}
FORMS: dict[str, dict[str, Any]] = {
    "safetensors": {},
    "several files": {"max_shard_size": "5KB"},
    "bin": {"safe_serialization": False},
    "bin in several files": {"safe_serialization": False, "max_shard_size": "5KB"},
}


def network_of(name: str) -> Any:
    """A network with weights large enough that a lost one shows."""
    kind, config, numbers = MODELS[name]
    torch.manual_seed(1)
    network = getattr(transformers, kind)(getattr(transformers, config)(**numbers)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return network


def inputs_of(network: Any) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask of three rows, one of them padded."""
    ids = np.random.default_rng(0).integers(5, TOKENS, (3, 9))
    mask = np.ones_like(ids)
    mask[1, 6:] = 0
    ids[mask == 0] = network.config.pad_token_id
    return ids, mask


def compare(network: Any, folder: Path) -> None:
    ids, mask = inputs_of(network)
    with torch.no_grad():
        expected = network.base_model(torch.tensor(ids), attention_mask=torch.tensor(mask))
    encoder = load_pretrained(str(folder)).encoder
    encoder.eval()
    arrays = paddle.to_tensor(ids), paddle.to_tensor(mask)
    with paddle.no_grad():
        found, pooled = encoder(arrays[0], token_type_ids=arrays[0] * 0, attention_mask=arrays[1])[:2]
    assert np.abs(found.numpy() - expected.last_hidden_state.numpy())[mask == 1].max() < BOUND
    if getattr(expected, "pooler_output", None) is not None:
        assert np.abs(pooled.numpy() - expected.pooler_output.numpy()).max() < BOUND


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_an_encoder_gives_pytorchs_numbers(name: str, form: str, tmp_path: Path) -> None:
    network = network_of(name)
    network.save_pretrained(tmp_path, **FORMS[form])
    compare(network, tmp_path)


MASKED = [name for name, (kind, _, _) in MODELS.items() if "MaskedLM" in kind or kind == "BertForPreTraining"]


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("name", MASKED)
def test_the_head_for_masked_tokens_gives_pytorchs_logits(name: str, form: str, tmp_path: Path) -> None:
    network = network_of(name)
    network.save_pretrained(tmp_path, **FORMS[form])
    ids, mask = inputs_of(network)
    with torch.no_grad():
        found = network(torch.tensor(ids), attention_mask=torch.tensor(mask))
    expected = (found.prediction_logits if hasattr(found, "prediction_logits") else found.logits).numpy()
    model = load_model(str(tmp_path))
    model.eval()
    places = np.array([1, 8, 12, 20])
    batch = Batch("", ("0", "1", "2"), ids, ids * 0, mask, masked_positions=places)
    with paddle.no_grad():
        logits = model(batch, SignalRequest(logits=True)).logits.numpy()
    assert np.abs(logits - expected.reshape(-1, TOKENS)[places]).max() < BOUND


@pytest.mark.parametrize("numbers", ["float16", "bfloat16"])
@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_half_precision(numbers: str, form: str, tmp_path: Path) -> None:
    network = network_of("bert").to(getattr(torch, numbers))
    network.save_pretrained(tmp_path, **FORMS[form])
    compare(network.float(), tmp_path)


def test_a_file_of_an_old_pytorch_is_refused(tmp_path: Path) -> None:
    network = network_of("bert")
    network.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match="is a pickle of PyTorch before 1.6"):
        load_pretrained(str(tmp_path))
