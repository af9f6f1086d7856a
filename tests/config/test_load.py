"""Files and overrides become one value, and every fault names its place, its key and its value."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from ernie_tiny.config import RunConfig, load_config, load_run, to_yaml
from tests.config.conftest import refused

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
name: toy
models:
  student: {num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2}
stages:
  - name: first
    train: student
    data: {tasks: [afqmc, tnews]}
    objective: {hard: {weight: 2.0}}
    optim: {max_steps: 3, batch_size: 4}
  - name: second
    train: student@first
    data: {tasks: [afqmc]}
    objective: {hard: {}}
    optim: {max_steps: 5, batch_size: 4}
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "base.yaml", CONFIG)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# ---- _BASE_


def test_a_base_is_relative_to_the_file_that_names_it(tmp_path, monkeypatch):
    write(tmp_path / "shared/deep/base.yaml", CONFIG + "seed: 1\n")
    write(tmp_path / "shared/middle.yaml", "_BASE_: deep/base.yaml\nname: middle\n")
    top = write(tmp_path / "runs/top.yaml", "_BASE_: ../shared/middle.yaml\nseed: 7\n")
    monkeypatch.chdir(tmp_path / "shared")
    run = load_config(top)
    assert (run.name, run.seed) == ("middle", 7)
    assert [stage.name for stage in run.stages] == ["first", "second"]


def test_a_later_base_wins_and_the_naming_file_wins_over_all(base, tmp_path):
    write(tmp_path / "one.yaml", "seed: 1\noutput_dir: one\nruntime: {threads: 1, logging_steps: 1}\n")
    write(tmp_path / "two.yaml", "seed: 2\noutput_dir: two\nruntime: {threads: 2}\n")
    run = load_config(write(tmp_path / "top.yaml", "_BASE_: [base.yaml, one.yaml, two.yaml]\nseed: 3\n"))
    assert (run.seed, run.output_dir, run.runtime.threads, run.runtime.logging_steps) == (3, "two", 2, 1)
    run = load_config(write(tmp_path / "top.yaml", "_BASE_: [base.yaml, two.yaml, one.yaml]\n"))
    assert (run.seed, run.output_dir, run.runtime.threads) == (1, "one", 1)


def test_two_bases_may_share_a_base(base, tmp_path):
    write(tmp_path / "left.yaml", "_BASE_: base.yaml\nseed: 1\n")
    write(tmp_path / "right.yaml", "_BASE_: base.yaml\noutput_dir: right\n")
    run = load_config(write(tmp_path / "top.yaml", "_BASE_: [left.yaml, right.yaml]\n"))
    assert (run.seed, run.output_dir) == (1, "right")


def test_a_circle_is_refused_with_its_members(tmp_path):
    write(tmp_path / "a.yaml", "_BASE_: b.yaml\n")
    write(tmp_path / "b.yaml", "_BASE_: a.yaml\n")
    message = refused(tmp_path / "a.yaml")
    assert "circle" in message and "a.yaml" in message and "b.yaml" in message
    assert "circle" in refused(write(tmp_path / "self.yaml", "_BASE_: self.yaml\n"))


@pytest.mark.parametrize("value", ["3", "{a: 1}", "[1]", ""])
def test_a_base_that_is_no_file_name_is_refused(tmp_path, value):
    assert "_BASE_" in refused(write(tmp_path / "top.yaml", f"_BASE_: {value}\n"))


def test_dicts_merge_and_lists_replace(tmp_path):
    write(tmp_path / "base.yaml", CONFIG + "runtime: {threads: 3, logging_steps: 7}\n")
    top = """
    _BASE_: base.yaml
    runtime: {threads: 4}
    stages:
      - name: only
        train: student
        data: {tasks: [tnews]}
        objective: {hard: {}}
        optim: {epochs: 1, batch_size: 2}
    """
    run = load_config(write(tmp_path / "top.yaml", top))
    assert (run.runtime.threads, run.runtime.logging_steps) == (4, 7)
    assert [stage.name for stage in run.stages] == ["only"]
    assert run.stages[0].optim.max_steps is None


@pytest.mark.parametrize("element", ["second", "1"])
def test_a_dict_over_a_list_changes_an_element_by_name_or_index(base, tmp_path, element):
    changes = "{optim: {max_steps: 9}, objective: {hard: {weight: 3}}}"
    top = write(tmp_path / "top.yaml", f"_BASE_: base.yaml\nstages: {{{element}: {changes}}}\n")
    first, second = load_config(top).stages
    assert (second.optim.max_steps, second.optim.batch_size, second.objective.hard.weight) == (9, 4, 3.0)
    assert first == load_config(base).stages[0]


def test_a_dict_over_a_list_reaches_it_through_a_second_base(base, tmp_path):
    write(tmp_path / "longer.yaml", "stages: {first: {optim: {max_steps: 30}}}\n")
    run = load_config(write(tmp_path / "top.yaml", "_BASE_: [base.yaml, longer.yaml]\n"))
    assert [stage.optim.max_steps for stage in run.stages] == [30, 5]


def test_a_dict_over_a_list_names_an_element_that_is_there(base, tmp_path):
    top = write(tmp_path / "top.yaml", "_BASE_: base.yaml\nstages: {secnd: {seed: 1}}\n")
    message = refused(top)
    assert str(top) in message and "stages" in message and "Did you mean 'second'?" in message


# ---- overrides


def test_an_override_keeps_siblings(base):
    plain, changed = load_config(base), load_config(base, ["stages.second.optim.max_steps=6"])
    second = dataclasses.replace(plain.stages[1], optim=dataclasses.replace(plain.stages[1].optim, max_steps=6))
    assert changed == dataclasses.replace(plain, stages=(plain.stages[0], second))


def test_an_override_may_name_keys_that_the_file_leaves_out(base):
    assert load_config(base, ["runtime.threads=3", "stages.first.select.every=2"]).runtime.threads == 3


def test_only_the_first_equals_sign_splits(base):
    assert load_config(base, ["output_dir=runs/a=b=c"]).folder == "runs/a=b=c"


def test_overrides_name_elements_of_lists(base):
    run = load_config(base, ["stages.first.seed=1", "stages.1.seed=2", "stages.0.data.tasks.1=csl"])
    assert [stage.seed for stage in run.stages] == [1, 2]
    assert run.stages[0].data.tasks == ("afqmc", "csl")


def test_an_override_is_yaml_and_the_last_one_wins(base):
    run = load_config(base, ["stages.first.data.tasks=[csl, c3]", "seed=1", "seed=2", "output_dir=null"])
    assert (run.stages[0].data.tasks, run.seed, run.output_dir) == (("csl", "c3"), 2, None)


def test_an_override_replaces_a_block_that_it_sets(base):
    run = load_config(base, ["stages.first.optim={epochs: 2, max_tokens: 64}"])
    assert (run.stages[0].optim.epochs, run.stages[0].optim.max_steps) == (2.0, None)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("=3", "key.sub=value"),
        ("stages.7.skip=true", "no such element"),
        ("stages.first.data.tasks.5=csl", "no such element"),
        ("name.sub=1", "'toy' holds no further keys"),
        ("stages.first.data.tasks.0.x=1", "'afqmc' holds no further keys"),
        ("seed=[1", "not valid YAML"),
        ("name=2024-31-12", "not valid YAML: '2024-31-12' is no timestamp. Put it in quotes"),
        ("seed=!!int x", "not valid YAML: 'x' is no int"),
        ("stages.².skip=true", "no such element"),
        ("seed={a: 1, a: 2}", "'a' stands twice"),
        ("seed=abc", "seed = 'abc': expected a whole number"),
        ("runtime.treads=2", "runtime.treads = 2: unknown key. Did you mean 'threads'?"),
        ("stages.first.optm.max_steps=1", "stages.first.optm = {'max_steps': 1}: unknown key. Did you mean 'optim'?"),
        ("stages.first.optim.max_steps=-1", "max_steps = -1"),
        ("stages={}", "stages = {}: expected a list"),
    ],
)
def test_a_wrong_override_is_quoted(base, override, said):
    message = refused(base, override)
    assert message.startswith(f"-o {override}: ") and said in message


# ---- types


@pytest.mark.parametrize("text", ["3e-5", "3.0e-5", "0.00003", "'3e-5'"])
def test_a_float_may_be_written_without_a_point(base, tmp_path, text):
    top = write(tmp_path / "top.yaml", f"_BASE_: base.yaml\nstages: {{first: {{optim: {{learning_rate: {text}}}}}}}\n")
    assert load_config(top).stages[0].optim.learning_rate == 3e-5
    assert load_config(base, [f"stages.first.optim.learning_rate={text}"]).stages[0].optim.learning_rate == 3e-5


def test_numbers_become_the_declared_type(base):
    run = load_config(base, ["stages.first.objective.hard.weight=1", "name=2024", "stages.first.data.tasks=csl"])
    assert (type(run.stages[0].objective.hard.weight), run.name) == (float, "2024")
    assert run.stages[0].data.tasks == ("csl",)


def test_numbers_as_labels_are_text(base, tmp_path):
    task = "data: {tasks: {mine: {kind: pair, files: {train: a.jsonl}, labels: [0, 1]}}}\n"
    run = load_config(write(tmp_path / "top.yaml", "_BASE_: base.yaml\n" + task))
    assert run.data.tasks["mine"].labels == ("0", "1")
    assert run.data.tasks["mine"].files == {"train": ("a.jsonl",)}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", "1.5", "a whole number"),
        ("seed", "true", "a whole number"),
        ("seed", "null", "a whole number"),
        ("name", "[a]", "text"),
        ("name", "true", "text"),
        ("runtime.visualdl", "1", "true or false"),
        ("runtime.visualdl", "'no'", "true or false"),
        ("stages.first.optim.learning_rate", "fast", "a number"),
        ("stages.first.optim.learning_rate", "true", "a number"),
        ("stages.first.optim.learning_rate", "[1]", "a number"),
        ("stages.first.data.tasks", "3", "a list"),
        ("models", "[a]", "a mapping"),
        ("models.student", "3", "a block of keys"),
        ("runtime", "[threads]", "a block of keys"),
    ],
)
def test_a_wrong_type_is_named_with_what_is_expected(base, tmp_path, key, value, expected):
    nested = value
    for part in reversed(key.split(".")):
        nested = f"{{{part}: {nested}}}"
    top = write(tmp_path / "top.yaml", f"_BASE_: base.yaml\n{nested[1:-1]}\n")
    message = refused(top)
    assert message.startswith(f"{top}: {key} = ") and f"expected {expected}" in message


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("stagse: []", "stagse", "stages"),
        ("models: {student: {hiden_size: 3}}", "models.student.hiden_size", "hidden_size"),
        ("stages: {first: {objective: {hrad: {}}}}", "stages.first.objective.hrad", "hard"),
        ("stages: {second: {optim: {lerning_rate: 1}}}", "stages.second.optim.lerning_rate", "learning_rate"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(base, tmp_path, text, key, nearest):
    top = write(tmp_path / "top.yaml", f"_BASE_: base.yaml\n{text}\n")
    message = refused(top)
    assert message.startswith(f"{top}: {key} = ") and f"Did you mean '{nearest}'?" in message


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("name: toy", "name"),
        ("    train: student\n", "stages.first.train"),
        ("    data: {tasks: [afqmc]}", "stages.second.data"),
    ],
)
def test_a_missing_key_is_named(tmp_path, line, key):
    path = write(tmp_path / "toy.yaml", CONFIG.replace(line, "", 1))
    assert refused(path) == f"{path}: {key} is missing and has no default."


# ---- files


@pytest.mark.parametrize("text", ["name: a\nname: b\n", "runtime: {threads: 1, threads: 2}\n"])
def test_a_key_written_twice_is_refused(tmp_path, text):
    path = write(tmp_path / "toy.yaml", text)
    message = refused(path)
    assert str(path) in message and "stands twice" in message and "line" in message


@pytest.mark.parametrize(
    "text",
    ["a: [1\n", "a: b: c\n", "\tname: x\n", "a: \x00\n", "name: 2024-31-12\n", "seed: !!int x\n", "seed: !!int ''\n",
     "name: !!timestamp x\n", "a: !!bool x\n", "a: !!float x\n", 'name: "\\UFFFFFFFF"\n'],
)  # fmt: skip
def test_broken_yaml_is_refused(tmp_path, text):
    path = write(tmp_path / "toy.yaml", text)
    message = refused(path)
    assert message.startswith(f"{path}: not valid YAML")


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n", "3\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    path = write(tmp_path / "toy.yaml", text)
    assert refused(path).startswith(f"{path}: a config is a mapping")


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_bytes("name: 中文\n".encode("gbk"))
    message = refused(path)
    assert message.startswith(f"{path}: ") and "UTF-8" in message
    assert refused(tmp_path).startswith(f"{tmp_path}: ")  # a folder


def test_a_byte_order_mark_is_accepted(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + CONFIG.strip().encode())
    assert load_config(path).name == "toy"


# ---- the value


def test_a_run_is_frozen(base):
    run = load_config(base)
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.seed = 3  # type: ignore[misc]


def test_a_term_of_defaults_is_a_term_and_null_is_none(base):
    first, second = load_config(base, ["stages.first.objective.mlm=null"]).stages
    assert (list(first.objective.terms()), first.objective.hard.weight) == (["hard"], 2.0)
    assert (list(second.objective.terms()), second.objective.hard.weight) == (["hard"], 1.0)


@pytest.mark.parametrize("empty", ["runtime:", "report:", "data:", "stages: {first: {optim:}}", "runtime: {}"])
def test_a_block_that_is_left_empty_is_that_of_the_base(tmp_path, empty):
    own = "runtime: {threads: 3, save_steps: 7}\nreport: {student: student@second}\ndata: {root: elsewhere}\n"
    base = write(tmp_path / "base.yaml", CONFIG + own)
    assert load_config(write(tmp_path / "run.yaml", f"_BASE_: base.yaml\n{empty}\n")) == load_config(base)


@pytest.mark.parametrize("empty", ["runtime:", "report:", "data:"])
def test_what_has_one_meaning_may_be_left_empty(base, tmp_path, empty):
    assert load_config(write(tmp_path / "run.yaml", f"{CONFIG}{empty}\n")) == load_config(base)


def test_an_empty_block_of_a_base_can_be_filled_and_taken_out(base, tmp_path):
    write(tmp_path / "cached.yaml", "_BASE_: base.yaml\nstages:\n  first:\n    cache:\n    teacher: student\n")
    cached = "stages.first.objective.soft={}"
    assert load_config(tmp_path / "cached.yaml", [cached, "stages.first.cache.precision=float32"]).stages[0].cache
    assert load_config(tmp_path / "cached.yaml", [cached, "stages.first.cache=null"]).stages[0].cache is None
    assert "cached.yaml: stages.first.cache is left empty" in refused(tmp_path / "cached.yaml", cached)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["stages.first.skip=true"],
        [
            "stages.first.optim.learning_rate=3e-5",
            "stages.first.objective.hard.weight=1e-12",
            "output_dir='a: b'",
        ],
        ["data.tasks={'no': {kind: pair, files: {train: 训练.tsv}, labels: ['0', 'yes', '1e3', '中', '~']}}"],
        ["data.corpora={general: {files: ['*.txt']}}", "tokenizer.build_from=general", "name='007'"],
    ],
)
def test_the_merged_config_is_read_back_equal(base, tmp_path, overrides):
    run = load_config(base, overrides)
    assert isinstance(run, RunConfig)
    merged = write(tmp_path / "merged.yaml", to_yaml(run))
    assert load_config(merged) == run
    assert to_yaml(load_config(merged)) == to_yaml(run)


def test_loading_does_not_import_paddle(base):
    script = (
        "import sys; from ernie_tiny.config import load_config, to_yaml; "
        f"to_yaml(load_config({str(base)!r})); "
        "print(*(name for name in ('paddle', 'paddlenlp', 'numpy') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_task_may_have_settings_of_its_own(base):
    stage = load_config(
        base,
        [
            f"stages.second.{item}"
            for item in (
                "per_task=true",
                "task_settings.afqmc.learning_rate=0.5",
                "task_settings.afqmc.max_length=9",
            )
        ],
    ).stage("second")
    own = stage.of_task("afqmc")
    assert (own.optim.learning_rate, own.data.max_length, own.optim.batch_size) == (0.5, 9, stage.optim.batch_size)
    assert stage.of_task("tnews") == stage.of_task(None) == stage


@pytest.mark.parametrize("name", ["2026-11-28", "1.5", "null", "a #1", "a: b", "[a]"])
def test_a_runs_folder_is_where_it_is_whatever_yaml_would_read_its_name_as(base, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(Path(name) / "config.yaml", to_yaml(load_config(base, ["output_dir=elsewhere"])))
    assert load_run(Path(name), ["seed=7"]) == dataclasses.replace(load_config(base), output_dir=name, seed=7)
