"""What the rest of the project asks of a task's kind: features, the head, answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Callable

import numpy as np

from ernie_tiny.batch import Array, Batch, Feature
from ernie_tiny.data.batching import collate, plan_batches
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.data.tokenizer import Tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.family_facts import FACTS
from ernie_tiny.kind_facts import facts_of
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.models.forms import FORMS, HeadSpec

Logits = dict[int, Array]  # number of a feature to its logits


def featurise(spec: TaskSpec, examples: Sequence[Example], tokenizer: Tokenizer, max_length: int) -> list[Feature]:
    """The features of the examples, in order; a long example may have several, next to each other.

    Args:
        max_length: Tokens of a sequence, [CLS] and [SEP] included.
    Raises:
        InputError: max_length leaves no room for text beside what is never cut.
    """
    return list(kind_named(spec.kind).features(spec, examples, tokenizer, max_length))


def head_of(spec: TaskSpec) -> HeadSpec:
    """The head that answers a task."""
    kind = kind_named(spec.kind)
    return HeadSpec(spec.name, kind.facts.form, len(kind.output_names(spec)), spec.labels)


def add_head(model: Any, spec: TaskSpec) -> None:
    """Adds to a MultiTaskModel the head that answers a task, with random weights; one that is there already is kept.

    Raises:
        InputError: A head for other labels is there, or the model is recurrent and cannot answer the kind.
    """
    reason, family = facts_of(spec.kind).not_recurrent, FACTS[model.encoder.config.model_type]
    if reason and family.recurrent:
        raise InputError(
            f"task {spec.name}: a {family.title} cannot answer it: {reason}. Leave the task out or train a Transformer."
        )
    model.add_head(head_of(spec))


def decode(
    spec: TaskSpec, examples: Sequence[Example], features: Sequence[Feature], logits: Sequence[Array]
) -> list[Prediction]:
    """The answers, in the order of the examples.

    Args:
        features: The examples' features in any order; labels are not looked at.
        logits: Of each feature, without padding: [outputs], [candidates] or [outputs, length].
    """
    if len({example.id for example in examples}) < len(examples):
        raise ValueError(f"{spec.name}: an id stands twice, and answers are kept by id.")
    if len(features) != len(logits):
        raise ValueError(f"{spec.name}: {len(features)} features, but {len(logits)} logits.")
    outputs: dict[str, list[tuple[Feature, Array]]] = defaultdict(list)
    for feature, values in zip(features, logits):
        outputs[feature.example_id].append((feature, values))
    return kind_named(spec.kind).decode(spec, examples, outputs)


def answer(
    spec: TaskSpec,
    examples: Sequence[Example],
    features: Sequence[Feature],
    pad_id: int,
    batch_tokens: int,
    network: Callable[[Batch], Array],
    rank: int = 0,
    world_size: int = 1,
    gather: Callable[[Logits], Iterable[Logits]] = lambda own: [own],
) -> list[Prediction]:
    """Predictions in the order of the examples, each example exactly once.

    Args:
        features: The examples' features, windows of a long example next to each other.
        batch_tokens: Padded tokens of a batch. It changes speed and memory, not the answers.
        network: Gives a batch's logits: of one of the shapes of ernie_tiny.models.forms, those of candidates also one
            a row, [rows, 1].
        rank, world_size: This process answers the batches rank::world_size, which are those of one process.
        gather: Gives the logits of all processes, by number of the feature.
    """
    head = head_of(spec)
    widest = max((len(feature.sequences) for feature in features), default=1)  # collate pads the candidates too
    lengths = np.array([widest * max(len(ids) for ids, _ in feature.sequences) for feature in features])
    budget = max(batch_tokens, int(lengths.max(initial=1)))
    plan = plan_batches(lengths, seed=0, epoch=0, batch_size=None, max_tokens=budget, shuffle=False)
    own: Logits = {}
    for indices in plan[rank::world_size]:
        batch = collate([features[index] for index in indices], spec.name, pad_id)
        own.update(zip(indices.tolist(), FORMS[head.form].cut(network(batch), batch, head.outputs)))
    logits = {index: values for part in gather(own) for index, values in part.items()}
    return decode(spec, examples, features, [logits[index] for index in range(len(features))])
