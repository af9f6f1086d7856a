"""Runs one stage: one model, some data, an objective, with or without a teacher."""

from __future__ import annotations

import json
import logging
import math
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

import paddle
from paddlenlp.trainer import TrainingArguments

from ernie_tiny.config.schema import RuntimeConfig, StageConfig, split_reference
from ernie_tiny.data.sampling import TaskStream
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.distill.objective import Objective
from ernie_tiny.distill.teacher import LiveTeacher
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.metrics import score
from ernie_tiny.evaluation.predict import predict
from ernie_tiny.models.backbone import append_layers, count_parameters, drop_layers
from ernie_tiny.models.heads import MaskedTokenHead
from ernie_tiny.models.multitask import HeadSpec, MultiTaskModel, save_model
from ernie_tiny.training.callbacks import StageLog
from ernie_tiny.training.checkpoint import latest_checkpoint, prune_checkpoints, whole_folder, write_text
from ernie_tiny.training.held_out import masked_token_quality
from ernie_tiny.training.streams import corpus_stream, task_stream
from ernie_tiny.training.trainer import StageNetwork, StageTrainer
from ernie_tiny.training.workspace import MODEL_FOLDER, Workspace

RESULT_FILE = "result.json"
logger = logging.getLogger(__name__)


def run_stage(workspace: Workspace, stage: StageConfig, task: Optional[str] = None) -> dict[str, Any]:
    """Trains a stage, or one task of a stage that runs per task, and returns its result record.

    A finished stage is not run again; an unfinished one goes on from its last whole checkpoint.
    """
    folder = workspace.stage_folder(stage, task)
    if (folder / RESULT_FILE).is_file():
        return json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
    # Optimizer state is keyed by names that Paddle numbers; under a guard they are the same in every process.
    with paddle.utils.unique_name.guard():
        return _train(workspace, stage, task, folder)


def _train(workspace: Workspace, stage: StageConfig, task: Optional[str], folder: Path) -> dict[str, Any]:
    tasks = (task,) if task is not None else stage.data.tasks
    title = f"{stage.name}/{task}" if task is not None else stage.name
    seed = _stage_seed(stage.seed if stage.seed is not None else workspace.run.seed, title)
    network = _build_network(workspace, stage, tasks, task, seed)
    teacher = _build_teacher(workspace, stage, network.objective, task)
    on_tasks = stage.data.corpus is None
    stream = task_stream(workspace, stage, tasks, seed) if on_tasks else corpus_stream(workspace, stage, seed)
    steps = stage.optim.max_steps
    if steps is None:
        assert isinstance(stream, TaskStream) and stage.optim.epochs is not None
        steps = max(1, math.ceil(stage.optim.epochs * stream.batches_per_epoch / stage.optim.accumulate))
    log = None
    if paddle.distributed.get_rank() == 0:
        curves = workspace.folder / "visualdl" if workspace.run.runtime.visualdl else None
        log = StageLog(title, workspace.events, curves)
    trainer = StageTrainer(
        network,
        stream,
        teacher,
        _arguments(stage, workspace.run.runtime, folder, steps, seed),
        lambda: _score_tasks(workspace, stage, network.model, tasks),
        log,
        keep=workspace.run.runtime.keep_checkpoints,
    )
    resumed = latest_checkpoint(folder)
    if resumed is not None:
        logger.info("%s: continues from %s", title, resumed)
    trainer.train(resume_from_checkpoint=str(resumed) if resumed is not None else None)
    result = _finish(workspace, stage, trainer, tasks, folder, title)
    if log is not None:
        log.close()
    return result


def _stage_seed(seed: int, title: str) -> int:
    return zlib.crc32(f"{seed}/{title}".encode()) & 0x7FFFFFFF


def _build_network(
    workspace: Workspace, stage: StageConfig, tasks: tuple[str, ...], task: Optional[str], seed: int
) -> StageNetwork:
    model = workspace.model(stage.train, task, stage.seed)
    paddle.seed(seed)  # what is added below must not depend on what was drawn before
    _check_lengths(workspace, stage, model)
    if stage.auxiliary_layers:
        append_layers(model.encoder, stage.auxiliary_layers)
    if stage.objective.hard is not None:
        for name in tasks:
            model.add_head(head_of(workspace.task(name)))
    if stage.objective.mlm is not None and model.masked_token_head is None:
        model.masked_token_head = MaskedTokenHead(model.encoder.embeddings.word_embeddings.weight)
    teacher_layers = 0
    if stage.teacher is not None:
        teacher_layers = _num_layers(workspace, stage.teacher, task)
    return StageNetwork(model, Objective(stage.objective, model.num_layers, teacher_layers))


def head_of(spec: TaskSpec) -> HeadSpec:
    """The head that answers a task."""
    return HeadSpec(spec.name, spec.head, spec.labels)


