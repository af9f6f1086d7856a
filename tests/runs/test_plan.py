"""What `--plan` says, against arithmetic by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.config.schema import CORPUS_LENGTH, StageDataConfig, TaskSettings
from ernie_tiny.data.sample import COUNTS
from ernie_tiny.errors import InputError
from ernie_tiny.runs import plan as module
from ernie_tiny.runs.changes import write_config
from ernie_tiny.runs.plan import check_data, plan, stage_flops
from ernie_tiny.training.flops import input_length, planned_shape
from ernie_tiny.training.tasks import task_specs

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
CONFIG = """
name: tiny
tokenizer: {build_from: general, vocab_size: 100}
models:
  teacher: {num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2, max_position_embeddings: 16}
  student: {num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, max_position_embeddings: 16}
data:
  tasks:
    mine:
      kind: classification
      files: {train: [train.jsonl], dev: [dev.jsonl]}
      texts: [text]
      labels: [a, b]
      max_length: 8
  corpora: {general: {files: [text.txt]}}
stages:
  - name: distil
    train: student
    teacher: teacher
    data: {corpus: general, max_length: 8}
    objective: {relation: {relation_heads: 2}}
    optim: {max_steps: 10, batch_size: 4}
  - name: finetune
    train: student@distil
    data: {tasks: [mine]}
    objective: {hard: {weight: 1.0}}
    optim: {epochs: 2, batch_size: 4}
