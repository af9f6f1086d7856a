"""The runs of the study in benchmarks/quality/real_teacher."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.quality.real_teacher.parts import queue
from benchmarks.quality.real_teacher.run import overrides, parse_args
from ernie_tiny.config import RunConfig, load_config, to_yaml
from ernie_tiny.files import to_json
from ernie_tiny.training.tasks import task_specs

TEACHER: dict[str, Any] = {  # the shape of the study's
    "model_type": "bert", "num_hidden_layers": 12, "hidden_size": 384, "num_attention_heads": 12,
    "intermediate_size": 1536, "vocab_size": 34376, "max_position_embeddings": 512, "type_vocab_size": 2,
}  # fmt: skip


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunConfig]:
    """Every part's run as the queue gives it to tools/train.py, in order, each base's config in its folder."""
    output = tmp_path_factory.mktemp("study")
    pretrained = output / "pretrained"
    pretrained.mkdir()
    (pretrained / "config.json").write_text(to_json(TEACHER), encoding="utf-8")
    args = parse_args(["--data", "no-data", "--teacher", str(pretrained), "--output", str(output)])
    found = {}
    for part in queue():
        run = found[part.name] = load_config(part.file, overrides(args, part))
        task_specs(run)
        (output / part.name).mkdir(parents=True)
        (output / part.name / "config.yaml").write_text(to_yaml(run), encoding="utf-8")
    return found
