"""What is wrong with a config, its models and its data on this machine, in lines with remedies. Without Paddle."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Optional

from ernie_tiny.config.schema import RunConfig, StageConfig, split_reference
from ernie_tiny.config.shapes import Shape
from ernie_tiny.data.corpus import check_general_text, corpus_files
from ernie_tiny.data.task import UNLABELLED, Example, TaskSpec
from ernie_tiny.data.tokenizer import Tokenizer, load_tokenizer, vocabulary_file
from ernie_tiny.errors import InputError
from ernie_tiny.models.weights import no_weights, read_weights, weights_file
from ernie_tiny.runs.changes import changes_since
from ernie_tiny.runs.installation import FAULT, OK, WARNING, Finding
from ernie_tiny.runs.machine import check_engines_installed, check_machine
from ernie_tiny.runs.preflight import check_heads, check_lengths, check_vocabularies, read_data
from ernie_tiny.runtime import remedy_of
from ernie_tiny.training.flops import input_length, planned_shape
from ernie_tiny.training.tasks import Examples, task_reader, task_specs

UNKNOWN_SHARE = 0.05  # of tokens, above which a vocabulary hardly is the texts' own
TEXTS = 500  # that are looked at for it
MEMORY_FILE = Path("/proc/meminfo")
WEIGHT_BYTES, TRAINED_BYTES = 4, 16  # of a weight: itself; with its gradient and AdamW's two moments
GIGA = 1e9
PROCESS_BYTES = 0.55e9


def examine_run(run: RunConfig) -> Iterator[Finding]:
    """Output folder, disk, memory, models, vocabulary and data of a run; reads all of the data, trains nothing."""
    try:
        yield from _findings(run)
    except InputError as error:  # what further findings stand on, as the tasks and the vocabulary
        yield Finding(FAULT, str(error))


def _findings(run: RunConfig) -> Iterator[Finding]:
    yield _folder(run)
    for name in run.models:
        yield _model(run, name)
    specs = task_specs(run)
    yield from _memory(run)
    check_machine(run)
    check_engines_installed(run)
    check_lengths(run)
    check_heads(run)
    yield Finding(OK, "input lengths fit the models' positions, labels their heads")
    if run.data.sample:
        yield Finding(OK, "data is the project's own, written when the run starts")
        return
    examples = task_reader(run, specs)
    tasks = {task: _task(specs[task], examples) for task in specs}
    yield from tasks.values()
    readable = [task for task, finding in tasks.items() if finding.state == OK]
    if len(readable) == len(tasks):
        try:
            for warning in read_data(run, examples):
                yield Finding(WARNING, warning)
        except InputError as error:  # of recorded answers; the tasks are read already
            yield Finding(FAULT, str(error))
    for name in run.corpora_read:
        yield _corpus(run, name)
    yield from _vocabulary(run, readable, examples)


def _folder(run: RunConfig) -> Finding:
    folder = Path(run.folder).absolute()
    parent = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        changes_since(run, folder)
        with tempfile.TemporaryFile(dir=parent):
            free = shutil.disk_usage(parent).free
    except InputError as error:
        return Finding(FAULT, str(error))
    except OSError as error:
        remedy = remedy_of(error) or "name another place: -o output_dir=DIR"
        return Finding(FAULT, f"{folder}: cannot be written ({error})", remedy)
    needed = disk_bytes(run)
    what = f"{folder}: may be written; the run takes about {needed / GIGA:.1f} GB, {free / GIGA:.1f} GB are free"
    if needed > free:
        return Finding(
            FAULT,
            what,
            "free some, write elsewhere (-o output_dir=DIR), or keep fewer checkpoints (runtime.keep_checkpoints)",
        )
    return Finding(OK, what)


def _shape(run: RunConfig, reference: str) -> Optional[Shape]:
    return planned_shape(run, split_reference(reference)[0])


def disk_bytes(run: RunConfig) -> float:
    """Of a run: the models of all stages stay, and the largest stage has its checkpoints, one more than are kept."""
    models, largest = 0, 0
    for stage in run.own_stages:
        shapes = [_shape(run, reference) for reference in stage.trained.values()]
        weights = sum(shape.parameters for shape in shapes if shape is not None)
        models, largest = models + len(stage.parts) * weights, max(largest, weights)
    checkpoints = (run.runtime.keep_checkpoints + 1) * largest
    return float(models * WEIGHT_BYTES + checkpoints * (TRAINED_BYTES - WEIGHT_BYTES))


def _memory(run: RunConfig) -> Iterator[Finding]:
    """The stage that takes most, against what is free; a GPU's memory is not known here."""
    needs = {stage.name: needed for stage in run.own_stages if (needed := stage_bytes(run, stage)) is not None}
    if not needs or not MEMORY_FILE.is_file():
        return
    lines = MEMORY_FILE.read_text(encoding="ascii").splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    name = max(needs, key=lambda stage: needs[stage])
    what = f"memory: stage {name} takes about {needs[name] / GIGA:.1f} GB, {free / GIGA:.1f} GB are free"
    if needs[name] > free:
        yield Finding(
            WARNING,
            what,
            f"on a CPU lower stages.{name}.optim.batch_size or max_tokens and raise its "
            "accumulate as much, or lower data.max_length",
        )
    else:
        yield Finding(OK, what)