"""
# Of a student's layer (hidden 16, inner 64): 4 (16 x 16 + 16) + (2 x 16 x 64 + 64 + 16) + 4 x 16 = 3,280 weights;
# forward at length 8: 2 layers x (2 x 3,280 + 4 x 8 x 16) = 14,144 FLOPs a token.
# Of a teacher's (32, 128): 4 (32 x 32 + 32) + (2 x 32 x 128 + 128 + 32) + 4 x 32 = 12,704; 52,864 FLOPs a token.
# A batch is 4 x 8 = 32 tokens; training is three forward passes.
FINETUNE_STEP = 3 * 14_144 * 32
DISTIL_STEP = (3 * 14_144 + 52_864) * 32


def load(folder: Path, *overrides: str, data: bool = True):
    folder.joinpath("run.yaml").write_text(CONFIG, encoding="utf-8")
    if data:
        for split, rows in (("train", 10), ("dev", 4)):
            lines = (json.dumps({"text": "好", "label": "a"}) for _ in range(rows))
            folder.joinpath(f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        folder.joinpath("text.txt").write_text("天气很好\n", encoding="utf-8")
    return load_config(folder / "run.yaml", [f"data.root={folder}", *overrides])


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        ((), 6),  # ceil(10 / 4) = 3 batches, 2 epochs
        (("stages.finetune.optim.accumulate=2",), 3),
        (("stages.finetune.optim.batch_size=3", "stages.finetune.optim.epochs=0.5"), 2),  # 4 batches
        (("stages.finetune.data.examples=4",), 2),
        (("stages.finetune.optim.epochs=0.01",), 1),
    ],
)
def test_steps_come_from_epochs_and_batch_size(overrides: tuple[str, ...], steps: int, tmp_path: Path) -> None:
    assert f"    mine: {steps} steps" in plan(load(tmp_path, *overrides))


def test_of_texts_with_windows_the_fewest_steps_are_said(tmp_path: Path) -> None:
    run = load(tmp_path, *(f"data.tasks.mine.{key}" for key in ("kind=labelling", "texts=[]", "labels=[X]")))
    for split in ("train", "dev"):
        rows = '{"text": "好好好好好好好好好好", "label": {}}\n' * 10  # two windows of 6 tokens each
        tmp_path.joinpath(f"{split}.jsonl").write_text(rows, encoding="utf-8")
    assert "    mine: at least 6 steps\n" in plan(run)
    optim = replace(run.stage("finetune").optim, epochs=None, max_steps=6)
    steps = replace(run, stages=(run.stages[0], replace(run.stage("finetune"), optim=optim)))
    assert f"    mine: 6 steps, at most {6 * FINETUNE_STEP:.2e} FLOPs" in plan(steps)


UNLABELLED = (
    "data.tasks.mine.files={train: [train.jsonl], unlabelled: [more.jsonl], dev: [dev.jsonl]}",
    "stages.finetune.teacher=teacher",
    "stages.finetune.objective={hidden: {}}",
)


@pytest.mark.parametrize(
    ("overrides", "stage"),
    [
        ((), "(10 train + 21 unlabelled): 16 steps"),  # ceil(31 / 4) = 8 batches, 2 epochs
        (("stages.finetune.data.unlabelled_examples=5",), "(10 train + 5 unlabelled): 8 steps"),
        (("stages.finetune.data.examples=4",), "(4 train + 21 unlabelled): 14 steps"),
        (("stages.finetune.data.unlabelled_examples=0",), ": 6 steps"),
        (("stages.finetune.teacher=null", "stages.finetune.objective={hard: {}}"), ": 6 steps"),
        (
            ("data.tasks.mine.files={unlabelled: [more.jsonl], dev: [dev.jsonl]}",),
            "(21 unlabelled): 12 steps",
        ),
    ],
)
def test_unlabelled_texts_count_where_a_term_needs_no_label(
    overrides: tuple[str, ...], stage: str, tmp_path: Path
) -> None:
    tmp_path.joinpath("more.jsonl").write_text('{"text": "好"}\n' * 21, encoding="utf-8")
    printed = plan(load(tmp_path, *UNLABELLED, *overrides))
    assert f"    mine {stage}".replace(" :", ":") in printed
    assert "21 unlabelled, 4 dev" in printed


def test_a_missing_file_of_unlabelled_texts_or_answers_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more.jsonl: no such file. The split 'unlabelled' of mine"):
        plan(load(tmp_path, *UNLABELLED))
    answered = ("stages.finetune.teacher={answers: '{task}.jsonl'}", "stages.finetune.objective={soft: {}}")
    with pytest.raises(InputError, match="mine.jsonl: no such file of answers"):
        plan(load(tmp_path, *answered))
    tmp_path.joinpath("mine.jsonl").write_text('{"id": 0, "logits": [0, 1]}\n', encoding="utf-8")
    with pytest.raises(InputError, match="9 of 10 examples of mine have no answer; the first is '1' of train"):
        plan(load(tmp_path, *answered))
    assert "answers in {task}.jsonl, 1 soft" in plan(load(tmp_path, *answered, "stages.finetune.data.examples=1"))


def test_a_tasks_settings_are_no_other_tasks(tmp_path: Path) -> None:
    run = load(tmp_path)
    own = {name: replace(run.data.tasks["mine"]) for name in ("one", "two")}
    settings = {"one": TaskSettings(epochs=4), "two": TaskSettings(batch_size=2)}
    stage = run.stage("finetune")
    both = replace(stage, per_task=True, data=replace(stage.data, tasks=("one", "two")), task_settings=settings)
    text = plan(replace(run, data=replace(run.data, tasks=own), stages=(run.stages[0], both)))
    assert "    one: 12 steps" in text  # 3 batches of 4, 4 epochs
    assert "    two: 10 steps" in text  # 5 batches of 2, 2 epochs


def test_models_are_as_large_as_the_vocabulary_makes_them(tmp_path: Path) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "vocab.txt").write_text("".join(f"{n}\n" for n in range(60)), encoding="utf-8")
    without = "tokenizer.build_from=null"
    rest = (16 + 4) * 16 + 2 * 16  # positions, token types, LayerNorm
    for overrides, tokens in (
        ([], 100), ([without, f"tokenizer.vocab={folder}"], 60), ([without, "tokenizer.vocab=bert-base-chinese"], 21128)
    ):  # fmt: skip
        shape = planned_shape(load(tmp_path, *overrides), "student")
        assert shape is not None
        assert shape.embedding_parameters == tokens * 16 + rest


def test_a_damaged_vocabulary_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "vocab.json").write_text("3", encoding="utf-8")
    run = load(tmp_path, "tokenizer.build_from=null", f"tokenizer.vocab={folder}")
    with pytest.raises(InputError, match=r"vocab\.json: is not a JSON object"):
        plan(run)


def test_flops_by_hand(tmp_path: Path) -> None:
    text = plan(load(tmp_path))
    assert f"    mine: 6 steps, at most {6 * FINETUNE_STEP:.2e} FLOPs" in text
    assert f"    general text: 10 steps, at most {10 * DISTIL_STEP:.2e} FLOPs" in text
    doubled = plan(load(tmp_path, "stages.distil.optim.accumulate=2"))
    assert f"    general text: 10 steps, at most {20 * DISTIL_STEP:.2e} FLOPs" in doubled


def test_general_text_is_as_long_as_it_is_cut_whatever_the_task(tmp_path: Path) -> None:
    run = load(tmp_path)
    stage = replace(run.stage("distil"), data=StageDataConfig(tasks=("mine",), corpus="general"))
    assert input_length(stage, [task_specs(run)["mine"]]) == CORPUS_LENGTH


def test_flops_of_a_stage_are_those_of_its_tokens(tmp_path: Path) -> None:
    run = load(tmp_path)
    assert stage_flops(run, run.stage("distil"), [], 320) == 10 * DISTIL_STEP
    assert stage_flops(run, run.stage("finetune"), [task_specs(run)["mine"]], 32) == FINETUNE_STEP


def test_without_data_the_plan_says_so(tmp_path: Path) -> None:
    text = plan(load(tmp_path, data=False))
    assert "8 tokens: no data below data.root" in text
    assert "general text: no data below data.root" in text
    assert "    mine: 2 epochs\n" in text  # steps cannot be known


def test_a_folder_of_another_config_is_refused(tmp_path: Path) -> None:
    place = f"output_dir={tmp_path}/run"
    write_config(load(tmp_path, place), tmp_path / "run")
    (tmp_path / "run/stages").mkdir()
    plan(load(tmp_path, place, "runtime.threads=3"))
    with pytest.raises(InputError, match="holds a run with another config; different: seed"):
        plan(load(tmp_path, place, "seed=7"))


def test_an_unknown_task_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'tnews'"):
        plan(load(tmp_path, "stages.finetune.data.tasks=[tnewz]"))


def test_check_data_names_the_first_file_that_is_missing(tmp_path: Path) -> None:
    run = load(tmp_path)
    check_data(run)
    (tmp_path / "dev.jsonl").unlink()
    with pytest.raises(InputError, match=r"dev\.jsonl: no such file. The split .dev. of mine"):
        check_data(run)
    load(tmp_path)
    (tmp_path / "text.txt").unlink()
    with pytest.raises(InputError, match=r"data\.corpora\.general\.files: no file 'text\.txt'"):
        check_data(run)


def test_general_text_that_no_stage_reads_is_not_asked_for(tmp_path: Path) -> None:
    unread = load(tmp_path, "stages.distil.skip=true", "tokenizer={vocab: words}")
    (tmp_path / "text.txt").unlink()
    check_data(unread)
    assert "general text" not in plan(unread)
    with pytest.raises(InputError, match=r"data\.corpora\.general\.files"):
        check_data(load(tmp_path, "stages.distil.skip=true", data=False))  # the vocabulary is built from it


def test_a_size_that_hangs_on_a_vocabulary_not_yet_here_is_not_stated(tmp_path: Path) -> None:
    text = plan(load(tmp_path, "tokenizer={vocab: not/here}"))
    assert "student    2L16H, 2 heads, 0.01 M parameters in its layers, its vocabulary once it is downloaded" in text
    assert "M embeddings" in plan(load(tmp_path))


def test_quickstart_counts_the_sample(sample: Path) -> None:
    text = plan(load_config(CONFIGS / "quickstart.yaml", [f"data.root={sample}"]))
    train, dev, _ = COUNTS["tnews"]
    assert f"{train:,} train, {dev:,} dev" in text
    assert text.count(f"    tnews: {2 * -(-train // 32)} steps") == 2  # fine-tuned, and from scratch
    assert "no data" not in text


def test_the_sample_is_written_by_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = load(tmp_path, "data.sample=true"), []

    @contextmanager
    def alone_at(place: Path) -> Iterator[None]:
        seen.append(place)
        yield
        seen.append("left")

    monkeypatch.setattr(module, "alone_at", alone_at)
    monkeypatch.setattr(module, "write_sample", lambda root: seen.append("written"))
    module.ready_data(run)
    assert seen == [tmp_path / "sample", "written", "left"]


def test_a_folder_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a message of the config advises for ~nobody; the config alone puts home folders in."""
    monkeypatch.chdir(tmp_path)
    assert "folder   ./~nobody/run" in plan(load(tmp_path, "output_dir=./~nobody/run"))
