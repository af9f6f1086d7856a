"""A RunConfig from YAML files with `_BASE_` and from `-o key=value` overrides."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Union, get_type_hints

import yaml

from ernie_tiny.config.check import check
from ernie_tiny.config.schema import RunConfig
from ernie_tiny.errors import InputError, offer
from ernie_tiny.files import at_home, encoding_advice, file_head, to_json

Origins = dict[str, str]
LONGEST_PART, LONGEST_PATH = 255, 4096  # bytes of a file's name and of a path, on Linux
CONFIG_FILE = "config.yaml"  # of a run's folder: the merged config
PATHS = (  # keys
    *("output_dir", "base_run", "root", "files", "unlabelled", "answers", "vocab", "pretrained", "folder"),
    "taken_from",
)

WHOLE_NUMBER = re.compile(r"(?:0|-?[1-9][0-9]*)$")
EXPECTED = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text. Put it in quotes: YAML takes 1.50, yes, no, on, off, true, false, ~ and dates for something else",
}


def load_config(path: Union[str, Path], overrides: Sequence[str] = ()) -> RunConfig:
    """The validated run that a config file and overrides describe.

    `_BASE_` names a file or a list of files, relative to the file that names them; a later one wins over
    an earlier one, the naming file over all. Dicts merge, lists replace; a dict over a list changes its
    elements by their `name` or index. An override `a.b=v` sets one key and keeps its siblings; only the
    first "=" splits; v is read as YAML; elements of lists go by name here too: `stages.GED.skip=true`.

    Raises:
        InputError: names the file, the key, the value and the nearest valid name.
    """
    origins: Origins = {}
    raw: dict[str, Any] = {}
    try:
        _read_into(raw, Path(at_home(str(path))), origins, ())
        for override in overrides:
            _apply(raw, override, origins)
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply, or an anchor (&name) holds itself (*name).") from None
    fault = _Fault(str(path), origins)
    return check(_with_base_run(_build(RunConfig, raw, "", fault), fault), fault)


def load_run(folder: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The config of a run's folder, which may have moved since it was written; errors are those of load_config."""
    return load_config(folder / CONFIG_FILE, [f"output_dir={to_json(str(folder))}", *overrides])


def _with_base_run(run: RunConfig, fault: _Fault) -> RunConfig:
    """The run with the models, stages, tasks and corpora of its base run, so that it may name them."""
    if run.base_run is None:
        return run
    config_file = Path(run.base_run) / CONFIG_FILE
    if not config_file.is_file():
        raise fault("base_run", f"= {run.base_run!r}: holds no {CONFIG_FILE}, so it is no run's folder.")
    base = load_config(config_file)
    for name in base.models:
        if run.models.get(name, base.models[name]) != base.models[name]:
            raise fault(f"models.{name}", f"differs from that of base_run = {run.base_run!r}. Give it another name.")
    for name, task in base.data.tasks.items():
        if run.data.tasks.get(name, task).labels != task.labels:
            raise fault(
                f"data.tasks.{name}.labels",
                f"differ from those of base_run = {run.base_run!r}, whose models "
                "answer in that order. Give the task another name.",
            )
    taken = tuple(replace(stage, taken_from=stage.taken_from or run.base_run) for stage in base.stages)
    tasks, corpora = {**base.data.tasks, **run.data.tasks}, {**base.data.corpora, **run.data.corpora}
    return replace(
        run,
        models={**base.models, **run.models},
        data=replace(
            run.data, tasks=tasks, corpora=corpora, unlabelled={**base.data.unlabelled, **run.data.unlabelled}
        ),
        stages=(*taken, *run.own_stages),
    )


def to_yaml(run: RunConfig) -> str:
    """The merged config as YAML that load_config reads back to an equal value."""
    return yaml.safe_dump(_plain(dataclasses.asdict(run)), allow_unicode=True, sort_keys=False)


class _Fault:
    """Makes the error for a key: which file it stands in, its value, what to do."""

    def __init__(self, path: str, origins: Origins) -> None:
        self._path, self._origins = path, origins

    def __call__(self, key: str, reason: str) -> InputError:
        origin, parent = self._path, key
        while parent:
            if parent in self._origins:
                origin = self._origins[parent]
                break
            parent = parent.rpartition(".")[0]
        return InputError(f"{origin}: {key}{' ' if key else ''}{reason}")


