"""The three methods with a teacher that is nothing but a folder of Hugging Face's, from YAML to an exported student."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from safetensors.numpy import save_file
from tokenizers import decoders, pre_tokenizers, processors
from tokenizers.models import BPE

from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from tests.tools import ROOT, tool

WIDTH, INNER, LAYERS, POSITIONS = 16, 32, 2, 80
SMALL = (
    "data.sample=true",
    "data.corpora.general.files=[corpus/general.txt]",
    "models.student.hidden_size=8",
    "runtime={threads: 1, visualdl: false, logging_steps: 1}",
    "report.examples=24",
)
STAGES = {
    "mitkd": {"enhance": "max_steps", "distil": "max_steps", "finetune": "epochs", "scratch": "epochs"},
    "progressive": {
        "finetune-teacher": "epochs", "GD": "max_steps", "GED": "max_steps", "TAD": "epochs", "TSD": "epochs",
        "scratch": "epochs",
    },
    "mkd": {"refine": "max_steps", "distil": "max_steps", "scratch": "max_steps"},
}  # fmt: skip


def bert_vocabulary(folder: Path) -> int:
    tokens = [*SPECIAL_TOKENS, *(chr(code) for code in range(ord("一"), ord("一") + 500))]
    Tokenizer(tokens).save(folder)
    return len(tokens)


def roberta_vocabulary(folder: Path) -> int:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *letters, "<mask>"]
    backend = tokenizers.Tokenizer(BPE({token: at for at, token in enumerate(tokens)}, [], unk_token="<unk>"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    backend.save(str(folder / "tokenizer.json"))
    return len(tokens)


def folder_of(model_type: str, folder: Path) -> Path:
    """A folder as transformers saves it, with random weights."""
    folder.mkdir(parents=True)
    tokens = {"bert": bert_vocabulary, "roberta": roberta_vocabulary}[model_type](folder)
    pad, types = {"bert": (0, 2), "roberta": (1, 1)}[model_type]
    config = {
        "model_type": model_type, "vocab_size": tokens, "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
        "num_attention_heads": 4, "intermediate_size": INNER, "max_position_embeddings": POSITIONS,
        "type_vocab_size": types, "pad_token_id": pad, "hidden_act": "gelu", "layer_norm_eps": 1e-5,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (tokens, WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (types, WIDTH),
    }
    dense = {f"attention.self.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")}
    dense |= {"attention.output.dense": (WIDTH, WIDTH), "intermediate.dense": (INNER, WIDTH)}
    dense |= {"output.dense": (WIDTH, INNER)}
    norms = ["embeddings.LayerNorm"]
    for layer in (f"encoder.layer.{number}" for number in range(LAYERS)):
        for name, shape in dense.items():
            shapes |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    random = np.random.default_rng(0)
    stored = {name: random.normal(0, 0.1, shape).astype(np.float16) for name, shape in shapes.items()}
    for name in norms:
        stored |= {f"{name}.weight": np.ones(WIDTH, np.float16), f"{name}.bias": np.zeros(WIDTH, np.float16)}
    save_file({f"{model_type}.{name}": value for name, value in stored.items()}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(("method", "model_type"), [("mitkd", "bert"), ("progressive", "roberta")])
def test_a_folder_is_all_that_a_teacher_needs(method: str, model_type: str, tmp_path: Path) -> None:
    teacher, run = folder_of(model_type, tmp_path / "teacher"), tmp_path / "run"
    short = [f"stages.{name}.optim.{key}={1 if key == 'epochs' else 2}" for name, key in STAGES[method].items()]
    short += [f"stages.{name}.data.examples=32" for name in STAGES[method] if name not in ("GD", "GED", "distil")]
    places = [f"models.teacher.pretrained={teacher}", f"output_dir={run}", f"data.root={tmp_path / 'data'}"]
    config = str(ROOT / f"configs/smoke/pretrained_{method}.yaml")
    tool("train", "-c", config, "-o", *SMALL, *short, *places)
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert [model["role"] for model in results["models"]] == ["teacher", "student", "baseline"]
    assert all(model["scores"] for model in results["models"])
    exported = run / "export" / "tnews"
    assert (exported / "model.json").is_file()
    question = json.dumps({"sentence": "今天天气很好"}, ensure_ascii=False)
    answer = tool("infer", "--model", str(exported), input=question).stdout
    assert len(json.loads(answer.splitlines()[0])["scores"]) == 15
