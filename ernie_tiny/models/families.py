"""The families of encoders as objects: how one is built from a shape, read from disk, and named there.

What can be known without Paddle (keys, positions, what it cannot answer) stands in ernie_tiny/family_facts.py. A
further family is a row there and one here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType, new_class
from typing import Any, Callable

from paddle import nn
from paddlenlp import transformers

from ernie_tiny.batch import Array
from ernie_tiny.family_facts import FACTS, FamilyFacts
from ernie_tiny.models.bilstm import BiLstmConfig, BiLstmModel
from ernie_tiny.models.electra import ElectraModel
from ernie_tiny.models.head_size import SizedHeads

INITIALIZER_RANGE = 0.02
Arguments = dict[str, Any]


@dataclass(frozen=True)
class Family:
    """One family of encoders.

    Attributes:
        facts: What the config knows of it.
        model: The class of its encoders; `model.config_class` holds the numbers that fix one, and names on disk stand
            under `model.base_model_prefix` where the encoder was saved under a head.
        arguments: From a shape to the keyword arguments of the config's class.
        published: Names that PaddleNLP publishes weights under, to their addresses.
        renamed: Beginnings of weights' names in PaddleNLP's files to those here.
    """

    facts: FamilyFacts
    model: Any
    arguments: Callable[[Arguments], Arguments]
    published: Mapping[str, str]
    renamed: Mapping[str, str] = field(default_factory=dict)

    def build(self, shape: Mapping[str, Any]) -> nn.Layer:
        """An encoder with random weights, drawn from paddle's global generator.

        Args:
            shape: Keyword arguments of the config's class: num_hidden_layers, hidden_size, vocab_size, ...
        """
        arguments = self.arguments(dict(shape))
        return self.construct(self.model.config_class(**arguments, initializer_range=INITIALIZER_RANGE))

    def build_from_numbers(self, numbers: Mapping[str, Any], norm_epsilon: float) -> nn.Layer:
        """An encoder with random weights by the numbers of another project's config.json.

        Args:
            norm_epsilon: Of all layer norms. PaddleNLP takes layer_norm_eps in some ways to build a model, and 1e-5 in
                others. Models that were trained so keep it; one that has `norm_epsilon` in its config, as this one
                gets, has it however it is built.
        """
        config = self.model.config_class(**self.arguments(dict(numbers)))
        config.norm_epsilon = norm_epsilon
        return self.construct(config)

    def construct(self, config: Any) -> nn.Layer:
        """An encoder with random weights by its own config."""
        return _with_norms(self.model(config))

    def read(self, pretrained: str, weights: Mapping[str, Array], **changes: float) -> nn.Layer:
        """An encoder of a folder's or a published name's config, with these weights.

        With the arrays given, PaddleNLP opens no file of weights, which it would unpickle. Weights that are missing or
        of another shape stay random: whoever calls compares.
        """
        own = {self.encoder_name(name): value for name, value in weights.items()} if self.renamed else dict(weights)
        encoder = self.model.from_pretrained(pretrained, state_dict=own, ignore_mismatched_sizes=True, **changes)
        for name, value in encoder.state_dict().items() if self.renamed else ():
            if name in own and list(own[name].shape) == list(value.shape):
                value.set_value(own[name])  # PaddleNLP reads a safetensors file itself, and not by these names
        return _with_norms(encoder)

    def encoder_name(self, name: str) -> str:
        """The name of a weight within the encoder, without the prefix that it has below a head."""
        inner = name.removeprefix(f"{self.model.base_model_prefix}.")
        for theirs, own in self.renamed.items():
            inner = inner.replace(theirs, own) if inner.startswith(theirs) else inner
        return inner


def _with_norms(encoder: nn.Layer) -> nn.Layer:
    """The encoder, its layer norms with the epsilon that its config names, where it names one."""
    set_norm_epsilon(encoder, encoder.config)
    return encoder


def set_norm_epsilon(layer: nn.Layer, config: Any) -> None:
    """Gives the layer norms of a layer the `norm_epsilon` of a config, if it has one."""
    epsilon: Any = getattr(config, "norm_epsilon", None)
    for part in layer.sublayers(include_self=True) if epsilon is not None else ():
        if isinstance(part, nn.LayerNorm):
            part._epsilon = epsilon


def _of_ernie(shape: Arguments) -> Arguments:
    """A task_type_vocab_size of 0 leaves the task-type embedding out."""
    return {**shape, "use_task_id": bool(shape.get("task_type_vocab_size"))}


def _without_task_types(shape: Arguments) -> Arguments:
    shape.pop("task_type_vocab_size", None)
    return shape


def _of_paddlenlp(name: str, prefix: str, arguments: Callable[[Arguments], Arguments]) -> Family:
    published = getattr(transformers, f"{prefix}PretrainedModel").pretrained_resource_files_map["model_state"]
    return Family(FACTS[name], getattr(transformers, f"{prefix}Model"), arguments, published)


def _with_sized_heads(family: Family) -> Family:
    """The family, its Transformers with heads of the size that their config names."""
    if family.facts.recurrent:
        return family
    return replace(family, model=new_class(family.model.__name__, (SizedHeads, family.model)))


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.facts.name: _with_sized_heads(family)
        for family in (
            _of_paddlenlp("ernie", "Ernie", _of_ernie),
            _of_paddlenlp("bert", "Bert", _without_task_types),
            _of_paddlenlp("roberta", "Roberta", _without_task_types),
            Family(
                FACTS["electra"],
                ElectraModel,
                _without_task_types,
                transformers.ElectraPretrainedModel.pretrained_resource_files_map["model_state"],
                renamed={"embeddings_project.": "embeddings.project."},
            ),
            Family(FACTS[BiLstmConfig.model_type], BiLstmModel, dict, {}),
        )
    }
)


def family_of(encoder: nn.Layer) -> Family:
    """The family of an encoder that this project built or read."""
    return FAMILIES[encoder.config.model_type]
