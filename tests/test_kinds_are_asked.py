"""Outside its own file nobody asks which kind of task something is, which form a head has, or how many dimensions a
tensor: the kind is asked for what is wanted."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ernie_tiny import family_facts, kind_facts

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(path.relative_to(ROOT) for top in ("ernie_tiny", "tools") for path in (ROOT / top).rglob("*.py"))
# Where kinds are defined, and where tasks are listed with theirs.
KINDS = ("ernie_tiny/kinds/", "ernie_tiny/kind_facts.py")
LISTS = (
    *("clue.py", "glue.py", "fewclue.py"),
    *("sample.py", "sample_entities.py", "sample_tasks.py", "sample_words.py"),
)
# Where the recurrent family is defined, and what a config may say of it.
FAMILY = ("ernie_tiny/family_facts.py", "ernie_tiny/models/bilstm.py", "ernie_tiny/models/families.py")
CHECKS = ("ernie_tiny/config/check",)

FORMS = {kind_facts.ROW, kind_facts.CANDIDATE, kind_facts.POSITION}
OLD_FORMS = {"choice", "span"}  # beside names that kinds have too
NAMES = {*kind_facts.FACTS, *FORMS, *OLD_FORMS}
RECURRENT = {name for name, facts in family_facts.FACTS.items() if facts.recurrent}
COMPARING = ("get", "startswith", "endswith", "index", "count", "__eq__")  # methods
REGISTRY = {"kind_named", "facts_of"}
# Module-level constants by name, as another file may import them: "from ernie_tiny.kind_facts import ROW".
CONSTANTS = {
    name: value for module in (kind_facts, family_facts) for name, value in vars(module).items() if name.isupper()
}


def constants_of(tree: ast.Module) -> dict[str, object]:
    """What the names of constants stand for: of the facts' modules, and of this one."""
    found = dict(CONSTANTS)
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            try:
                value = ast.literal_eval(node.value)
            except (ValueError, TypeError):
                continue
            for target in targets:
                if isinstance(target, ast.Name):
                    found[target.id] = value
                elif isinstance(target, ast.Tuple) and isinstance(value, tuple):
                    found.update({item.id: one for item, one in zip(target.elts, value) if isinstance(item, ast.Name)})
    return found


def texts_in(node: ast.AST, constants: Mapping[str, object]) -> Iterator[str]:
    """The texts that an expression is made of: literals, and constants by name, with what they hold."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        for item in node.elts:
            yield from texts_in(item, constants)
    elif isinstance(node, ast.Dict):
        for key in filter(None, node.keys):
            yield from texts_in(key, constants)
    elif isinstance(node, (ast.Name, ast.Attribute)):
        value = constants.get(node.id if isinstance(node, ast.Name) else node.attr)
        if isinstance(value, str):
            yield value
        elif isinstance(value, (tuple, list, set, frozenset)):
            yield from (item for item in value if isinstance(item, str))
    elif isinstance(node, ast.Starred):
        yield from texts_in(node.value, constants)


def compared(node: ast.AST, constants: Mapping[str, object]) -> Iterator[str]:
    """The texts that a node compares something with: by ==, in, as a key, in a match case, or by a text's methods."""
    if isinstance(node, ast.Compare):
        for side in (node.left, *node.comparators):
            yield from texts_in(side, constants)
    elif isinstance(node, ast.Dict):
        yield from texts_in(node, constants)
    elif isinstance(node, ast.Subscript):
        yield from texts_in(node.slice, constants)
    elif isinstance(node, getattr(ast, "MatchValue", ())):
        yield from texts_in(node.value, constants)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in COMPARING:
        for argument in node.args[:1]:
            yield from texts_in(argument, constants)


def asks_for_dimensions(node: ast.AST) -> bool:
    """Whether a comparison or a match is of ndim, dim(), or the length of a shape."""
    parts: tuple[ast.AST, ...] = ()
    if isinstance(node, ast.Compare):
        parts = (node.left, *node.comparators)
    elif isinstance(node, getattr(ast, "Match", ())):
        parts = (node.subject,)
    return any(_is_a_number_of_dimensions(inner) for part in parts for inner in ast.walk(part))


