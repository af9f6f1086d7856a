"""The rows C of docs/errors.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ernie_tiny.config import load_config
from ernie_tiny.errors import InputError
from ernie_tiny.runs.pipeline import write_config
from ernie_tiny.runs.plan import plan
from ernie_tiny.runs.preflight import check_lengths
from ernie_tiny.training.tasks import task_specs

CONFIG = """\
name: toy
models:
  student: {num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, max_position_embeddings: 64}
  teacher: {num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2}
data:
  tasks:
    mine: {kind: pair, texts: [a, b], labels: ["no", "yes"], max_length: 8, files: {train: [a.jsonl], dev: [a.jsonl]}}
  corpora: {general: {files: [a.txt]}}
stages:
  - name: first
    train: student
    teacher: teacher
    data: {corpus: general, max_length: 8}
    objective: {relation: {relation_heads: 2}}
    optim: {max_steps: 3, batch_size: 4}
  - name: second
    train: student@first
    data: {tasks: [mine]}
    objective: {hard: {}}
    optim: {max_steps: 5, batch_size: 4}
"""
LABELS, FILES = "data.tasks.mine.labels", "data.tasks.mine.files"
ANSWERS, AUGMENT = "stages.second.teacher={answers: a.jsonl}", "stages.second.data.augment={model: student@first}"
OTHER = "{kind: pair, texts: [a, b], labels: [x, y], files: {train: [b.jsonl], dev: [b.jsonl]}}"
SOFT = ("stages.second.teacher=teacher", "stages.second.objective={soft: {}}")
# A student of the teacher's width that starts with its layers.
TAKING = (
    "models.student.init_from=teacher", "models.student.init_layers=[0, 1]", "models.student.hidden_size=32",
)  # fmt: skip
IMPORTANT = "models.student.init_narrowed=importance"
TAUGHT = "stages.second.teacher=student@first"
LEARNS = ("stages.first.objective={hard: {}}", "stages.first.teacher=null")
THIRD = """\
  - name: third
    train: student
    teacher: student@second
    data: {tasks: [mine]}
    objective: {soft: {}}
    optim: {max_steps: 5, batch_size: 4}
