"""Whatever a file, an override or a question holds: what comes out is a valid value or an InputError.

`make test` runs a few examples of each, always the same; `make fuzz` goes on with new ones (FUZZ_SECONDS, 600 by
default).
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from ernie_tiny.config import RunConfig, load_config, to_yaml
from ernie_tiny.data.download import unpack
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer, load_tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import FACTS
from ernie_tiny.kinds.answers import Reading, read_answers, recorded_of
from ernie_tiny.kinds.ask import featurise
from ernie_tiny.kinds.read import read_inputs, read_split
from ernie_tiny.models.weights import read_weights
from ernie_tiny.runs.preflight import check_lengths
from ernie_tiny.training.tasks import task_specs

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml"))
RUNS = [path for path in CONFIGS if "_base_" not in path]
EXAMPLES: Optional[str] = os.environ.get("FUZZ_EXAMPLES")
TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *"今天天气很好我们去公园看花"])

fuzz = settings(
    max_examples=int(EXAMPLES or 40),
    derandomize=EXAMPLES is None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

# ---- what is put into files

PIECES = [
    *(b"\x00", b"\xef\xbb\xbf", b"\n", b"\r", b"\t", b" ", b",", b":", b'"', b"'", b"\\", b"#", b"@"),
    *(b"&a ", b"*a"),
    *(b"[", b"]", b"{", b"}", b"- ", b"? ", b"| ", b"!!python/object:os.system ", b"<<: ", b"---\n", b"\\ud83d"),
    *("\u2028".encode(), "\ufeff".encode(), "𝄞".encode(), "天".encode("gb18030"), b"#idiom000001#"),
    *(b"null", b"true", b"~", b"NaN", b"-1", b"0", b"1e999", b"010", b"1:30", b"2020-01-01", b"9" * 5000, b"[" * 5000),
]  # fmt: skip
NAMES = st.sampled_from(
    ["", "student", "student@", "student@distil", "@x", "teacher", "teacher@enhance", "ernie", "bilstm", "general"]
    + ["tnews", "ocnli", "cmrc2018", "c3", "uniform", "explicit", "-1", "1e3", "0:1", "a.b", "../x", "/", "*", "."]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.integers(-3, 3), st.floats(), st.text(max_size=8), NAMES
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """The bytes with one to four words or pieces put in, cut out, repeated or written over."""
    words = [match.span() for match in re.finditer(rb"\w+(?:[@.-]\w+)*", original)] or [(0, 0)]
    content = original
    for _ in range(draw(st.integers(1, 4))):
        start, end = draw(st.sampled_from(words)) if draw(st.booleans()) else (draw(st.integers(0, len(content))),) * 2
        other = slice(*draw(st.sampled_from(words)))
        piece = draw(st.sampled_from([b"", original[other], original[other]]) | st.sampled_from(PIECES))
        if not draw(st.integers(0, 19)):
            piece = draw(st.binary(max_size=6))
        content = content[:start] + piece + draw(st.sampled_from([0, 0, 1, 2])) * content[start:end] + content[end:]
    return content


def changed(draw: st.DrawFn, value: Any) -> Any:
    """The value with a part of it replaced, renamed or taken out."""
    if isinstance(value, dict) and value and draw(st.integers(0, 29)):
        key = draw(st.sampled_from(sorted(value, key=str)))
        rest = {name: item for name, item in value.items() if name != key}
        how = draw(st.integers(0, 9))
        if how == 0:
            return rest
        return {**rest, (draw(st.text(max_size=6)) if how == 1 else key): changed(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 29)):
        index = draw(st.integers(0, len(value) - 1))
        middle = draw(st.sampled_from([[], [value[index]] * 2, None, None, None]))
        return value[:index] + ([changed(draw, value[index])] if middle is None else middle) + value[index + 1 :]
    kinds = {bool: st.booleans(), int: st.integers(-1, 100), float: st.floats(0, 1), str: NAMES}
    return draw(VALUES | kinds.get(type(value), VALUES))


# ---- configs and overrides


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(ROOT / "configs", folder / "configs")
    return folder


def check_config(path: Path, overrides: Sequence[str] = ()) -> None:
    try:
        run = load_config(path, overrides)
    except InputError:
        return
    assert isinstance(run, RunConfig)
    with suppress(InputError):
        task_specs(run)
        check_lengths(run)
    merged = path.with_name("merged.yaml")
    merged.write_text(to_yaml(run), encoding="utf-8")
    assert to_yaml(load_config(merged)) == to_yaml(run)


@fuzz
@given(data=st.data())
def test_config_text(folder: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(CONFIGS))
    original = (ROOT / path).read_bytes()
    (folder / path).write_bytes(data.draw(damaged(original)))
    try:
        check_config(folder / (path if path in RUNS else data.draw(st.sampled_from(RUNS))))
    finally:
        (folder / path).write_bytes(original)


@fuzz
@given(data=st.data())
def test_config_values(folder: Path, data: st.DataObject) -> None:
    content = yaml.safe_load(to_yaml(load_config(ROOT / data.draw(st.sampled_from(RUNS)))))
    for _ in range(data.draw(st.integers(1, 2))):
        content = changed(data.draw, content)
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    check_config(file)


def keys_of(value: Any, prefix: str = "") -> list[str]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [prefix, *(key for name, item in children for key in keys_of(item, f"{prefix}.{name}".lstrip(".")))]


@fuzz
@given(data=st.data())
def test_overrides(folder: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(RUNS))
    keys = keys_of(yaml.safe_load(to_yaml(load_config(ROOT / path))))
    overrides = []
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(keys))
        ending = data.draw(st.sampled_from(["="] * 8 + [".x=", ".0=", ".=", "", "x"]))
        overrides.append(key + ending + data.draw(NAMES | VALUES.map(json.dumps) | st.text(max_size=12)))
    check_config(folder / path, overrides)


# ---- data files

SPANS = {"span1_text": "我们", "span1_index": 0, "span2_text": "花", "span2_index": 6}
FLAT = {
    "classification": {"text": "今天很好", "label": "0", "id": 1},
    "pair": {"a": "今天", "b": "天气很好", "label": "1", "id": 1},
    "keywords": {"a": ["花", "公园"], "b": "看花", "label": "0"},
    "coreference": {"text": "我们去公园看花", "label": "1", "target": SPANS},
    "regression": {"a": "今天", "b": "好", "label": 2.5},
}
CHOICE = [[["今天天气很好"], [{"question": "天气?", "choice": ["好", "不好"], "answer": "好"}], "1"]]
ASKED = {"id": "Q", "question": "天气?", "answers": [{"text": "很好", "answer_start": 4}]}
READING = {"data": [{"paragraphs": [{"context": "今天天气很好我们去公园", "qas": [ASKED]}]}]}
CLOZE = {"content": ["今天#idiom000001#好"], "candidates": ["天气", "公园"]}
BLANKS = b'{"#idiom000001#": 1, "#idiom000002#": 0}'
SPLITS = ("train", "test", "unlabelled")


def spec_of(kind: str, file_format: str = "jsonl") -> TaskSpec:
    texts = {"classification": ("text",), "coreference": ("text",)}.get(kind, ("a", "b"))
    return TaskSpec(
        name="toy",
        kind=kind,
        files={"train": ("a", "b") if kind == "cloze" else ("a",), "test": ("a",), "unlabelled": ("a",)},
        texts=texts if kind in FLAT else (),
        labels=("0", "1") if FACTS[kind].labelled else (),
        file_format=file_format,
        max_length=24,
    )


def two_lines(record: Any) -> bytes:
    """The record twice, the second time under another id."""
    text = json.dumps(record, ensure_ascii=False)
    return f"{text}\n{text.replace('000001', '000002').replace(': 1}', ': 2}')}\n".encode()


ENTITIES = {"text": "今天天气很好", "label": {"0": {"天气": [[2, 3]]}, "1": {"好": [[5, 5]]}}, "id": 1}


def original_of(kind: str) -> Any:
    return {**FLAT, "multiple_choice": CHOICE, "reading": READING, "cloze": CLOZE, "labelling": ENTITIES}[kind]


def formats_of(kind: str) -> Sequence[str]:
    return ("jsonl", "tsv", "csv") if kind in ("classification", "pair") else ("jsonl",)


def file_of(kind: str, file_format: str) -> bytes:
    value, separator = original_of(kind), "\t" if file_format == "tsv" else ","
    if kind in ("multiple_choice", "reading"):
        return json.dumps(value, ensure_ascii=False).encode()
    if file_format == "jsonl":
        return two_lines(value)
    rows = [list(value), list(value.values()), list({**value, "id": 2}.values())]
    return "\n".join(separator.join(map(str, row)) for row in rows).encode()


def question_of(kind: str) -> Any:
    asked = {"context": "今天天气", "question": "好?", "choice": ["好", "不好"], "id": 1}
    return asked if kind in ("multiple_choice", "reading") else original_of(kind)


def check_data(spec: TaskSpec, folder: Path, split: str) -> None:
    with suppress(InputError):
        check_examples(spec, read_split(spec, folder, split).examples)


def check_examples(spec: TaskSpec, examples: Sequence[Example]) -> None:
    assert examples and all(isinstance(example, Example) for example in examples)
    for example in examples:
        "".join([example.id, *example.texts, *example.candidates]).encode()  # can be written to a file again
    features = featurise(spec, examples, TOKENIZER, spec.max_length)
    assert all(len(ids) <= spec.max_length for feature in features for ids, _ in feature.sequences)


@pytest.mark.parametrize("kind", sorted(FACTS))
def test_data_that_is_damaged_below_is_read_undamaged(kind: str, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(BLANKS)
    for file_format in formats_of(kind):
        (tmp_path / "a").write_bytes(file_of(kind, file_format))
        for split in SPLITS:
            spec = spec_of(kind, file_format)
            check_examples(spec, read_split(spec, tmp_path, split).examples)
    (tmp_path / "a").write_bytes(two_lines(question_of(kind)))
    check_examples(spec_of(kind), read_inputs(spec_of(kind), tmp_path / "a"))


@fuzz
@given(data=st.data(), kind=st.sampled_from(sorted(FACTS)), split=st.sampled_from(SPLITS))
def test_data_bytes(folder: Path, data: st.DataObject, kind: str, split: str) -> None:
    file_format = data.draw(st.sampled_from(formats_of(kind)))
    (folder / "a").write_bytes(data.draw(damaged(file_of(kind, file_format))))
    (folder / "b").write_bytes(data.draw(damaged(BLANKS) | st.just(BLANKS)))
    check_data(spec_of(kind, file_format), folder, split)


@fuzz
@given(data=st.data(), kind=st.sampled_from(sorted(FACTS)), split=st.sampled_from(SPLITS))
def test_data_values(folder: Path, data: st.DataObject, kind: str, split: str) -> None:
    (folder / "a").write_bytes(json.dumps(changed(data.draw, original_of(kind))).encode())
    (folder / "b").write_bytes(json.dumps(changed(data.draw, {"#idiom000001#": 1})).encode())
    check_data(spec_of(kind), folder, split)


@fuzz
@given(data=st.data(), kind=st.sampled_from(sorted(FACTS)))
def test_questions_to_a_deployed_model(folder: Path, data: st.DataObject, kind: str) -> None:
    record, whole = question_of(kind), data.draw(st.booleans())
    (folder / "a").write_bytes(
        data.draw(damaged(two_lines(record))) if whole else json.dumps(changed(data.draw, record)).encode()
    )
    with suppress(InputError):
        check_examples(spec_of(kind), read_inputs(spec_of(kind), folder / "a"))


ANSWERED = {
    "multiple_choice": Example("a", ("今天天气", "好?"), candidates=("好", "不好")),
    "cloze": Example("a", ("今天", "好"), candidates=("天气", "公园")),
    "labelling": Example("a", ("今天天气很好",)),
}
ANSWERS = [
    {"id": "a", "logits": [0.5, -1]},
    {"id": "a", "probabilities": {"0": 0.5, "1": 0.5}},
    {"id": "a", "label": "1"},
    {"id": "a", "answer": "0", "scores": [0.25, 0.75]},
    {"text": "今天天气很好", "a": "今天", "b": "好", "context": "今天天气", "question": "好?", "label": 1},
    {"id": "a", "label": {"0": {"天气": [[2, 3]]}}},
    {"id": "a", "label": [{"type": "1", "start": 0, "end": 2, "text": "今天"}]},
    {"id": "a", "logits": [[0, 1, 2, 3, 4]] * 6},
]


@fuzz
@given(data=st.data(), kind=st.sampled_from(sorted(FACTS)), answer=st.sampled_from(ANSWERS))
def test_recorded_answers(folder: Path, data: st.DataObject, kind: str, answer: Any) -> None:
    spec = spec_of(kind)
    examples = [ANSWERED.get(kind, Example("a", ("今天天气很好", "好")[: len(spec.texts)], 0))]
    whole = data.draw(st.booleans())
    (folder / "a.jsonl").write_bytes(
        data.draw(damaged(json.dumps(answer).encode())) if whole else json.dumps(changed(data.draw, answer)).encode()
    )
    with suppress(InputError):
        reading = Reading(folder / "a.jsonl", "teacher", data.draw(st.sampled_from([None, 0.0, 0.1])))
        (found,) = read_answers(spec, reading, {"train": examples}, {"train": examples}).values()
        for feature in featurise(spec, [found.example], TOKENIZER, spec.max_length):
            assert np.isfinite(found.logits(recorded_of(spec, ""), feature, 0.1)).all()


# ---- vocabularies, weights, archives

ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.int64)}
PROTOCOLS = range(2, 5)  # of pickles


def test_what_is_damaged_below_is_read_undamaged(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path / "vocabulary")
    assert load_tokenizer(tmp_path / "vocabulary").tokens == TOKENIZER.tokens
    contents = {"s.safetensors": save(ARRAYS)}
    contents |= {f"{protocol}.pdparams": pickle.dumps(ARRAYS, protocol) for protocol in PROTOCOLS}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        found = read_weights(tmp_path / name)
        assert all(np.array_equal(found.pop(key), value) for key, value in ARRAYS.items()) and not found
    (tmp_path / "archive.zip").write_bytes(zipped("a/b.json"))
    unpack(tmp_path / "archive.zip", tmp_path / "task")
    assert {path.name: path.read_text() for path in (tmp_path / "task").iterdir()} == dict.fromkeys(
        ("train.json", "b.json"), "{}\n"
    )


@fuzz
@given(data=st.data())
def test_vocabularies(folder: Path, data: st.DataObject) -> None:
    place = folder / "vocabulary"
    shutil.rmtree(place, ignore_errors=True)
    TOKENIZER.save(place)
    for name in ("vocab.txt", "tokenizer_config.json"):
        if data.draw(st.booleans()):
            (place / name).write_bytes(data.draw(damaged((place / name).read_bytes())))
    with suppress(InputError):
        load_tokenizer(place).encode("今天 [MASK] 好")


@fuzz
@given(data=st.data(), protocol=st.sampled_from(PROTOCOLS))
def test_pdparams(folder: Path, data: st.DataObject, protocol: int) -> None:
    check_weights(folder / "a.pdparams", data.draw(damaged(pickle.dumps(ARRAYS, protocol))))


@fuzz
@given(data=st.data())
def test_safetensors(folder: Path, data: st.DataObject) -> None:
    check_weights(folder / "a.safetensors", data.draw(damaged(save(ARRAYS))))


def check_weights(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with suppress(InputError):
        assert all(isinstance(value, np.ndarray) and value.dtype != object for value in read_weights(file).values())


LETTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
MEMBERS = ["a/b.json", "../x", "/x", "c\\..\\..\\x", "a", "a/train.json/b", "C:x"]


def zipped(name: str) -> bytes:
    """An archive with a member of that name beside another one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/train.json", "{}\n")
        archive.writestr(name, "{}\n")
    return buffer.getvalue()


@fuzz
@given(data=st.data(), name=st.sampled_from(MEMBERS) | st.text(LETTERS, min_size=1, max_size=12))
def test_archives(folder: Path, data: st.DataObject, name: str) -> None:
    content = zipped(name)
    source, target = folder / "archive.zip", folder / "unpacked" / "task"
    source.write_bytes(content if data.draw(st.booleans()) else data.draw(damaged(content)))
    shutil.rmtree(target.parent, ignore_errors=True)
    before = set(folder.iterdir())
    with suppress(InputError):
        unpack(source, target)
    assert {path for path in target.parent.iterdir() if path != target} == set()
    assert set(folder.iterdir()) - before <= {target.parent}
