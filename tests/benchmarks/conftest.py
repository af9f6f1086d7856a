"""The runs of the study in benchmarks/quality/real_teacher."""

from __future__ import annotations

import pytest

from benchmarks.quality.real_teacher.parts import queue
from benchmarks.quality.real_teacher.run import overrides, parse_args
from ernie_tiny.config import RunConfig, load_config, to_yaml
from ernie_tiny.training.tasks import task_specs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunConfig]:
    """Every part's run as the queue gives it to tools/train.py, in order, each base's config in its folder."""
    output = tmp_path_factory.mktemp("study")
    args = parse_args(["--data", "no-data", "--teacher", "a-teacher", "--output", str(output)])
    found = {}
    for part in queue():
        run = found[part.name] = load_config(part.file, overrides(args, part))
        task_specs(run)
        (output / part.name).mkdir(parents=True)
        (output / part.name / "config.yaml").write_text(to_yaml(run), encoding="utf-8")
    return found
