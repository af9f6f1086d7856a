"""How well a model fills in masked tokens of text that training left out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F

from ernie_tiny.config.schema import StageConfig
from ernie_tiny.data.corpus import HELD_OUT_EVERY, RECORD_FILE, CorpusStream
from ernie_tiny.data.masking import mask_tokens
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import SignalRequest, to_tensor
from ernie_tiny.training.workspace import Workspace

BATCHES, BATCH_SIZE = 8, 32


def masked_token_quality(workspace: Workspace, stage: StageConfig, model: MultiTaskModel) -> dict[str, float]:
    """Loss in nats and accuracy in percent on held-out documents, with the two marks that token frequencies set.

    Keys: masked_tokens; loss; accuracy; unigram_loss, the entropy of the masked tokens' own frequencies, and
    unigram_accuracy, that of always answering the most frequent one. A model that is not better than these has
    learned no more than frequencies. Empty for a corpus of too few documents to hold one out.
    """
    assert stage.data.corpus is not None and stage.objective.mlm is not None
    folder, tokenizer = workspace.corpus(stage.data.corpus), workspace.tokenizer
    if json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))["documents"] < HELD_OUT_EVERY:
        return {}
    length = stage.data.corpus_length
    stream = CorpusStream(folder, 0, BATCH_SIZE, length, tokenizer.cls_id, tokenizer.sep_id, split="heldout")
    losses: list[Any] = []
    right: list[Any] = []
    labels: list[Any] = []
    model.eval()
    for position in range(BATCHES):
        term = stage.objective.mlm
        batch = mask_tokens(stream.next_batch(), tokenizer, 0, position, term.probability, term.whole_words)
        with paddle.no_grad():
            logits = model(batch, SignalRequest(logits=True)).logits
            losses.append(F.cross_entropy(logits, to_tensor(batch.labels), reduction="none").numpy().ravel())
        right.append(logits.argmax(-1).numpy() == batch.labels)
        labels.append(batch.labels)
    frequencies = np.bincount(np.concatenate(labels)).astype(np.float64)
    frequencies = frequencies[frequencies > 0] / frequencies.sum()
    return {
        "masked_tokens": int(np.concatenate(labels).size),
        "loss": round(float(np.concatenate(losses).mean()), 4),
        "accuracy": round(100 * float(np.concatenate(right).mean()), 2),
        "unigram_loss": round(float(-(frequencies * np.log(frequencies)).sum()), 4),
        "unigram_accuracy": round(100 * float(frequencies.max()), 2),
    }