def _is_a_number_of_dimensions(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "ndim"
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute):
        return node.func.attr in ("dim", "ndimension")
    named_len = isinstance(node.func, ast.Name) and node.func.id == "len"
    return named_len and any(isinstance(arg, ast.Attribute) and arg.attr == "shape" for arg in node.args)


def faults(path: Path, source: str) -> list[str]:
    """What a file asks for by name, each with its line."""
    where, tree = path.as_posix(), ast.parse(source)
    constants, found = constants_of(tree), []
    is_kind = where.startswith(KINDS)
    is_list = where.startswith("ernie_tiny/data/") and path.name in LISTS
    arguments = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REGISTRY
        for argument in node.args
    }
    for node in ast.walk(tree):
        place = f"{where}:{getattr(node, 'lineno', 0)}"
        texts = set(compared(node, constants))
        if not (is_kind or is_list):
            found += [f"{place}: compares with {text!r}" for text in sorted(texts & NAMES)]
            read = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
            if read and node.attr in ("kind", "head") and id(node) not in arguments:
                found.append(f"{place}: reads .{node.attr}")
        if not where.startswith((*FAMILY, *CHECKS)):
            found += [f"{place}: compares with {text!r}" for text in sorted(texts & RECURRENT)]
        if asks_for_dimensions(node):
            found.append(f"{place}: asks for the number of dimensions")
    return found


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_asks_the_kind(path: Path) -> None:
    assert faults(path, (ROOT / path).read_text(encoding="utf-8")) == []


SAMPLES = [
    'spec.name == "reading"',
    '"cloze" != name',
    'name in ("pair", "keywords")',
    'READERS = {"multiple_choice": read}',
    'READERS["regression"]',
    'READERS.get("coreference")',
    'match name:\n    case "classification":\n        pass',
    'match name:\n    case "pair" | "keywords":\n        pass',
    'OURS = "reading"\ndef f(x):\n    return x == OURS',
    'A, B = "toy", "cloze"\nx == B',
    'SPOILED = ("reading", "coreference")\nx in SPOILED',
    "from ernie_tiny.kind_facts import POSITION\nx == POSITION",
    "from ernie_tiny import kind_facts\nx == kind_facts.ROW",
    'form == "per candidate"',
    'name == "span"',
    'name.startswith("choice")',
    "LAYERS = {ROW: 1}",
    "spec.kind",
    "model.head(pooled)",
    "offer(spec.kind)",
    'print(f"{spec.kind}")',
    "logits.ndim == 3",
    "3 < values.ndim",
    "len(logits.shape) == 2",
    "len(x.shape) in (2, 3)",
    "logits.dim() > 2",
    "match logits.ndim:\n    case 3:\n        pass",
    'model.family == "bilstm"',
    'family in ("bert", "bilstm")',
    '{"bilstm": build}',
]


@pytest.mark.parametrize("source", SAMPLES)
def test_what_asks_by_name_is_found(source: str) -> None:
    if source.startswith("match") and sys.version_info < (3, 10):
        pytest.skip("this Python has no match statement")
    assert faults(Path("ernie_tiny/training/new.py"), source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("ernie_tiny/training/new.py", "kind_named(spec.kind).count(batch)"),
        ("ernie_tiny/training/new.py", "facts_of(one.kind).form != facts_of(other.kind).form"),
        ("ernie_tiny/training/new.py", "TaskSpec(kind=kind, name=name)"),
        ("ernie_tiny/training/new.py", "shape = [*values.shape, 1]"),
        ("ernie_tiny/training/new.py", 'state["position"]'),
        ("ernie_tiny/kinds/new.py", 'FACTS["reading"]'),
        ("ernie_tiny/kind_facts.py", 'name == "reading"'),
        ("ernie_tiny/data/clue.py", '{"reading": CMRC2018}'),
        ("ernie_tiny/config/check_family.py", 'family == "bilstm"'),
        ("ernie_tiny/models/families.py", '{"bilstm": BiLstmModel}'),
    ],
)
def test_what_does_not_is_allowed(path: str, source: str) -> None:
    assert faults(Path(path), source) == []


def test_dimensions_are_not_asked_for_even_in_a_kind() -> None:
    assert len(faults(Path("ernie_tiny/kinds/new.py"), "logits.ndim == 3")) == 1
