"""The keys of a run's data: a user's own tasks, unlabelled texts, general text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class TaskConfig:
    """A user's own task; the fields are those of ernie_tiny.data.task.TaskSpec."""

    kind: str
    files: Mapping[str, tuple[str, ...]]  # split (train, unlabelled, dev, ...) to files, relative to data.root
    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    label_field: str = "label"
    id_field: str = "id"
    drop_labels: tuple[str, ...] = ()
    drop_broken_rows: bool = False
    file_format: str = "jsonl"
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # split to names, of tables without a header
    held_out: Mapping[str, float] = field(default_factory=dict)  # further splits, as parts of the train files
    metric: str = ""  # by default the first that serves the kind
    scorer: str = "cmrc2018"  # of reading; or squad
    scheme: str = "bio"  # of labelling; or bioes, bmes
    max_length: int = 128


@dataclass(frozen=True)
class CorpusConfig:
    """General text: a paragraph a line, a blank line between documents; or JSON lines, a document a line."""

    files: tuple[str, ...]  # files or patterns (*.txt), relative to data.root
    field: Optional[str] = None  # of files of JSON lines: the field that holds the text


@dataclass(frozen=True)
class DataConfig:
    root: str = "data"  # holds clue/, corpus/ and the like
    sample: bool = False  # write the project's own small data set into data.root first
    tasks: Mapping[str, TaskConfig] = field(default_factory=dict)
    unlabelled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # built-in task to files without labels
    corpora: Mapping[str, CorpusConfig] = field(default_factory=dict)
