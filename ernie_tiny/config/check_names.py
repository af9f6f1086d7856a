"""What names in a config become: folders of a run."""

from __future__ import annotations

from typing import Optional

from ernie_tiny.config.check_objective import Fault
from ernie_tiny.config.schema import RunConfig

LONGEST_NAME = 120  # bytes; a file's name has 255, and what is added to it needs room


def check_names(run: RunConfig, fault: Fault) -> None:
    """Raises an InputError for the first name that cannot be a folder's, as those of runs, tasks and stages are."""
    names = [("name", run.name)]
    names += [(f"models.{name}", name) for name in run.models]
    names += [(f"stages.{stage.name}", stage.name) for stage in run.stages]
    names += [(f"data.tasks.{name}", name) for name in run.data.tasks]
    names += [(f"data.corpora.{name}", name) for name in run.data.corpora]
    for key, name in names:
        reason = unfit_name(name)
        if reason is not None:
            raise fault(key, f"= {name!r}: is no name for a folder, which it becomes: {reason}. Give another name.")


def unfit_name(name: str) -> Optional[str]:
    """Why a name cannot be a folder's, or None."""
    if not name.strip():
        return "it is empty"
    if name != name.strip():
        return "a blank stands before or behind it"
    if name.startswith("."):
        return "it begins with '.'"
    found = next((letter for letter in name if letter in "/\\@" or not letter.isprintable()), None)
    if found is not None:
        return f"it holds {found!r}"
    size = len(name.encode("utf-8", "surrogatepass"))
    return f"it has {size} bytes, and {LONGEST_NAME} is the most" if size > LONGEST_NAME else None
