"""The one exception that means "what you gave is wrong", and what goes into its message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """A fault in a config, a data file, a model folder or the installation that the user can mend.

    The message says what is wrong, where (file, line, key or shape) and what to do. Tools print it
    without a traceback and leave with exit code 2; anything else that is raised is a bug.
    """


def offer(name: str, valid: Iterable[str]) -> str:
    """A sentence with the valid name that is nearest to a wrong one, or with all of them."""
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Valid: {', '.join(names)}." if names else "There is none."


def first_line(error: BaseException) -> str:
    """What an error of a library says in its first line, at most 200 characters; its class where it says nothing."""
    text = str(error).strip().removeprefix("In user code:").strip()  # with which Paddle begins
    return text.splitlines()[0][:200] if text else type(error).__name__
