"""Speed and size of exports."""

from __future__ import annotations

from pathlib import Path

import pytest

from ernie_tiny.data.clue import find_task
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from ernie_tiny.kinds.ask import head_of
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.serving.export import export_model
from ernie_tiny.serving.speed import measure, megabytes

TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *"今天北京的天气很好"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    spec, made = find_task("tnews"), []
    for hidden in (16, 24):
        shape = {
            "num_hidden_layers": 2,
            "hidden_size": hidden,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "vocab_size": 2000 * hidden,
            "max_position_embeddings": 32,
            "type_vocab_size": 2,
        }
        model = MultiTaskModel(build_encoder("ernie", shape), [head_of(spec)])
        made.append(tmp_path_factory.mktemp("export"))
        export_model(model, spec, TOKENIZER, 24, made[-1])
    return made


def test_each_export_gets_its_numbers(folders: list[Path]) -> None:
    speeds = measure(folders, length=16, batch_size=4, calls=5)
    assert len(speeds) == 2
    for speed in speeds:
        assert 0 < speed.p50 <= speed.p95
        assert speed.throughput > 0
        assert (speed.length, speed.batch_size, speed.threads) == (16, 4, 1)


def test_size_is_that_of_the_network_files(folders: list[Path]) -> None:
    for folder in folders:
        size = sum((folder / name).stat().st_size for name in ("model.json", "model.pdiparams"))
        assert megabytes(folder) == pytest.approx(size / 1e6, abs=0.005)
        assert megabytes(folder) > 1