"""


def refused(path: Path, *overrides: str) -> InputError:
    with pytest.raises(InputError) as caught:
        run = load_config(path, overrides)
        task_specs(run)
        check_lengths(run)
    return caught.value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_the_config_that_the_rows_break_is_good(path: Path) -> None:
    check_lengths(load_config(path))


@pytest.mark.parametrize(
    ("row", "part", "broken"),
    [
        ("C1", "optim: {max_steps: 3, batch_size: 4}", "optim: {max_steps: 3, batch_size: 4, lerning_rate: 3}"),
        ("C2", "max_steps: 3", "max_steps: many"),
        ("C6", "models:", "models: ["),
        ("C8", "name: toy", "name: toy\nname: toys"),
        ("C85", "name: toy", "name: 2024-31-12"),
        ("C9", CONFIG, ""),
        ("C10", "    train: student\n", ""),
        ("C13", "train: student@first", "train: studnt"),
        ("C14", "train: student@first", "train: student@frist"),
        ("C15", "train: student@first", "train: student@"),
        ("C18", "data: {tasks: [mine]}", "data: {}"),
        ("C20", '["no", "yes"]', '[yes, "no"]'),
        ("C23", "name: second", "name: first"),
        ("C24", "name: toy", "name: &n [*n]"),
        ("C32", "name: toy", "name: toy\n_BASE_: 3"),
        ("C82", "objective: {hard: {}}", "objective:\n      hard:"),
        ("F9", "name: toy", "name: !!python/object/apply:os.system [touch ran]"),
    ],
)
def test_text(row: str, part: str, broken: str, path: Path, says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    assert part in CONFIG
    path.write_text(CONFIG.replace(part, broken, 1), encoding="utf-8")
    says(row, refused(path))
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("row", "overrides"),
    [
        ("C11", ["seed"]),
        ("C12", ["stages.frist.skip=true"]),
        ("C16", ["models.student.num_attention_heads=3"]),
        ("C17", ["stages.first.objective.relation.relation_heads=3"]),
        ("C19", ["stages.second.data.tasks=[tnewz]"]),
        ("C21", ["stages.first.optim.learning_rate=0"]),
        ("C22", ["stages.first.teacher=null"]),
        ("C25", ["stages.second.data.max_length=900"]),
        ("C26", ["data.tasks.mine.kind=par"]),
        ("C27", ["data.tasks.mine.texts=[a]"]),
        ("C28", [f"{LABELS}=[x, x]"]),
        ("C80", ["stages.second.data.tasks=[mine, mine]"]),
        ("C81", ["data.tasks.mine.texts=[a, a]"]),
        ("C46", ["output_dir=~gone/run"]),
        ("C29", ["stages.first.optim.epochs=1"]),
        ("C31", ["report.student=student@first"]),
        ("C33", ["stages.first.skip=true", "stages.second.skip=true"]),
        ("C39", ["stages.first.objective={sample_relation: {relation_heads: 2}}", "stages.first.optim.accumulate=2"]),
        ("C48", ["export.precisions=[float32, int8]"]),
        ("C49", ["export.engines=[onnx, paddle]", "export.precisions=[int8]"]),
        ("C50", ["runtime.teacher_engine=onnx", "runtime.teacher_precision=bfloat16"]),
        ("C47", ["models.student.init_narrowed=svd"]),
        ("C45", ["runtime.teacher_precision=bfloat16"]),
        ("C63", ["runtime.sharding=stage2"]),
        ("C51", ["stages.second.data.unlabelled_examples=9"]),
        ("C52", ["stages.first.data.unlabelled_examples=9"]),
        ("C53", [*SOFT, "stages.second.data.unlabelled_examples=9"]),
        ("C54", [*SOFT, "stages.second.objective.hard={}", f"{FILES}={{unlabelled: [a.jsonl], dev: [a.jsonl]}}"]),
        (
            "C55",
            [*SOFT, "stages.second.data.unlabelled_examples=0", f"{FILES}={{unlabelled: [a.jsonl], dev: [a.jsonl]}}"],
        ),
        ("C56", ["data.unlabelled={mine: [b.jsonl]}", f"{FILES}={{unlabelled: [a.jsonl], dev: [a.jsonl]}}"]),
        ("C58", [ANSWERS, "stages.second.objective={hidden: {}}"]),
        ("C59", [*SOFT, ANSWERS, f"data.tasks.other={OTHER}", "stages.second.data.tasks=[mine, other]"]),
        ("C60", [*SOFT, ANSWERS, "stages.second.cache={precision: float32}"]),
        ("C61", [*SOFT, ANSWERS, "stages.first.objective={mlm: {}}", "stages.first.teacher=null", AUGMENT]),
        ("C62", [*SOFT, ANSWERS, "data.tasks.mine={kind: reading, files: {train: [a.json], dev: [a.json]}}"]),
        ("C57", ["data.unlabelled={tnewz: [b.jsonl]}"]),
        ("C64", [*TAKING, IMPORTANT, "models.student.num_attention_heads=1"]),
        ("C65", [*TAKING, IMPORTANT, "models.student.intermediate_size=256"]),
        ("C66", [*TAKING, "models.student.num_attention_heads=1", "models.student.head_size=16"]),
        ("C68", ["stages.first.auxiliary_layers=1", "stages.first.objective={mlm: {}}", "stages.first.teacher=null"]),
        ("C69", ["stages.first.optim={max_steps: 3, max_tokens: 4}"]),
        ("C67", ["models.student.num_attention_heads=3", "models.student.head_size=3"]),
        ("C70", ["stages.first.select.every=2"]),
        ("C71", ["tokenizer.build_from=genral"]),
        ("C72", ["tokenizer={build_from: general, vocab: v.txt}"]),
        ("C73", ["models.student.init_layers=[0, 1]"]),
        ("C74", ["stages.second.cache={}"]),
        ("C75", ["stages.second.data.sampling={strategy: uniform, weights: {mine: 1}}"]),
        ("C76", ["stages.second.data.sampling.strategy=explicit"]),
        ("C77", [*TAKING, "models.student.init_narrowed=svd", "models.student.hidden_size=64"]),
        ("C78", [*TAKING, "models.student.init_narrowed=svd", "models.student.family=bert"]),
        ("C79", [*TAKING, "models.student.hidden_size=16"]),
    ],
)
def test_value(row: str, overrides: list[str], path: Path, says) -> None:
    says(row, refused(path, *overrides))


@pytest.mark.parametrize("more", [(), ("models.student.init_narrowed=svd",)], ids=["as they are", "narrowed"])
def test_layers_of_a_folder_with_narrower_embeddings(more: tuple[str, ...], path: Path, says) -> None:
    numbers = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    content = {**numbers, "model_type": "electra", "embedding_size": 16, "vocab_size": 40, "paddlenlp_version": "3"}
    (path.parent / "electra").mkdir()
    (path.parent / "electra/config.json").write_text(json.dumps(content), encoding="utf-8")
    teacher = f"models.teacher={{pretrained: {path.parent / 'electra'}}}"
    says("C87", refused(path, *TAKING, "models.student.family=electra", teacher, *more))


@pytest.mark.parametrize(
    ("row", "name", "base"),
    [("C4", "run.yaml", "gone.yaml"), ("C5", "a.yaml", "b.yaml")],
)
def test_bases(row: str, name: str, base: str, tmp_path: Path, says) -> None:
    (tmp_path / name).write_text(f"_BASE_: {base}\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("_BASE_: a.yaml\n", encoding="utf-8")
    says(row, refused(tmp_path / name))


@pytest.mark.parametrize(
    ("row", "overrides"),
    [
        ("C34", ["name=../x"]),
        ("C35", ["data.tasks={~: {kind: pair}}"]),
        ("C36", ["data.root=a.jsonl"]),
        ("C37", ["models.student={pretrained: ./modells/x}"]),
        ("C38", ["runtime.precision=float16", "runtime.device=cpu"]),
    ],
)
def test_names_and_places(row: str, overrides: list[str], path: Path, refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    Path("a.jsonl").touch()
    plan(load_config(path))
    with refuses(row):
        plan(load_config(path, overrides))


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "'a '", "''", "a\\b", "'a@b'", "x" * 200, '"a\\nb"'])
@pytest.mark.parametrize("key", ["name", "data.tasks.{}", "data.corpora.{}", "models.{}"])
def test_a_name_is_that_of_a_folder(key: str, name: str, path: Path) -> None:
    value = {
        "name": f"name={name}",
        "data.tasks.{}": f"data.tasks={{{name}: {{kind: reading, files: {{train: a}}}}}}",
        "data.corpora.{}": f"data.corpora={{{name}: {{files: [a]}}}}",
        "models.{}": f"models={{{name}: {{shape: nano}}}}",
    }[key]
    message = str(refused(path, value))
    assert "is no name for a folder" in message or "a blank stands before or behind it" in message


def test_a_teacher_answers_what_it_has_learned(path: Path, refuses) -> None:
    other = f"data.tasks.other={OTHER}"
    for term in ("soft", "logit_mse"):
        taught = (TAUGHT, f"stages.second.objective={{{term}: {{}}}}")
        with refuses("C83"):
            plan(load_config(path, taught))
        plan(load_config(path, [*taught, *LEARNS, "stages.first.data={tasks: [mine]}"]))
        with pytest.raises(InputError, match="has no head for mine. Valid: other. Fine-tune"):
            plan(load_config(path, [*taught, *LEARNS, other, "stages.first.data={tasks: [other], max_length: 8}"]))
    inner = (TAUGHT, "stages.second.objective={hidden: {}}")
    plan(load_config(path, inner))


def test_a_teacher_keeps_what_it_learned_before_its_last_stage(path: Path) -> None:
    heads = (*LEARNS, "stages.first.data={tasks: [mine]}", "stages.second.data={corpus: general, max_length: 8}")
    between = ("stages.second.objective={hidden: {}}", "stages.second.teacher=teacher")
    text = path.read_text(encoding="utf-8") + THIRD
    path.write_text(text, encoding="utf-8")
    plan(load_config(path, [*heads, *between]))
    with pytest.raises(InputError, match="third: teacher teacher has no head for mine"):
        plan(load_config(path, [*heads, *between, "stages.third.teacher=teacher"]))


def test_names_that_are_one_as_text(path: Path) -> None:
    assert "two names are one" in str(refused(path, "data.corpora={1: {files: [a]}, '1': {files: [b]}}"))


@pytest.mark.parametrize(
    ("value", "said"),
    [("x" * 5000, "longer than a path"), ("a/" * 2500, "longer than a path"), ('"a\\0b"', "holds a NUL")],
)
@pytest.mark.parametrize("key", ["base_run", "data.root", "tokenizer.vocab"])
def test_a_text_that_no_path_can_be(key: str, value: str, said: str, path: Path) -> None:
    assert said in str(refused(path, f"{key}={value}"))


def test_a_number_too_large_for_a_float(path: Path) -> None:
    assert "too large" in str(refused(path, f"stages.first.optim.learning_rate=1{'0' * 400}"))


@pytest.mark.parametrize("place", ["output_dir", "data.root"])
def test_a_file_above_a_folder(place: str, path: Path) -> None:
    with pytest.raises(InputError, match="a folder is due"):
        plan(load_config(path, [f"{place}={path}/below/it"]))


@pytest.mark.parametrize(("device", "fine"), [("gpu", True), ("gpu:0", True), ("cpu", False)])
def test_precisions_of_a_gpu(device: str, fine: bool, path: Path) -> None:
    run = load_config(path, ["runtime.precision=bfloat16", f"runtime.device={device}"])
    if fine:
        plan(run)
    else:
        with pytest.raises(InputError, match="takes a GPU"):
            plan(run)


def test_files(path: Path, says) -> None:
    says("C3", refused(path.with_name("gone.yaml")))
    path.write_bytes(CONFIG.replace("toy", "玩具").encode("gb18030"))
    says("C7", refused(path))
    path.write_bytes(CONFIG.encode("utf-16"))
    assert "iconv -f utf-16 " in str(refused(path))


def test_a_run_folder_of_another_config(path: Path, tmp_path: Path, refuses) -> None:
    write_config(load_config(path), tmp_path / "run")
    (tmp_path / "run/stages").mkdir()
    with refuses("C30"):
        write_config(load_config(path, ["seed=7"]), tmp_path / "run")


@pytest.mark.parametrize("text", ["01", "010", "0x1F", "1_000", "1:30", "-0", "+5", "'1'", "7"])
def test_a_label_is_what_was_written(text: str, path: Path) -> None:
    run = load_config(path, [f"{LABELS}=[{text}, x]"])
    assert run.data.tasks["mine"].labels == (text.strip("'"), "x")


@pytest.mark.parametrize("text", ["no", "1.50", "2026-01-01", "~", "1.0e+3"])
def test_what_yaml_takes_for_something_else_is_refused(text: str, path: Path) -> None:
    assert "Put it in quotes" in str(refused(path, f"{LABELS}=[{text}, x]"))


def test_a_long_value_is_shown_in_short(path: Path) -> None:
    path.write_text(CONFIG.replace("models:", f"modls: {list(range(500))}\nmodels:"), encoding="utf-8")
    message = str(refused(path))
    assert "...: unknown key" in message and len(message) < len(str(path)) + 200


def test_positions_of_a_roberta_begin_behind_padding(path: Path, tmp_path: Path, says) -> None:
    roberta = "models.student.family=roberta"
    says("C40", refused(path, roberta, "data.tasks.mine.max_length=64"))
    check_lengths(load_config(path, [roberta, "data.tasks.mine.max_length=63"]))
    tokens = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens), encoding="utf-8")
    vocabulary = f"tokenizer.vocab={tmp_path}"
    assert "the 59 positions" in str(refused(path, roberta, vocabulary, "data.tasks.mine.max_length=60"))
    check_lengths(load_config(path, [roberta, vocabulary, "data.tasks.mine.max_length=59"]))


def test_a_vocabulary_that_is_built_pads_with_0_whatever_lies_in_the_folder_that_one_is_in(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\n[MASK]\n[PAD]", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    built = ("models.student.family=roberta", "tokenizer.build_from=general")
    check_lengths(load_config(path, [*built, "data.tasks.mine.max_length=63"]))


def test_positions_of_a_roberta_in_a_folder(path: Path, tmp_path: Path) -> None:
    numbers = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    config = {**numbers, "model_type": "roberta", "max_position_embeddings": 66, "pad_token_id": 1}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    student = f"models.student={{pretrained: {tmp_path}}}"
    check_lengths(load_config(path, [student, "data.tasks.mine.max_length=64"]))
    assert "the 64 positions" in str(refused(path, student, "data.tasks.mine.max_length=65"))


def test_the_default_length_of_general_text(path: Path, says) -> None:
    says("C41", refused(path, "stages.first.data={corpus: general}"))


@pytest.mark.parametrize("named", [{"model_type": "erniem"}, {"architectures": ["ErnieMForMaskedLM"]}])
def test_a_family_that_cannot_be_used(named: dict, path: Path, tmp_path: Path, says) -> None:
    (tmp_path / "config.json").write_text(json.dumps(named), encoding="utf-8")
    says("C42", refused(path, f"models.student={{pretrained: {tmp_path}}}"))


NUMBERS = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")


@pytest.mark.parametrize("number", ["32", None, 0, -1, 2.5, True, [1]], ids=str)
@pytest.mark.parametrize("key", [*NUMBERS, "max_position_embeddings", "type_vocab_size", "head_size", "pad_token_id"])
def test_a_number_of_a_pretrained_folder(key: str, number: object, path: Path, tmp_path: Path, says) -> None:
    config = {**dict.fromkeys(NUMBERS, 32), "model_type": "roberta", "max_position_embeddings": 66, key: number}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    student, fits = f"models.student={{pretrained: {tmp_path}}}", "data.tasks.mine.max_length=16"
    if (key, number) in [("head_size", None), ("pad_token_id", None), ("pad_token_id", 0), ("pad_token_id", -1)]:
        check_lengths(load_config(path, [student, fits]))
        return
    message = refused(path, student)
    assert f"{key} = {number!r} in its config.json is no number" in str(message)
    if (key, number) == ("hidden_size", "32"):
        says("C84", message)