def _read_into(target: dict[str, Any], path: Path, origins: Origins, above: tuple[Path, ...]) -> None:
    """Merges a file's bases, then the file itself, over the target."""
    if path.resolve() in above:
        chain = " -> ".join(str(p) for p in (*above, path.resolve()))
        raise InputError(f"{path}: _BASE_ goes round in a circle: {chain}. Remove one of the references.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        named = f" (named in _BASE_ of {above[-1]})" if above else ""
        raise InputError(f"{path}: no such config file{named}.") from None
    except UnicodeDecodeError as error:
        advice = encoding_advice(file_head(path))
        raise InputError(f"{path}: cannot be read as UTF-8 text: {error}. {advice}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path!s}: cannot be read: {error}.") from None
    content = _parsed(text, str(path))
    if not isinstance(content, dict):
        raise InputError(f"{path}: a config is a mapping of keys to values, not {_shown(content)}.")
    bases = content.pop("_BASE_", [])
    if isinstance(bases, str):
        bases = [bases]
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise InputError(f"{path}: _BASE_ = {bases!r}: give a file name or a list of file names.")
    for base in bases:
        _read_into(target, path.parent / at_home(base), origins, (*above, path.resolve()))
    _merge(target, content, "", str(path), origins)


def _parsed(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two of an escape that is no character
        raise InputError(f"{where}: not valid YAML: {error}") from None


def _merge(target: Any, source: Mapping[str, Any], prefix: str, origin: str, origins: Origins) -> None:
    """Puts the source over the target, a dict, or a list whose elements the source names."""
    for name, value in source.items():
        key, dotted = _find(target, name, prefix, origin)
        present = target[key] if isinstance(target, list) else target.get(key)
        if isinstance(value, dict) and isinstance(present, (dict, list)):
            target[key] = copy.copy(present)  # an anchor of YAML may have put one object in several places
            _merge(target[key], value, dotted + ".", origin, origins)
        elif not (value is EMPTY and isinstance(present, dict)):  # a block whose keys are all commented out
            target[key] = value
            _note_origin(dotted, value, origin, origins)


def _find(node: Any, name: Any, prefix: str, where: str) -> tuple[Any, str]:
    """The key of a child of a dict or list, and its dotted name, in which elements of lists go by name."""
    if not isinstance(node, list):
        return name, f"{prefix}{name}"
    index = _index(node, str(name), f"{where}: {prefix.rstrip('.')}")
    return index, f"{prefix}{_name(node[index], index)}"


def _name(item: Any, index: int) -> Any:
    return item.get("name", index) if isinstance(item, dict) else index


def _note_origin(dotted: str, value: Any, origin: str, origins: Origins) -> None:
    for replaced in [key for key in origins if key.startswith(f"{dotted}.")]:
        del origins[replaced]
    origins[dotted] = origin
    children: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        children = ((_name(item, index), item) for index, item in enumerate(value))
    for key, item in children:
        _note_origin(f"{dotted}.{key}", item, origin, origins)


def _apply(raw: dict[str, Any], override: str, origins: Origins) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"-o {override}: write key.sub=value.")
    value = _parsed(text, f"-o {override}")
    node: Any = raw
    *parents, last = key.split(".")
    prefix, origin = "", f"-o {override}"
    for part in parents:
        found, dotted = _find(node, part, prefix, origin)
        present = node[found] if isinstance(node, list) else node.get(found)
        present = None if present is EMPTY else present
        if not isinstance(present, (dict, list, type(None))):
            raise InputError(f"{origin}: {dotted} = {_shown(present)} holds no further keys.")
        if present is None:
            _note_origin(dotted, {}, origin, origins)
        node[found] = {} if present is None else copy.copy(present)
        node, prefix = node[found], f"{dotted}."
    found, dotted = _find(node, last, prefix, origin)
    node[found] = value
    _note_origin(dotted, value, origin, origins)


def _index(items: list[Any], part: str, where: str) -> int:
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    raise InputError(f"{where}: no such element. {offer(part, [n for n in names if n])}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _build(kind: Any, value: Any, key: str, fault: _Fault) -> Any:
    """The value as the type that a dataclass field declares, or an error that names the key."""
    origin = getattr(kind, "__origin__", None)
    if value is EMPTY:
        if origin is Union and any(map(dataclasses.is_dataclass, kind.__args__)):
            raise fault(key, "is left empty. Write {} for the block with its defaults, or null for none.")
        value = None
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, key, fault)
    if origin is Union:  # Optional, or a text or a block
        if value is None:
            return None
        blocks = [part for part in kind.__args__ if dataclasses.is_dataclass(part) and isinstance(value, dict)]
        return _build((*blocks, *kind.__args__)[0], value, key, fault)
    if origin is tuple:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list):
            raise fault(key, f"= {_shown(value)}: expected a list.")
        names = [_name(item, index) for index, item in enumerate(items)]
        return tuple(_build(kind.__args__[0], item, f"{key}.{name}", fault) for name, item in zip(names, items))
    if origin is not None:  # Mapping[str, X]
        if not isinstance(value, dict):
            raise fault(key, f"= {_shown(value)}: expected a mapping of names to values.")
        named = {_mapping_name(k, key, fault): v for k, v in value.items()}
        if len(named) < len(value):
            raise fault(key, f"= {_shown(value)}: two names are one once they are text. Take one of them out.")
        return {name: _build(kind.__args__[1], v, f"{key}.{name}", fault) for name, v in named.items()}
    return _build_scalar(kind, value, key, fault)


