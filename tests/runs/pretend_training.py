"""Stands in for tools/train.py, in milliseconds: goes on from where it was, fails where it is told to, leaves results.

-c CONFIG -o KEY=VALUE ...; a file `broken` beside the search's folder names a learning rate that ends in an error.
Its two "steps" wait for a file `go` beside the search's folder, so that a test has time to kill it.
"""

from __future__ import annotations

import fcntl
import json
import sys
import time
from pathlib import Path


def main() -> None:
    given = dict(item.split("=", 1) for item in sys.argv[sys.argv.index("-o") + 1 :])
    folder = Path(json.loads(given["output_dir"]))
    beside = folder.parents[2]
    with (beside / "alive").open("a") as alive, (folder / "events").open("a") as events:
        fcntl.flock(alive, fcntl.LOCK_SH)  # held as long as a training lives
        rate = float(given["stages.finetune.optim.learning_rate"])
        steps = (folder / "events").read_text().count("step")
        for _ in range(steps, 2):
            events.write("step\n")
            events.flush()
            while not (beside / "go").exists():
                time.sleep(0.01)
        if (beside / "broken").exists() and float((beside / "broken").read_text()) == rate:
            sys.exit("it broke")
        events.write("end\n")
        model = {
            "role": "student", "reference": "student@finetune", "parameters": 9, "embedding_parameters": 4,
            "main": {"reviews": 50 + 1000 * rate + int(given["seed"])},
        }  # fmt: skip
        stage = {
            "stage": "finetune", "task": "reviews", "trained": "student", "steps": 2, "tokens": 2, "seconds": 1.0,
            "parameters": 9, "best_dev": None, "objective": {},
        }  # fmt: skip
        results = {
            "name": "pretended", "models": [model], "stages": [stage], "threads": given["runtime.threads"],
            **dict.fromkeys(("majority", "metrics", "examples", "agreement", "exports"), {}),
        }  # fmt: skip
        (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
