"""Names of Hugging Face's hub, without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from ernie_tiny.errors import InputError
from ernie_tiny.models.backbone import build_encoder, load_pretrained
from ernie_tiny.models.hub import hub_folder, is_hub_name

SHAPE = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("intfloat/multilingual-e5-small", True),
        ("hfl/roberta-wwm-ext", False),  # PaddleNLP publishes it
        ("ernie-3.0-nano-zh", False),
        ("output/no/such/folder", False),
        ("../models", False),
    ],
)
def test_which_names_are_the_hubs(name: str, expected: bool) -> None:
    assert is_hub_name(name) is expected


def test_a_folder_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "bert").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert not is_hub_name("models/bert") and is_hub_name("models/bret")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A hub with the files that a test names, an empty cache, and what was asked of it."""
    build_encoder("bert", SHAPE).save_pretrained(str(tmp_path / "whole"), safe_serialization=True)
    (tmp_path / "whole" / "vocab.txt").write_text("[PAD]\n", encoding="utf-8")
    state: dict[str, Any] = {"files": [], "patterns": None}

    def snapshot(name: str, local_files_only: bool = False, allow_patterns: Any = None) -> str:
        if local_files_only and not state.get("cached"):
            raise huggingface_hub.errors.LocalEntryNotFoundError("not in the cache")
        if allow_patterns is not None:
            state["patterns"] = allow_patterns
        return str(tmp_path / "whole")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda name: state["files"])
    return state


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["model.safetensors", "pytorch_model.bin", "tf_model.h5"], ["model.safetensors"]),
        (["pytorch_model.bin", "flax_model.msgpack"], ["pytorch_model.bin"]),
        (["model.safetensors.index.json"], ["model.safetensors.index.json", "model*.safetensors"]),
        (["pytorch_model.bin.index.json"], ["pytorch_model.bin.index.json", "pytorch_model*.bin"]),
    ],
)
def test_one_form_of_the_weights_is_fetched(files: list[str], wanted: list[str], hub: dict[str, Any]) -> None:
    hub["files"] = files
    load_pretrained("owner/name")
    assert [pattern for pattern in hub["patterns"] if "model." in pattern and pattern != "*.model"
            or "model*" in pattern] == wanted  # fmt: skip


def test_what_is_in_the_cache_is_not_asked_for(hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    hub["cached"] = True
    monkeypatch.setattr(huggingface_hub, "list_repo_files", None)
    load_pretrained("owner/name")


def test_a_model_without_weights_that_can_be_read(hub: dict[str, Any]) -> None:
    hub["files"] = ["tf_model.h5"]
    with pytest.raises(InputError, match="owner/name: holds none of model.safetensors, .* on Hugging Face's hub"):
        hub_folder("owner/name")


@pytest.fixture(params=["model.safetensors", "vocab.txt", "part"])
def half(hub: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """What the folder in the cache lacks."""
    hub["cached"], hub["files"], folder = True, ["model.safetensors"], tmp_path / "whole"
    if request.param == "part":
        (folder / "model.safetensors").rename(folder / "model-1.safetensors")
        index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    else:
        (folder / request.param).unlink()
    return str(request.param)


def test_half_a_model_in_the_cache_is_fetched_again(hub: dict[str, Any], half: str) -> None:
    hub_folder("owner/name")
    assert hub["patterns"] is not None


def test_half_a_model_is_taken_where_there_is_no_network_and_it_has_weights(
    half: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(name: str) -> None:
        raise OSError("there is no network in this test")

    monkeypatch.setattr(huggingface_hub, "list_repo_files", no_network)
    if half == "model.safetensors":
        with pytest.raises(InputError, match="cannot be fetched from Hugging Face's hub"):
            hub_folder("owner/name")
    else:
        assert hub_folder("owner/name") == tmp_path / "whole"