def _mapping_name(name: Any, key: str, fault: _Fault) -> str:
    """A name as text. What YAML reads as null, true, 1.5 or a date was hardly meant as the text of that value."""
    if not isinstance(name, str) and (isinstance(name, bool) or not isinstance(name, int)):
        raise fault(key, f"has the name {name!r}: expected {EXPECTED[str]}.")
    if str(name) != str(name).strip():
        raise fault(f"{key}.{name}", f"is the name {name!r}: a blank stands before or behind it. Take it out.")
    return str(name)


def _build_dataclass(kind: Any, value: Any, key: str, fault: _Fault) -> Any:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise fault(key, f"= {_shown(value)}: expected a block of keys.")
    hints = get_type_hints(kind)
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in hints:
            raise fault(f"{prefix}{name}", f"= {_shown(value[name])}: unknown key. {offer(str(name), hints)}")
    for item in dataclasses.fields(kind):
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and item.name not in value:
            raise fault(f"{prefix}{item.name}", "is missing and has no default.")
    built = {}
    for name, item in value.items():
        found = _build(hints[name], item, f"{prefix}{name}", fault)
        built[name] = _at_home(found, f"{prefix}{name}", fault) if name in PATHS else found
    return kind(**built)


def _at_home(value: Any, key: str, fault: _Fault) -> Any:
    """The home folder in place of each path's `~`, so that it is one place to all that read the config."""
    if isinstance(value, Mapping):
        return {name: _at_home(item, f"{key}.{name}", fault) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_at_home(item, f"{key}.{index}", fault) for index, item in enumerate(value))
    try:
        return at_home(value) if isinstance(value, str) else value
    except InputError as error:
        raise fault(key, f"= {error}") from None


def _build_scalar(kind: type, value: Any, key: str, fault: _Fault) -> Any:
    if kind is float and isinstance(value, str):
        try:
            value = float(value)  # YAML 1.1 reads 3e-5 (without a point) as text
        except ValueError:
            raise fault(key, f"= {_shown(value)}: expected a number.") from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise fault(key, f"= {_shown(value)}: is too large a number.") from None
    if kind is str and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # as it was written: see _Loader
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise fault(key, f"= {_shown(value)}: expected {EXPECTED[kind]}.")
    if isinstance(value, str):
        _check_text(value, key, fault)
    return value


def _check_text(value: str, key: str, fault: _Fault) -> None:
    """A text of a config is a name or a path, or a label, which may be as long as it likes."""
    try:
        size = max(map(len, value.encode().split(b"/")))
    except UnicodeEncodeError:
        raise fault(key, f"= {_shown(value)}: holds half a character (a lone surrogate). Write it anew.") from None
    if "\0" in value:
        raise fault(key, f"= {_shown(value)}: holds a NUL, which no name or path can.")
    labels = ".labels." in key or ".drop_labels." in key
    if not labels and (size > LONGEST_PART or len(value.encode()) >= LONGEST_PATH):
        raise fault(key, f"= {_shown(value)}: is longer than a path may be. Give a shorter one.")


def _plain(value: Any) -> Any:
    """Without the Nones of mappings, and with lists for tuples."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


class _Empty:
    """What stands behind a key with nothing behind it; YAML takes it for null."""

    def __repr__(self) -> str:
        return "None"


EMPTY = _Empty()


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses a key written twice, which YAML would silently take from the last place.

    What is left empty is EMPTY; what is written as null is None.
    A whole number is one as JSON writes it. YAML 1.1 has more: 010 is 8 there, 1_0 is 10 and 1:30 is 90. Here these are
    text, so that the label 01 stays what it is. A value that its type cannot hold, as the date 2024-31-12, is refused
    with its place.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:int"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, AttributeError, LookupError):
            said = f"{node.value!r} is no {node.tag.rpartition(':')[2]}. Put it in quotes where it is text"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # <<
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                break  # the SafeLoader refuses it and says where
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:null", lambda loader, node: None if node.value else EMPTY)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", WHOLE_NUMBER, list("-0123456789"))
