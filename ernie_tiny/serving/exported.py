"""A folder that tools/export.py wrote: its task, and the engines and precisions that it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ernie_tiny.data.task import TaskSpec
from ernie_tiny.engine_facts import Form
from ernie_tiny.engines import Engine, Signature, load
from ernie_tiny.engines.export import MODEL_PREFIX
from ernie_tiny.engines.onnx_file import FILES
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.ask import head_of
from ernie_tiny.models.forms import FORMS

TASK_FILE = "task.json"
PADDLE: Form = ("paddle", "float32")  # that every export holds


def read_spec(folder: Path) -> TaskSpec:
    """The task that a folder was exported for, with the input length that its model was trained with.

    Raises:
        InputError: task.json is missing or damaged; a file of the tokenizer is missing, without which texts may be cut
            otherwise; or a file has not the size that it was written with: Paddle reads weights that lack their last
            bytes, and answers wrongly.
    """
    description = folder / TASK_FILE
    if not description.is_file():
        raise InputError(f"{description}: no such file; {folder} is no folder that tools/export.py wrote.")
    try:
        content: dict[str, Any] = json.loads(description.read_text(encoding="utf-8"))
        values = content["task"]
        for key, value in values.items():
            values[key] = tuple(value) if isinstance(value, list) else value
        spec = TaskSpec(**values)
        sizes = dict(content.get("bytes", {}))  # which exports of earlier versions lack
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{description}: is damaged, or of another version of this project ({error}). Export the model anew with "
            "tools/export.py."
        ) from error
    for name, size in sizes.items():
        file, again = folder / name, "Copy the folder again, or export it anew with tools/export.py."
        if file.is_file():
            if file.stat().st_size != size:
                found = f"it has {file.stat().st_size} bytes, and {size} were written"
                raise InputError(f"{file}: is cut off or damaged: {found}. {again}")
        elif not name.startswith(f"{MODEL_PREFIX}."):  # one network is enough; who needs another one says so
            raise InputError(f"{file}: is not there, and without it texts may be cut otherwise. {again}")
    return spec


def forms_of(folder: Path) -> list[Form]:
    """The engines and precisions that an exported folder holds; of one of an earlier version Paddle's float32.

    Raises:
        InputError: as of read_spec.
    """
    read_spec(folder)
    listed = json.loads((folder / TASK_FILE).read_text(encoding="utf-8")).get("engines", ())
    return [(form["engine"], form["precision"]) for form in listed] or [PADDLE]


def load_form(folder: Path, form: Form = PADDLE, threads: int = 1) -> Engine:
    """One of the forms of an exported folder, ready to give logits; arguments and errors are those of engines.load."""
    spec = read_spec(folder)
    signature = Signature({"logits": FORMS[head_of(spec).form].length_axis}, spec.max_length)
    return load(folder, signature, *form, threads)


def network_files(folder: Path, form: Form) -> list[Path]:
    """The files that a form is read from."""
    if form[0] == PADDLE[0]:
        return [folder / f"{MODEL_PREFIX}.json", folder / f"{MODEL_PREFIX}.pdiparams"]
    return [folder / FILES[form]]


def held_forms(folder: Path) -> list[Form]:
    """Those of `forms_of` whose files are there: a copy may have left some out."""
    return [form for form in forms_of(folder) if all(file.is_file() for file in network_files(folder, form))]


def megabytes(folder: Path) -> float:
    """Size of an exported folder's Paddle network on disk, in 10^6 bytes."""
    return round(sum(file.stat().st_size for file in network_files(folder, PADDLE)) / 1e6, 2)
