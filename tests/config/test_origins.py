"""Each fault names the place that its key comes from, however the key got there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ernie_tiny.config import load_config
from tests.config.conftest import refused

CONFIG = """
name: toy
models:
  student: {num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2}
stages:
  - name: first
    train: student
    data: {tasks: [afqmc, tnews]}
    objective: {hard: {}}
    optim: &optim {max_steps: 3, batch_size: 4}
  - name: second
    train: student@first
    data: {tasks: [afqmc]}
    objective: {hard: {}}
    optim: *optim
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "base.yaml", CONFIG)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_path_below_nobodys_home_is_named_with_its_whole_key(base):
    assert refused(base, "data.root=~nobody-of-that-name").startswith(
        "-o data.root=~nobody-of-that-name: data.root = '~n"
    )
    key = "data.corpora.general.files"
    assert refused(base, f"{key}=[a.txt, ~nobody-of-that-name]").startswith(
        f"-o {key}=[a.txt, ~nobody-of-that-name]: {key}.1 "
    )


def test_a_base_keeps_the_keys_of_a_list_that_is_changed_elsewhere(tmp_path):
    bad = write(tmp_path / "bad.yaml", CONFIG.replace("max_steps: 3", "max_steps: three"))
    top = write(tmp_path / "top.yaml", "_BASE_: bad.yaml\nstages: {second: {seed: 1}, 0: {seed: 2}}\n")
    assert refused(top).startswith(f"{bad}: stages.first.optim.max_steps = 'three'")
    assert refused(top, "stages.first.seed=3").startswith(f"{bad}: stages.first.optim.max_steps")


@pytest.mark.parametrize("element", ["first", "0"])
def test_an_element_that_is_changed_by_name_or_index_is_the_changers(base, tmp_path, element):
    top = write(tmp_path / "top.yaml", f"_BASE_: base.yaml\nstages: {{{element}: {{skip: maybe}}}}\n")
    assert refused(top).startswith(f"{top}: stages.first.skip = 'maybe'")
    override = f"stages.{element}.skip=maybe"
    assert refused(base, override).startswith(f"-o {override}: stages.first.skip = 'maybe'")


def test_a_block_that_is_replaced_leaves_no_origin_behind(base):
    override = "models.student={shape: nano, hidden_size: 310}"
    assert refused(base, override).startswith(f"-o {override}: models.student.num_attention_heads = 12")


@pytest.mark.parametrize("value", ["{second: 3}", "{first: {data: {tasks: {0: {x: 1}}}}}", "{first: null}"])
def test_an_element_that_is_replaced_by_something_else_is_refused(base, tmp_path, value):
    top = write(tmp_path / "top.yaml", f"_BASE_: base.yaml\nstages: {value}\n")
    assert ".yaml: stages." in refused(top)


def test_a_second_base_is_named_when_it_misses_an_element(base, tmp_path):
    other = write(tmp_path / "other.yaml", "stages: {gone: {seed: 1}}\n")
    top = write(tmp_path / "top.yaml", "_BASE_: [base.yaml, other.yaml]\n")
    assert refused(top).startswith(f"{other}: stages: no such element")


def test_an_element_of_a_list_may_be_named_in_a_file(base, tmp_path):
    top = write(tmp_path / "top.yaml", "_BASE_: base.yaml\nstages: {first: {data: {tasks: {1: csl}}}}\n")
    assert load_config(top).stages[0].data.tasks == ("afqmc", "csl")


def test_blocks_that_share_an_anchor_are_changed_alone(base, tmp_path):
    run = load_config(base, ["stages.first.optim.max_steps=9"])
    assert [stage.optim.max_steps for stage in run.stages] == [9, 3]
    top = write(tmp_path / "top.yaml", "_BASE_: base.yaml\nstages: {second: {optim: {max_steps: 7}}}\n")
    assert [stage.optim.max_steps for stage in load_config(top).stages] == [3, 7]


def test_a_merge_key_is_yaml(tmp_path):
    merged = CONFIG.replace("optim: *optim", "optim: {<<: *optim, max_steps: 8}")
    run = load_config(write(tmp_path / "merged.yaml", merged))
    assert [(stage.optim.max_steps, stage.optim.batch_size) for stage in run.stages] == [(3, 4), (8, 4)]


@pytest.mark.parametrize("text", ["name: {{x}}\n", "? [a]\n: 1\n"])
def test_a_key_that_is_no_word_is_refused(tmp_path, text):
    path = write(tmp_path / "toy.yaml", text)
    assert refused(path).startswith(f"{path}: not valid YAML")


def test_a_fault_names_the_base_that_holds_the_key(tmp_path):
    bad = write(tmp_path / "bad.yaml", CONFIG + "runtime: {threads: many, logging_steps: 3}\n")
    top = write(tmp_path / "top.yaml", "_BASE_: bad.yaml\nruntime: {logging_steps: 4}\n")
    assert refused(top).startswith(f"{bad}: runtime.threads = 'many'")
    assert load_config(top, ["runtime.threads=1"]).runtime.logging_steps == 4


def test_a_fault_in_a_list_names_the_base_that_holds_it(tmp_path):
    bad = write(tmp_path / "bad.yaml", CONFIG.replace("max_steps: 3", "max_steps: three"))
    top = write(tmp_path / "top.yaml", "_BASE_: bad.yaml\nname: top\n")
    assert refused(top).startswith(f"{bad}: stages.first.optim.max_steps = 'three'")


def test_a_fault_between_keys_names_the_file_of_the_key(base, tmp_path):
    top = write(tmp_path / "top.yaml", "_BASE_: base.yaml\nstages: {second: {train: student@gone}}\n")
    assert refused(top).startswith(f"{top}: stages.second.train = 'student@gone'")
    assert refused(base, "stages.second.train=studnt").startswith("-o stages.second.train=studnt: stages.second.train")
