"""A task's training features with their augmented copies, which are made once and kept in the run's folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle

from ernie_tiny import processes
from ernie_tiny.batch import Array, Feature
from ernie_tiny.config.schema import AugmentConfig, StageConfig
from ernie_tiny.data.augment import MaskedText, augment, restore
from ernie_tiny.data.batching import collate, plan_batches
from ernie_tiny.data.task import UNLABELLED
from ernie_tiny.data.tokenizer import Tokenizer
from ernie_tiny.distill.cache import fingerprint_of
from ernie_tiny.errors import InputError
from ernie_tiny.files import damage, whole_folder
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import SignalRequest, to_tensor
from ernie_tiny.training.callbacks import progress_bar
from ernie_tiny.training.tasks import training_splits
from ernie_tiny.training.workspace import Workspace

AUGMENTED_FOLDER, IDS_FILE = "augmented", "input_ids.npy"
CHUNK = 256  # features whose copies are made together: texts of similar length meet in a batch
BATCH_TOKENS = 2048  # padded ones of a forward pass: with 40 % of them masked, 40,000 logits each take 130 MB
NEVER = -1.0e9  # added to the logits of what may not stand in a text
logger = logging.getLogger(__name__)


def training_features(workspace: Workspace, stage: StageConfig, task: str) -> list[Feature]:
    """The features of a task that a stage trains on: its train split, the copies of data.augment, unlabelled texts.

    The copies lie in a folder that is named by all that they depend on, so that another model, vocabulary, setting or
    example makes new ones, and stages that agree in all of it share them.
    """
    data = stage.data
    splits = dict(training_splits(stage, workspace.task(task)))
    found = {split: workspace.features(task, split, data.max_length, limit) for split, limit in splits.items()}
    features, unlabelled = found.get("train", []), found.get(UNLABELLED, [])
    if data.augment is None or not features:
        return [*features, *unlabelled]
    config, seed = data.augment, workspace.run.seed if stage.seed is None else stage.seed
    folder = processes.from_main(lambda: str(_augmented(workspace, stage, config, seed, task, features)))
    return [*features, *restore(features, config.copies, np.load(Path(folder) / IDS_FILE)), *unlabelled]


def _augmented(
    workspace: Workspace, stage: StageConfig, config: AugmentConfig, seed: int, task: str, features: Sequence[Feature]
) -> Path:
    """The folder with the copies' input ids, written when it is not there or not whole."""
    tokenizer = workspace.tokenizer
    ordinary = tokenizer.vocab_size - len(tokenizer.special_ids)
    if config.candidates > ordinary:
        raise InputError(
            f"data.augment.candidates = {config.candidates}: the vocabulary has {ordinary} ordinary tokens. Take fewer."
        )
    with paddle.utils.unique_name.guard("augment_"):  # names of the trained model's weights must not shift
        model = workspace.model(config.model, task)
    workspace.check_lengths(stage, [task], config.model, model)
    model.eval()
    identity = [fingerprint_of([model]), tokenizer.fingerprint, _digest(features), dataclasses.asdict(config), seed]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    folder = workspace.folder / AUGMENTED_FOLDER / f"{task}-{key}"
    if damage(folder) is not None:
        with whole_folder(folder) as partial:
            np.save(partial / IDS_FILE, _copied_ids(model, config, seed, task, features, tokenizer))
    return folder


def _digest(features: Sequence[Feature]) -> str:
    digest = hashlib.sha256()
    for feature in features:
        digest.update(f"{feature.example_id}/{len(feature.sequences)}".encode())
        for ids, types in feature.sequences:
            digest.update(f"/{len(ids)}".encode())
            digest.update(ids.tobytes())
            digest.update(types.tobytes())
    return digest.hexdigest()


def _copied_ids(
    model: MultiTaskModel,
    config: AugmentConfig,
    seed: int,
    task: str,
    features: Sequence[Feature],
    tokenizer: Tokenizer,
) -> Array:
    """int32 [tokens], the input ids of all copies, one after the other."""
    logger.info("%s: %s makes %d copies of %d examples", task, config.model, config.copies, len(features))
    found: list[Array] = []
    with progress_bar(total=len(features), desc=f"augments {task}", unit="example") as bar:
        for start in range(0, len(features), CHUNK):
            chunk = features[start : start + CHUNK]
            copies = augment(
                chunk,
                tokenizer,
                config.copies,
                config.probability,
                config.candidates,
                seed,
                lambda texts: _predict(model, tokenizer, config.candidates, texts),
            )
            found.extend(ids for copy in copies for ids, _ in copy.sequences)
            bar.update(len(chunk))
    return np.concatenate(found)


def _predict(model: MultiTaskModel, tokenizer: Tokenizer, candidates: int, texts: Sequence[MaskedText]) -> list[Array]:
    """Of each text the tokens of the wanted ranks at its columns."""
    lengths = np.array([len(text.input_ids) for text in texts], np.int64)
    allowed = np.full(model.encoder.config.vocab_size, NEVER, np.float32)  # it may have more rows than the vocabulary
    allowed[: tokenizer.vocab_size] = 0
    allowed[tokenizer.special_ids] = NEVER
    found: dict[int, Array] = {}
    budget = max(BATCH_TOKENS, int(lengths.max(initial=0)))
    for indices in plan_batches(lengths, 0, 0, None, budget, shuffle=False):
        group = [texts[index] for index in indices]
        batch = collate([Feature("", ((text.input_ids, text.token_type_ids),)) for text in group], "", tokenizer.pad_id)
        width = batch.input_ids.shape[1]
        positions = np.concatenate([row * width + text.columns for row, text in enumerate(group)])
        with paddle.no_grad():
            logits = model(dataclasses.replace(batch, masked_positions=positions), SignalRequest(logits=True)).logits
            best = paddle.topk(logits + to_tensor(allowed), candidates)[1].numpy()
        ranks = np.concatenate([text.ranks for text in group])
        tokens = best[np.arange(len(ranks)), ranks]
        ends = np.cumsum([len(text.columns) for text in group])
        found.update(zip(indices.tolist(), np.split(tokens, ends[:-1])))
    return [found[number] for number in range(len(texts))]
