"""Encoders by shape, folder and name, and changes of their stack of layers."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from paddlenlp import transformers

from ernie_tiny.errors import InputError
from ernie_tiny.family_facts import FACTS
from ernie_tiny.models.backbone import (
    append_layers,
    build_encoder,
    copy_layers,
    count_embedding_parameters,
    count_parameters,
    drop_layers,
    load_pretrained,
    usable_positions,
)
from ernie_tiny.models.families import FAMILIES
from tests.shapes import TINY

SHAPE = {**TINY, "num_hidden_layers": 3, "task_type_vocab_size": 0}
CLASSES = {"ernie": "ErnieModel", "bert": "BertModel", "roberta": "RobertaModel"}
IDS = np.arange(1, 11).reshape(2, 5)


def encoder(family: str = "ernie", **changes) -> nn.Layer:
    network = build_encoder(family, {**SHAPE, **changes})
    network.eval()
    return network


def output(network: nn.Layer) -> np.ndarray:
    with paddle.no_grad():
        return network(paddle.to_tensor(IDS))[0].numpy()


def equal(left: nn.Layer, right: nn.Layer) -> bool:
    weights, others = left.state_dict(), right.state_dict()
    return list(weights) == list(others) and all(np.array_equal(weights[n].numpy(), others[n].numpy()) for n in weights)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    encoder().save_pretrained(str(tmp_path / "saved"), safe_serialization=True)
    return tmp_path / "saved"


# ---- building


def test_every_family_has_facts_and_an_object():
    assert set(FAMILIES) == set(FACTS)
    for name, family in FAMILIES.items():
        assert family.facts is FACTS[name] and family.model.config_class.model_type == name


def test_a_weight_is_named_without_the_prefix_of_a_head():
    assert FAMILIES["roberta"].encoder_name("roberta.embeddings.word_embeddings.weight").startswith("embeddings.")
    assert FAMILIES["roberta"].encoder_name("ernie.pooler.dense.bias") == "ernie.pooler.dense.bias"


@pytest.mark.parametrize("name", ["ernie-3.0-nano-zh", "bert-base-chinese", "hfl/roberta-wwm-ext"])
def test_published_names_belong_to_a_family(name):
    (family,) = (family for family in FAMILIES.values() if name in family.published)
    assert family.published[name].endswith(".pdparams")


@pytest.mark.parametrize("family", CLASSES)
def test_a_shape_becomes_the_encoder_of_its_family(family):
    network = encoder(family)
    assert type(network).__name__ == CLASSES[family]
    assert len(network.encoder.layers) == 3 and network.config.num_attention_heads == 2
    assert output(network).shape == (2, 5, 16)


def test_initial_weights_depend_on_the_seed_alone():
    networks = []
    for seed in (3, 3, 4):
        paddle.seed(seed)
        networks.append(encoder())
    assert equal(networks[0], networks[1]) and not equal(networks[0], networks[2])
    words = encoder(vocab_size=4000).embeddings.word_embeddings.weight
    assert abs(float(words.std()) - 0.02) < 1e-3


def test_the_task_type_embedding_is_there_when_it_has_rows():
    assert not any("task_type" in name for name in encoder().state_dict())
    assert encoder(task_type_vocab_size=3).embeddings.task_type_embeddings.weight.shape == [3, 16]
    assert count_parameters(encoder(task_type_vocab_size=3)) - count_parameters(encoder()) == 3 * 16


def test_dropout_is_the_shapes():
    network = encoder(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    network.train()
    assert np.array_equal(output(network), output(network))
    network = encoder(hidden_dropout_prob=0.3)
    network.train()
    assert not np.array_equal(output(network), output(network))


def test_counts_by_hand():
    network = encoder()
    layer = 4 * (16 * 16 + 16) + (16 * 32 + 32) + (32 * 16 + 16) + 4 * 16
    embeddings = (40 + 24 + 2) * 16 + 2 * 16
    assert count_embedding_parameters(network) == embeddings
    assert count_parameters(network) == embeddings + 3 * layer + 16 * 16 + 16


def test_shared_weights_count_once():
    class Shared(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.left = nn.Linear(3, 4)
            self.right = nn.Linear(3, 4)
            self.right.weight = self.left.weight

    assert count_parameters(Shared()) == 12 + 4 + 4


# ---- loading


@pytest.mark.parametrize("family", CLASSES)
def test_a_saved_encoder_is_read_back(family, tmp_path):
    network = encoder(family)
    network.save_pretrained(str(tmp_path), safe_serialization=True)
    loaded = load_pretrained(str(tmp_path)).encoder
    loaded.eval()
    assert type(loaded) is type(network) and equal(loaded, network)
    assert np.array_equal(output(loaded), output(network))


def test_weights_may_be_pdparams(folder):
    network = load_pretrained(str(folder)).encoder
    (folder / "model.safetensors").unlink()
    paddle.save(network.state_dict(), str(folder / "model_state.pdparams"))
    assert equal(load_pretrained(str(folder)).encoder, network)


def test_an_encoder_under_a_task_head_is_read(tmp_path):
    config = transformers.ErnieConfig(**SHAPE, num_labels=3)
    whole = transformers.ErnieForSequenceClassification(config)
    whole.save_pretrained(str(tmp_path), safe_serialization=True)
    assert equal(load_pretrained(str(tmp_path)).encoder, whole.ernie)


def refused(pretrained: object) -> str:
    with pytest.raises(InputError) as caught:
        load_pretrained(str(pretrained))
    assert str(caught.value).startswith(f"{pretrained}")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("[]", "holds no mapping"), ("3", "holds no mapping"), ('{"model_type": "ernie"}', "another architecture")],
)
def test_a_config_that_is_none_is_refused(folder, text, said):
    (folder / "config.json").write_text(text, encoding="utf-8")
    assert said in refused(folder)


def test_empty_pdparams_are_refused(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model_state.pdparams").write_bytes(b"")
    assert "is cut off" in refused(folder)


@pytest.mark.parametrize("kept", [0, 8])
def test_cut_off_weights_are_refused(folder, kept):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    assert "is cut off" in refused(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": "a"}, "cannot be loaded"),
        ({"vocab_size": 41}, "word_embeddings.weight is [40, 16] there, and [41, 16] by config.json"),
        ({"num_attention_heads": 3}, "cannot be loaded"),
        ({"model_type": None, "architectures": ["NoSuchModel"]}, "names the model_type 'nosuch'"),
    ],
)
def test_a_config_that_does_not_fit_the_weights_is_refused(folder, change, said):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
    assert said in refused(folder)


@pytest.mark.parametrize("kind", ["ErnieM", "DistilBert"])
def test_encoders_with_other_inputs_or_outputs_are_refused_by_family(kind, tmp_path):
    shape = {name: SHAPE[name] for name in SHAPE if name not in ("task_type_vocab_size", "type_vocab_size")}
    network = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**shape))
    network.save_pretrained(str(tmp_path), safe_serialization=True)
    assert "models of that kind cannot be used here" in refused(tmp_path)


@pytest.mark.parametrize("embedding_size", [8, 16])
def test_an_electra_of_paddlenlp_is_read_and_has_a_pooler(embedding_size, tmp_path):
    shape = {name: SHAPE[name] for name in SHAPE if name != "task_type_vocab_size"}
    network = transformers.ElectraModel(transformers.ElectraConfig(**shape, embedding_size=embedding_size))
    network.save_pretrained(str(tmp_path / "theirs"), safe_serialization=True)
    network.eval()
    with paddle.no_grad():
        expected = network(paddle.to_tensor(IDS)).numpy()
    loaded = load_pretrained(str(tmp_path / "theirs")).encoder
    loaded.eval()
    assert np.abs(output(loaded) - expected).max() < 1e-5
    assert loaded(paddle.to_tensor(IDS))[1].shape == [2, 16] and output(encoder("electra")).shape == (2, 5, 16)
    loaded.save_pretrained(str(tmp_path / "ours"), safe_serialization=True)
    assert equal(load_pretrained(str(tmp_path / "ours")).encoder, loaded)


def test_positions_that_are_of_use():
    assert usable_positions(encoder("bert", pad_token_id=3)) == 24
    assert usable_positions(encoder("roberta")) == 23
    assert usable_positions(encoder("roberta", pad_token_id=1)) == 22
    network = encoder("roberta", pad_token_id=1)
    ids = paddle.to_tensor(np.full((1, 22), 5))
    assert network(ids)[0].shape == [1, 22, 16]
    with pytest.raises((ValueError, IndexError)):  # a row that is not there
        network(paddle.to_tensor(np.full((1, 23), 5)))


@pytest.mark.parametrize("name", ["ernie-3.0-nano-zh", "output/no/such/folder"])
def test_a_name_that_cannot_be_had_is_refused(name, monkeypatch, tmp_path):
    def no_network(*_args, **_keywords):
        raise socket.gaierror("there is no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.chdir(tmp_path)
    if name in _cached_names():
        pytest.skip(f"{name} lies in PaddleNLP's cache")
    message = refused(name)
    assert "cannot be loaded as a pretrained model" in message and "with a network the first time" in message


def _cached_names() -> list[str]:
    from paddlenlp.utils.env import MODEL_HOME

    return [path.parent.name for path in Path(MODEL_HOME).glob("*/*.pdparams")]


# ---- the stack of layers


def test_appended_layers_are_new_and_stand_on_top():
    network = encoder()
    below = [layer.state_dict() for layer in network.encoder.layers]
    before = [{name: value.numpy().copy() for name, value in weights.items()} for weights in below]
    append_layers(network, 2)
    layers = network.encoder.layers
    assert len(layers) == 5 and len(network.encoder.layers) == network.encoder.num_layers
    for layer, weights in zip(layers, before):
        assert all(np.array_equal(value.numpy(), weights[name]) for name, value in layer.state_dict().items())
    assert not equal(layers[3], layers[4])
    for layer in layers[3:]:
        assert abs(float(layer.linear1.weight.std()) - 0.02) < 5e-3
        assert not layer.linear1.bias.numpy().any()
        assert layer.norm1._epsilon == layers[0].norm1._epsilon
        assert layer._config == layers[0]._config
    assert output(network).shape == (2, 5, 16)


def test_appended_layers_are_trained():
    network = encoder()
    append_layers(network, 1)
    network(paddle.to_tensor(IDS))[0].square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.encoder.layers[3].parameters())


def test_dropping_undoes_appending():
    network = encoder()
    plain = output(network)
    append_layers(network, 2)
    network.eval()
    assert not np.array_equal(output(network), plain)
    drop_layers(network, 2)
    assert np.array_equal(output(network), plain)
    assert len(network.encoder.layers) == network.encoder.num_layers == 3
    assert not any("layers.3" in name for name in network.state_dict())


def test_dropping_takes_the_top():
    network = encoder()
    lowest = network.encoder.layers[0]
    drop_layers(network, 2)
    assert list(network.encoder.layers) == [lowest]


def test_copied_layers_are_the_chosen_ones():
    source, target = encoder(), encoder(num_hidden_layers=2)
    copy_layers(source, target, [0, 2])
    assert equal(target.encoder.layers[0], source.encoder.layers[0])
    assert equal(target.encoder.layers[1], source.encoder.layers[2])
    assert equal(target.embeddings, source.embeddings) and equal(target.pooler, source.pooler)
    target.encoder.layers[0].linear1.weight.set_value(paddle.zeros([16, 32]))  # copies, not the same tensors
    assert source.encoder.layers[0].linear1.weight.numpy().any()


def test_a_copy_of_all_layers_is_the_same_function():
    source, target = encoder(), encoder()
    copy_layers(source, target, [0, 1, 2])
    assert np.array_equal(output(source), output(target))


def test_layers_above_the_copied_ones_stay():
    source, target = encoder(), encoder()
    before = target.encoder.layers[1].linear1.weight.numpy().copy()
    copy_layers(source, target, [2])
    assert equal(target.encoder.layers[0], source.encoder.layers[2])
    assert np.array_equal(target.encoder.layers[1].linear1.weight.numpy(), before)


@pytest.mark.parametrize(
    ("changes", "layers", "said"),
    [
        ({"hidden_size": 32}, [0], "widths differ (16 and 32)"),
        ({}, [0, 3], "the source has the layers 0 to 2"),
        ({}, [-1], "the source has the layers 0 to 2"),
        ({"num_hidden_layers": 1}, [0, 1], "the model has room for 1"),
        ({"intermediate_size": 64}, [0], "layer 0.linear1.weight is [16, 32] there and [16, 64] here"),
        ({"vocab_size": 50}, [0], "embeddings.word_embeddings.weight is [40, 16] there and [50, 16] here"),
        ({"task_type_vocab_size": 3}, [0], "task_type_embeddings.weight is nothing there"),
    ],
)
def test_layers_that_do_not_fit_are_refused(changes, layers, said):
    with pytest.raises(InputError) as caught:
        copy_layers(encoder(), encoder(**changes), layers)
    assert said in str(caught.value)


def test_folders_stay_as_they_were(folder):
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    load_pretrained(str(folder))
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in copy.iterdir())
    assert (folder / "config.json").read_bytes() == (copy / "config.json").read_bytes()