def stage_bytes(run: RunConfig, stage: StageConfig) -> Optional[float]:
    """Memory that a stage's training takes in float32, roughly; None where a shape is not known.

    The process with Paddle; weights, gradients and moments of the student; weights of the teachers; and what the
    backward pass needs of the student (`kept_bytes`). Two steps of three encoders (4 and 6 layers, hidden 192 and 256)
    on a CPU peaked within 7 % of this sum.
    """
    students = [_shape(run, reference) for reference in stage.trained.values()]
    teachers = [shape for reference in stage.teachers if (shape := _shape(run, reference)) is not None]
    specs = task_specs(run)
    length = input_length(stage, [specs[task] for task in stage.data.tasks])
    tokens = stage.optim.max_tokens or (stage.optim.batch_size or 0) * length
    total = PROCESS_BYTES + float(WEIGHT_BYTES * sum(shape.parameters for shape in teachers))
    for shape in students:
        if shape is None:
            return None
        layers = shape.num_hidden_layers + stage.auxiliary_layers
        logits = 2 * 4 * stage.objective.mlm.probability * shape.vocab_size if stage.objective.mlm is not None else 0
        total += TRAINED_BYTES * shape.parameters + tokens * (layers * shape.kept_bytes(length) + logits)
    return total


def _model(run: RunConfig, name: str) -> Finding:
    model, shape = run.models[name], _shape(run, name)
    size = "shape known once it is fetched" if shape is None else f"{shape.parameters / 1e6:.1f} M parameters"
    if model.pretrained is None:
        return Finding(OK, f"model {name}: random weights, {size}")
    folder = Path(model.pretrained)
    if not folder.is_dir():
        return Finding(
            WARNING,
            f"model {name}: {model.pretrained} is no folder, so it is fetched by this name, {size}",
            "with a network the first time; for a machine without one copy the folder and name that",
        )
    file = weights_file(folder)
    if file is None:
        return Finding(FAULT, f"model {name}: {no_weights(folder)}")
    try:
        weights = read_weights(file)
    except InputError as error:
        return Finding(FAULT, f"model {name}: {error}")
    return Finding(OK, f"model {name}: {file}, {len(weights)} arrays, {size}")


def _task(spec: TaskSpec, examples: Examples) -> Finding:
    try:
        splits = [*filter(spec.files_of, ("train", UNLABELLED)), "dev"]
        counts = [f"{len(examples(spec.name, split, None)):,} {split}" for split in splits]
    except InputError as error:
        return Finding(FAULT, f"task {spec.name}: {error}")
    return Finding(OK, f"task {spec.name}: {', '.join(counts)}")


def _corpus(run: RunConfig, name: str) -> Finding:
    corpus = run.data.corpora[name]
    try:
        files = corpus_files(Path(run.data.root), corpus.files, f"data.corpora.{name}.files")
        check_general_text(files, corpus.field)
    except InputError as error:
        return Finding(FAULT, str(error))
    return Finding(OK, f"general text {name}: {sum(file.stat().st_size for file in files) / 1e6:.1f} MB")


def _vocabulary(run: RunConfig, tasks: Sequence[str], examples: Examples) -> Iterator[Finding]:
    """The run's vocabulary, where it is on this machine, against models and texts."""
    source = run.vocabulary_source
    if source is None and run.tokenizer.build_from is not None:
        size = f"{run.tokenizer.vocab_size:,} tokens at most"
        yield Finding(OK, f"vocabulary: {size}, built from {run.tokenizer.build_from}")
        return
    if source is None:
        yield Finding(
            FAULT,
            "vocabulary: no model is pretrained, so there is none",
            "set tokenizer.vocab to a vocab.txt, or tokenizer.build_from to a corpus",
        )
        return
    if vocabulary_file(Path(source)) is None:
        yield Finding(
            WARNING,
            f"vocabulary: {source} holds none here, so it is fetched by this name",
            "with a network the first time, or set tokenizer.vocab to a vocab.txt",
        )
        return
    try:
        tokenizer = load_tokenizer(Path(source))
        check_vocabularies(run, tokenizer)
    except InputError as error:
        yield Finding(FAULT, f"vocabulary: {error}")
        return
    yield Finding(OK, f"vocabulary: {source}, {tokenizer.vocab_size:,} tokens")
    for name in run.models:
        shape = _shape(run, name)
        if run.models[name].pretrained and shape is not None and shape.vocab_size < tokenizer.vocab_size:
            what = f"model {name} has embeddings for {shape.vocab_size:,} tokens, fewer than the vocabulary"
            yield Finding(FAULT, what, f"set tokenizer.vocab to the vocabulary of {run.models[name].pretrained}")
    for task in tasks:
        share = _unknown_share(tokenizer, examples(task, "dev", None))
        if share > UNKNOWN_SHARE:
            yield Finding(
                WARNING,
                f"task {task}: {share:.0%} of its tokens are unknown to the vocabulary",
                "take the vocabulary of the data's language (tokenizer.vocab), or build one (build_from)",
            )


def _unknown_share(tokenizer: Tokenizer, examples: Sequence[Example]) -> float:
    texts = [text for example in islice(examples, TEXTS) for text in example.texts]
    tokens = [token for ids, _ in tokenizer.encode_batch(texts) for token in ids.tolist()]
    return tokens.count(tokenizer.unk_id) / max(1, len(tokens))
