"""What must hold between the keys of a config, checked before anything is built or read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Optional

from ernie_tiny.config.check_augment import check_augmentation
from ernie_tiny.config.check_engines import check_engines
from ernie_tiny.config.check_family import check_family, check_folder_family, check_source, check_stage_families
from ernie_tiny.config.check_names import check_names, unfit_name
from ernie_tiny.config.check_objective import (
    EXPLICIT,
    Fault,
    check_answers,
    check_choice,
    check_objective,
    check_unlabelled,
    divisors,
    listed,
)
from ernie_tiny.config.ranges import check_numbers
from ernie_tiny.config.schema import (
    ANSWER_TERMS,
    DROPOUTS,
    RunConfig,
    RuntimeConfig,
    StageConfig,
    StageDataConfig,
    split_reference,
)
from ernie_tiny.config.shapes import SHAPES, EncoderShape, shape_of
from ernie_tiny.errors import InputError, offer
from ernie_tiny.family_facts import FACTS

RESERVED_TITLES = ("teacher", "student", "baseline", "majority")  # of rows of a report


def check(run: RunConfig, fault: Fault) -> RunConfig:
    """The run without its skipped stages, or an InputError for the first thing that cannot work."""
    check_numbers(run, "", fault)
    check_names(run, fault)
    _check_runtime(run.runtime, fault)
    check_engines(run, fault)
    _check_models(run, fault)
    _check_tokenizer(run, fault)
    if not run.stages:
        raise fault("stages", "is empty: a run is a list of stages.")
    names = [stage.name for stage in run.stages]
    for name in names:
        if names.count(name) > 1:
            raise fault(f"stages.{name}", "stands twice: stage names are unique.")
        if set(". ") & set(name):
            raise fault(f"stages.{name}", "may hold no '.' or space.")
    skipped = [stage.name for stage in run.stages if stage.skip]
    if skipped == names:
        raise fault("stages", "are all skipped: nothing is left to run.")
    run = _unlink_skipped(run)
    for position, stage in enumerate(run.stages):
        _check_stage(run, stage, run.stages[:position], fault)
    _check_results(run, skipped, fault)
    return run


def _check_runtime(runtime: RuntimeConfig, fault: Fault) -> None:
    if runtime.sharding == "stage2":
        raise fault(
            "runtime.sharding",
            "= 'stage2': gradients are not partitioned here. Paddle's group sharded, which would do it, runs on GPUs "
            "alone, and was not run. Set it to optimizer, which partitions the optimizer's states on any device.",
        )
    for key in ("precision", "teacher_engine", "teacher_precision", "sharding"):
        check_choice(getattr(runtime, key), f"runtime.{key}", f"runtime.{key}", fault)
    if not re.fullmatch(r"auto|cpu|gpu(:[0-9]{1,4})?", runtime.device):
        raise fault("runtime.device", f"= {runtime.device!r}; valid are auto, cpu, gpu and gpu:<number>.")


def _check_models(run: RunConfig, fault: Fault) -> None:
    for name, model in run.models.items():
        key = f"models.{name}"
        check_choice(model.family, "family", f"{key}.family", fault)
        if model.pooling is not None:
            check_choice(model.pooling, "pooling", f"{key}.pooling", fault)
        if model.init_narrowed is not None:
            check_choice(model.init_narrowed, "init_narrowed", f"{key}.init_narrowed", fault)
            if not model.init_layers:
                raise fault(f"{key}.init_narrowed", "is for a model with init_from and init_layers.")
        check_family(model, key, fault)
        if model.shape is not None and model.shape not in SHAPES:
            raise fault(f"{key}.shape", f"= {model.shape!r}: {offer(model.shape, SHAPES)}")
        if model.pretrained is not None:
            for number in ("shape", *(f.name for f in dataclasses.fields(EncoderShape) if f.name not in DROPOUTS)):
                if getattr(model, number, None) is not None:
                    raise fault(f"{key}.{number}", f"cannot be given: {model.pretrained} is pretrained and sets it.")
        try:
            shape = shape_of(model)
        except KeyError as missing:
            raise fault(key, f"needs {missing.args[0]}, or a `shape` or `pretrained` that sets it.") from None
        except InputError as error:
            raise fault(f"{key}.pretrained", f"= {error}") from None
        except (ValueError, TypeError, RecursionError) as error:
            raise fault(
                f"{key}.pretrained", f"= {model.pretrained!r}: its config.json is no encoder's: {error}"
            ) from None
        check_folder_family(model, key, fault)
        if isinstance(shape, EncoderShape) and not shape.head_size and shape.hidden_size % shape.num_attention_heads:
            heads = [n for n in divisors(shape.hidden_size) if n <= 32]
            raise fault(
                f"{key}.num_attention_heads",
                f"= {shape.num_attention_heads} does not divide hidden_size {shape.hidden_size}. "
                f"Numbers of heads that divide {shape.hidden_size}: {listed(heads)}; widths near it that "
                f"{shape.num_attention_heads} divides: {_multiples_near(shape)}.",
            )
        if model.init_layers and model.init_from is None:
            raise fault(
                f"{key}.init_layers", f"= {list(model.init_layers)}: of which model? Name it in {key}.init_from."
            )
        if model.init_from is not None and not model.init_layers and not FACTS[model.family].recurrent:
            raise fault(f"{key}.init_layers", "is missing: name the layers of init_from, as in [0, 2, 4].")


def _check_tokenizer(run: RunConfig, fault: Fault) -> None:
    vocab, corpus = run.tokenizer.vocab, run.tokenizer.build_from
    if corpus is not None and corpus not in run.data.corpora:
        raise fault("tokenizer.build_from", f"= {corpus!r}: {offer(corpus, run.data.corpora)}")
    if corpus is not None and vocab is not None:
        raise fault("tokenizer.build_from", f"= {corpus!r} stands beside vocab = {vocab!r}: set one of them to null.")


def _multiples_near(shape: EncoderShape) -> str:
    heads = shape.num_attention_heads
    below = shape.hidden_size - shape.hidden_size % heads
    return listed([width for width in (below, below + heads) if width])


def _unlink_skipped(run: RunConfig) -> RunConfig:
    """Skipped stages taken out; a reference to one becomes a reference to what it would have started from."""
    links: dict[str, str] = {}
    for stage in run.stages:
        if stage.skip:
            for name, reference in stage.trained.items():
                links[f"{name}@{stage.name}"] = links.get(reference, reference)

    stages = tuple(
        dataclasses.replace(
            stage,
            train=links.get(stage.train, stage.train),
            also_train=tuple(links.get(name, name) for name in stage.also_train),
            teacher=links.get(stage.teacher, stage.teacher) if isinstance(stage.teacher, str) else stage.teacher,
            ensemble={links.get(name, name): weight for name, weight in stage.ensemble.items()},
            data=_relink_augmentation(stage.data, links),
        )
        for stage in run.stages
        if not stage.skip
    )
    models = {
        name: dataclasses.replace(model, init_from=model.init_from and links.get(model.init_from, model.init_from))
        for name, model in run.models.items()
    }
    return dataclasses.replace(run, models=models, stages=stages)


def _relink_augmentation(data: StageDataConfig, links: Mapping[str, str]) -> StageDataConfig:
    if data.augment is None:
        return data
    model = links.get(data.augment.model, data.augment.model)
    return dataclasses.replace(data, augment=dataclasses.replace(data.augment, model=model))


def _check_stage(run: RunConfig, stage: StageConfig, before: tuple[StageConfig, ...], fault: Fault) -> None:
    key = f"stages.{stage.name}"
    _check_reference(run, stage.train, f"{key}.train", before, fault, stage)
    for reference in stage.also_train:
        _check_reference(run, reference, f"{key}.also_train", before, fault, stage)
    if len(stage.trained) <= len(stage.also_train):
        raise fault(f"{key}.also_train", f"= {list(stage.also_train)}: each model is trained once in a stage.")
    if stage.teacher is not None and stage.ensemble:
        raise fault(f"{key}.ensemble", f"stands beside teacher = {stage.teacher!r}: give one of them.")
    for teacher in stage.teachers:
        where = f"{key}.ensemble" if stage.ensemble else f"{key}.teacher"
        _check_reference(run, teacher, where, before, fault, stage, teaches=True)
    if stage.cache is not None:
        if not stage.taught_by:
            raise fault(f"{key}.cache", "keeps what a teacher answers, and the stage has none. Take it out.")
        check_choice(stage.cache.precision, "cache.precision", f"{key}.cache.precision", fault)
    _check_stage_data(run, stage, key, fault)
    if stage.data.augment is not None:
        _check_reference(run, stage.data.augment.model, f"{key}.data.augment.model", before, fault, stage)
        check_augmentation(run, stage, stage.data.augment, fault)
    check_stage_families(run, stage, fault)
    check_objective(run, stage, fault)
    if stage.select.every is not None and not stage.objective.reads_answers:
        raise fault(
            f"{key}.select.every",
            f"= {stage.select.every}: the stage trains no answers that could be scored. Take it out, or add a term "
            f"that reads them: {', '.join(ANSWER_TERMS)}.",
        )
    check_answers(stage, fault)
    check_unlabelled(stage, fault)
    _check_optim(stage, key, fault)


def _check_reference(
    run: RunConfig,
    reference: str,
    key: str,
    before: tuple[StageConfig, ...],
    fault: Fault,
    user: Optional[StageConfig] = None,
    above: tuple[str, ...] = (),
    teaches: bool = False,
) -> None:
    """`above`: models whose init_from led to this reference. `teaches`: it may have weights for each task apart."""
    model, stage_name = split_reference(reference)
    if reference.endswith("@"):
        raise fault(key, f"= {reference!r}: names no stage behind the @. Write {model} for the model as configured.")
    if model not in run.models:
        raise fault(key, f"= {reference!r}: there is no model {model!r}. {offer(model, run.models)}")
    if stage_name is None:
        source_of_layers = run.models[model].init_from
        if model in above:
            raise fault(key, f"= {reference!r} goes round in a circle: {' -> '.join((*above, model))}.")
        if source_of_layers is not None:
            where = f"models.{model}.init_from"
            _check_reference(run, source_of_layers, where, before, fault, user, (*above, model))
            check_source(run, model, split_reference(source_of_layers)[0], fault)
            _check_init_layers(run, model, split_reference(source_of_layers)[0], fault)
        return
    stages = {stage.name: stage for stage in before if model in stage.trained}
    if stage_name not in stages:
        raise fault(
            key,
            f"= {reference!r}: no stage before this one is named {stage_name!r} and trains {model!r}. "
            f"{offer(stage_name, stages)}",
        )
    source = stages[stage_name]
    if source.per_task and user is not None:
        apart = user.per_task or (teaches and user.data.corpus is None)
        absent = [task for task in user.data.tasks if task not in source.data.tasks] if apart else []
        if not apart:
            raise fault(key, f"= {reference!r} has one set of weights a task; set per_task: true here too.")
        if absent:
            raise fault(key, f"= {reference!r} was not trained on {', '.join(absent)}.")


def _check_init_layers(run: RunConfig, name: str, source: str, fault: Fault) -> None:
    key, layers = f"models.{name}.init_layers", list(run.models[name].init_layers)
    own, other = shape_of(run.models[name]), shape_of(run.models[source])
    if own is not None and len(layers) > own.num_hidden_layers:
        raise fault(key, f"= {layers}: {name} has room for {own.num_hidden_layers} layers.")
    if other is not None and not all(0 <= layer < other.num_hidden_layers for layer in layers):
        raise fault(key, f"= {layers}: {source} has the layers 0 to {other.num_hidden_layers - 1}.")


def _check_stage_data(run: RunConfig, stage: StageConfig, key: str, fault: Fault) -> None:
    data = stage.data
    if bool(data.tasks) and data.corpus is not None and not stage.per_task:
        raise fault(f"{key}.data", "has tasks and a corpus: a stage learns from one of them (both only per task).")
    if not data.tasks and data.corpus is None:
        raise fault(f"{key}.data", "has neither tasks nor a corpus.")
    if data.corpus is not None and data.corpus not in run.data.corpora:
        raise fault(f"{key}.data.corpus", f"= {data.corpus!r}: {offer(data.corpus, run.data.corpora)}")
    _check_once(data.tasks, f"{key}.data.tasks", fault)
    if stage.per_task and not data.tasks:
        raise fault(f"{key}.per_task", "is true, but data.tasks is empty.")
    for task, settings in stage.task_settings.items():
        where = f"{key}.task_settings.{task}"
        if not stage.per_task:
            raise fault(where, "is for a stage that runs per task; set per_task: true.")
        for name in ("epochs", "batch_size"):
            if getattr(settings, name) is not None and getattr(stage.optim, name) is None:
                raise fault(f"{where}.{name}", f"cannot be given: the stage's optim sets no {name}.")
    _check_sampling(stage, f"{key}.data.sampling", fault)


def _check_once(names: tuple[str, ...], key: str, fault: Fault) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise fault(key, f"= {list(names)}: {twice!r} stands twice.")


def _check_sampling(stage: StageConfig, key: str, fault: Fault) -> None:
    sampling, tasks = stage.data.sampling, stage.data.tasks
    check_choice(sampling.strategy, "sampling.strategy", f"{key}.strategy", fault)
    for task in sampling.weights:
        if task not in tasks:
            raise fault(f"{key}.weights.{task}", f"is no task of the stage. {offer(task, tasks)}")
    explicit = sampling.strategy == EXPLICIT
    if sampling.weights and not explicit:
        said = f"are for strategy {EXPLICIT}, and it is {sampling.strategy}. Change it, or take them out."
        raise fault(f"{key}.weights", said)
    missing = [task for task in tasks if task not in sampling.weights]
    if explicit and missing:
        raise fault(f"{key}.weights", f"has no weight for {', '.join(missing)}: strategy {EXPLICIT} takes one a task.")


def _check_optim(stage: StageConfig, key: str, fault: Fault) -> None:
    optim, where = stage.optim, f"{key}.optim"
    if (optim.max_steps is None) == (optim.epochs is None):
        raise fault(where, "needs max_steps or epochs, and not both.")
    if (optim.batch_size is None) == (optim.max_tokens is None):
        raise fault(where, "needs batch_size or max_tokens, and not both.")
    length = stage.data.corpus_length
    if stage.data.corpus is not None and optim.max_tokens is not None and optim.max_tokens < length:
        raise fault(f"{where}.max_tokens", f"= {optim.max_tokens} does not hold one row of {length} tokens.")
    if optim.epochs is not None and stage.data.corpus is not None:
        raise fault(f"{where}.epochs", "is for tasks; give max_steps for a corpus.")


def _check_results(run: RunConfig, skipped: list[str], fault: Fault) -> None:
    _check_once(run.report.tasks, "report.tasks", fault)
    _check_once(run.export.tasks, "export.tasks", fault)
    for title in run.report.others:
        if title in RESERVED_TITLES or unfit_name(title) is not None:
            raise fault(
                f"report.others.{title}",
                f"is no title: it names a row and a folder. It may not be one of {', '.join(RESERVED_TITLES)}, be "
                "empty, begin with '.', begin or end with a blank, or hold '/', '@' or what cannot be printed.",
            )
    compared = {
        f"report.{role}" if role in RESERVED_TITLES else f"report.others.{role}": reference
        for role, reference in run.report.models.items()
    }
    for key, reference in compared.items():
        _check_final(run, reference, key, run.report.tasks, skipped, fault)
    if run.report.first is not None and not run.report.tasks:
        tasks = run.stage_of(run.report.first).data.tasks
        for key, reference in compared.items():
            _check_final(run, reference, key, tasks, skipped, fault)
    if run.export.model is not None:
        _check_final(run, run.export.model, "export.model", run.export.tasks, skipped, fault)


def _check_final(
    run: RunConfig, reference: str, key: str, tasks: tuple[str, ...], skipped: list[str], fault: Fault
) -> None:
    stage_name = split_reference(reference)[1]
    if stage_name in skipped:
        raise fault(key, f"= {reference!r}: that stage is skipped. Set {key} to null or to another stage's model.")
    _check_reference(run, reference, key, run.stages, fault)
    if stage_name is None:
        raise fault(key, f"= {reference!r}: name the stage too, as in {reference}@{run.stages[-1].name}.")
    stage = run.stage(stage_name)
    if not stage.objective.reads_answers:
        raise fault(key, f"= {reference!r}: that stage trains no head on labels or a teacher, so it has no scores.")
    for task in tasks:
        if task not in stage.data.tasks:
            raise fault(
                f"{key.split('.')[0]}.tasks",
                f"holds {task!r}, which {reference} has not learned. {offer(task, stage.data.tasks)}",
            )
