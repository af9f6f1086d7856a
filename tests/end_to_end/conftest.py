"""The runs that several tests look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

import pytest

from tests.end_to_end.tiny import METHODS, TROUBLES, Runs, run_in_trouble

KILLS = int(os.environ.get("ERNIE_TINY_KILLS", "3"))
SEED = int(os.environ.get("ERNIE_TINY_KILLS_SEED", "0"))


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Runs]]:
    """The runs of a method by its name; those that the session's tests ask for are made two at a time, beside them."""
    asking = [item for item in request.session.items if "runs" in getattr(item, "fixturenames", ())]
    parameters = [item.callspec.params for item in asking if hasattr(item, "callspec")]
    wanted = ["mitkd", *(given["method"] for given in parameters if given.get("method") in METHODS)]
    with ThreadPoolExecutor(2) as pool:
        made = {
            method: pool.submit(
                run_in_trouble,
                METHODS[method],
                tmp_path_factory.mktemp(method),
                KILLS,
                SEED,
                TROUBLES.get(method, ()),
            )
            for method in dict.fromkeys(wanted)
        }
        yield lambda method: made[method].result()
