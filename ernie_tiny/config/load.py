"""A RunConfig from YAML files with `_BASE_` and from `-o key=value` overrides."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union, get_type_hints

import yaml

from ernie_tiny.config.check import check
from ernie_tiny.config.schema import RunConfig
from ernie_tiny.errors import InputError, offer

Origins = dict[str, str]


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
    raw = _read(Path(path), origins, ())
    for override in overrides:
        _apply(raw, override, origins)
    fault = _Fault(str(path), origins)
    run = _build(RunConfig, raw, "", fault)
    return check(run, fault)


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


def _read(path: Path, origins: Origins, above: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in above:
        chain = " -> ".join(str(p) for p in (*above, path.resolve()))
        raise InputError(f"{path}: _BASE_ goes round in a circle: {chain}. Remove one of the references.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        named = f" (named in _BASE_ of {above[-1]})" if above else ""
        raise InputError(f"{path}: no such config file{named}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text: {error}.") from None
    try:
        content = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: a config is a mapping of keys to values, not {content!r}.")
    bases = content.pop("_BASE_", [])
    if isinstance(bases, str):
        bases = [bases]
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise InputError(f"{path}: _BASE_ = {bases!r}: give a file name or a list of file names.")
    merged: dict[str, Any] = {}
    for base in bases:
        _merge(merged, _read(path.parent / base, origins, (*above, path.resolve())), "", None, origins)
    _merge(merged, content, "", str(path), origins)
    return merged


def _merge(target: dict[str, Any], source: Mapping[str, Any], prefix: str, origin: Any, origins: Origins) -> None:
    for key, value in source.items():
        dotted = f"{prefix}{key}"
        present = target.get(key)
        if isinstance(value, dict) and isinstance(present, dict):
            _merge(present, value, dotted + ".", origin, origins)
        elif isinstance(value, dict) and isinstance(present, list):
            for name, item in value.items():
                element = present[_index(present, str(name), f"{origin}: {dotted}")]
                _merge(element, item, f"{dotted}.{name}.", origin, origins)
        else:
            target[key] = value
        if origin is not None:
            _note_origin(dotted, value, origin, origins)


def _note_origin(dotted: str, value: Any, origin: str, origins: Origins) -> None:
    origins[dotted] = origin
    if isinstance(value, dict):
        for key, item in value.items():
            _note_origin(f"{dotted}.{key}", item, origin, origins)


def _apply(raw: dict[str, Any], override: str, origins: Origins) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"-o {override}: write key.sub=value.")
    try:
        value = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise InputError(f"-o {override}: the value is not valid YAML: {error}") from None
    node: Any = raw
    *parents, last = key.split(".")
    for depth, part in enumerate(parents):
        where = f"-o {override}: {'.'.join(parents[: depth + 1])}"
        if isinstance(node, list):
            node = node[_index(node, part, where)]
        else:
            if node.get(part) is None:
                node[part] = {}
            node = node[part]
        if not isinstance(node, (dict, list)):
            raise InputError(f"{where} = {node!r} holds no further keys.")
    if isinstance(node, list):
        node[_index(node, last, f"-o {override}: {key}")] = value
    else:
        node[last] = value
    _note_origin(key, value, f"-o {override}", origins)


def _index(items: list[Any], part: str, where: str) -> int:
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if part in names:
        return names.index(part)
    if part.isdigit() and int(part) < len(items):
        return int(part)
    raise InputError(f"{where}: no such element. {offer(part, [n for n in names if n])}")


def _build(kind: Any, value: Any, key: str, fault: _Fault) -> Any:
    """The value as the type that a dataclass field declares, or an error that names the key."""
    origin = getattr(kind, "__origin__", None)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, key, fault)
    if origin is Union:  # Optional
        if value is None:
            return None
        return _build(kind.__args__[0], value, key, fault)
    if origin is tuple:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list):
            raise fault(key, f"= {value!r}: expected a list.")
        names = [item.get("name", i) if isinstance(item, dict) else i for i, item in enumerate(items)]
        return tuple(_build(kind.__args__[0], item, f"{key}.{name}", fault) for name, item in zip(names, items))
    if origin is not None:  # Mapping[str, X]
        if not isinstance(value, dict):
            raise fault(key, f"= {value!r}: expected a mapping of names to values.")
        return {str(k): _build(kind.__args__[1], v, f"{key}.{k}", fault) for k, v in value.items()}
    return _build_scalar(kind, value, key, fault)


def _build_dataclass(kind: Any, value: Any, key: str, fault: _Fault) -> Any:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise fault(key, f"= {value!r}: expected a block of keys.")
    hints = get_type_hints(kind)
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in hints:
            raise fault(f"{prefix}{name}", f"= {value[name]!r}: unknown key. {offer(str(name), hints)}")
    for item in dataclasses.fields(kind):
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and item.name not in value:
            raise fault(f"{prefix}{item.name}", "is missing and has no default.")
    return kind(**{name: _build(hints[name], item, f"{prefix}{name}", fault) for name, item in value.items()})


def _build_scalar(kind: type, value: Any, key: str, fault: _Fault) -> Any:
    if kind is float and isinstance(value, str):
        try:
            value = float(value)  # YAML 1.1 reads 3e-5 (without a point) as text
        except ValueError:
            raise fault(key, f"= {value!r}: expected a number.") from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        raise fault(key, f"= {value!r}: expected {names[kind]}.")
    return value


def _plain(value: Any) -> Any:
    """Without the Nones and empty values that are defaults, and with lists for tuples."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


class _UniqueKeyLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a key written twice, which YAML would silently take from the last place."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