def _num_layers(workspace: Workspace, reference: str, task: Optional[str]) -> int:
    """A teacher's depth, read from its weights' folder: the student is to be built before the teacher."""
    if split_reference(reference)[1] is None:
        with paddle.utils.unique_name.guard("depth_"):
            return workspace.model(reference, task).num_layers
    config = workspace.model_folder(reference, task) / "config.json"
    return int(json.loads(config.read_text(encoding="utf-8"))["num_hidden_layers"])


def _build_teacher(
    workspace: Workspace, stage: StageConfig, objective: Objective, task: Optional[str]
) -> Optional[LiveTeacher]:
    if stage.teacher is None:
        return None
    with paddle.utils.unique_name.guard("teacher_"):
        teacher = workspace.model(stage.teacher, task)
    return LiveTeacher(teacher, objective.teacher_request)


def _check_lengths(workspace: Workspace, stage: StageConfig, model: MultiTaskModel) -> None:
    room = model.encoder.config.max_position_embeddings
    wanted = [stage.data.max_length or workspace.task(task).max_length for task in stage.data.tasks]
    if stage.data.max_length is not None:
        wanted.append(stage.data.max_length)
    if wanted and max(wanted) > room:
        raise InputError(
            f"stages.{stage.name}.data.max_length: inputs of {max(wanted)} tokens do not fit the {room} positions of "
            f"{split_reference(stage.train)[0]}. Lower data.max_length or raise max_position_embeddings."
        )


def _arguments(
    stage: StageConfig, runtime: RuntimeConfig, folder: Path, steps: int, seed: int
) -> TrainingArguments:
    optim, every = stage.optim, stage.select.every
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=optim.accumulate,
        learning_rate=optim.learning_rate,
        lr_scheduler_type="linear",
        warmup_ratio=optim.warmup_ratio,
        weight_decay=optim.weight_decay,
        max_grad_norm=optim.max_grad_norm,
        adam_beta1=optim.adam_beta1,
        adam_beta2=optim.adam_beta2,
        adam_epsilon=optim.adam_epsilon,
        logging_steps=min(runtime.logging_steps, steps),
        save_strategy="steps" if runtime.save_steps else "no",
        save_steps=runtime.save_steps or steps,
        evaluation_strategy="no" if every is None else "steps",
        eval_steps=every,
        fp16=runtime.precision == "float16",
        bf16=runtime.precision == "bfloat16",
        fp16_opt_level="O1",
        device=paddle.get_device().partition(":")[0],
        seed=seed,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        ignore_data_skip=True,  # the stream is put back to its place by the checkpoint
        ddp_find_unused_parameters=True,  # a batch uses one head
    )


def _score_tasks(
    workspace: Workspace, stage: StageConfig, model: MultiTaskModel, tasks: tuple[str, ...]
) -> dict[str, float]:
    """Each task's main metric on dev, in percent."""
    scores = {}
    for name in tasks:
        spec = workspace.task(name)
        examples = workspace.examples(name, "dev", stage.select.examples)
        features = workspace.features(name, "dev", stage.data.max_length, stage.select.examples)
        predictions = predict(model, spec, examples, features, workspace.tokenizer.pad_id)
        scores[name] = score(spec, examples, predictions)[spec.metric]
    return scores


def _finish(
    workspace: Workspace,
    stage: StageConfig,
    trainer: StageTrainer,
    tasks: tuple[str, ...],
    folder: Path,
    title: str,
) -> dict[str, Any]:
    """Selects the weights, drops what only distillation needed, writes the model and the stage's result."""
    if stage.select.every is not None:
        if trainer.state.global_step % stage.select.every:
            trainer.evaluate()
        trainer.load_best()
    model = trainer.network.model
    if stage.auxiliary_layers:
        drop_layers(model.encoder, stage.auxiliary_layers)
    result = {
        "stage": stage.name,
        "task": title.partition("/")[2] or None,
        "trained": split_reference(stage.train)[0],
        "steps": trainer.state.global_step,
        "tokens": trainer.tokens,
        "seconds": round(trainer.seconds, 1),
        "parameters": count_parameters(model.encoder),
        "best_dev": trainer.state.best_metric,
        "held_out": masked_token_quality(workspace, stage, model) if stage.objective.mlm is not None else None,
        "objective": {name: asdict(term) for name, term in stage.objective.terms().items()},  # type: ignore[call-overload]
    }
    if trainer.args.should_save:
        with whole_folder(folder / MODEL_FOLDER) as target:
            save_model(model, target)
            workspace.tokenizer.save(target)
        write_text(folder / RESULT_FILE, json.dumps(result, ensure_ascii=False, indent=1))
        prune_checkpoints(folder, keep=0)
        workspace.events.write("stage_end", **result)
        if result["held_out"]:
            logger.info("%s, held-out text: %s", title, result["held_out"])
    return result
