#!/usr/bin/env python3
"""How near the cost model comes: the hours it predicts of three small runs, and what these then take.

    python benchmarks/speed/cost_model.py [--folder output/cost_model] [--seconds 60] [--threads 2] [--only mitkd]

Each run is predicted, trained on data that the project makes itself, and predicted again, so that a machine whose
speed changes in between shows. It prints a line a stage, and of a run the seconds of its stages (by their own clocks)
and of the whole, predicted and taken, with the ratio. Alone on the machine the ratio of the stages is to lie within
0.75 and 1.25; the whole run also exports, which is not predicted.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ernie_tiny.config import load_config
from ernie_tiny.runs.references import replaceable
from ernie_tiny.runtime import prepare

ROOT = Path(__file__).resolve().parents[2]
GENERAL = "data.corpora.general.files=[corpus/general.txt]"
RUNS = {
    "mitkd": (
        "quickstart",
        ["stages.pretrain.optim.max_steps=60", "stages.enhance.optim.max_steps=60", "stages.distil.optim.max_steps=80"],
    ),
    "progressive": (
        "smoke/progressive_clue",
        [
            *(GENERAL, "data.sample=true", "stages.pretrain.optim.max_steps=40", "stages.GD.optim.max_steps=60"),
            *("stages.GED.optim.max_steps=30", "stages.TAD.cache={precision: float16}", "stages.TSD.select.every=20"),
        ],
    ),
    "mkd_bilstm": (
        "smoke/mkd_bilstm_clue",
        [
            *(GENERAL, "data.sample=true", "stages.pretrain.optim.max_steps=40", "stages.refine.optim.max_steps=60"),
            *("stages.distil.optim.max_steps=80", "stages.scratch.optim.max_steps=80"),
        ],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "output" / "cost_model")
    parser.add_argument("--seconds", type=float, default=60.0, help="of measuring, for each prediction")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    args = parser.parse_args()
    prepare("cpu", args.threads)
    for name in args.only:
        compare(name, args.folder / name, args.seconds)


def compare(name: str, folder: Path, seconds: float) -> None:
    """Predicts, runs, predicts again, and prints a line a stage and one for the run."""
    from ernie_tiny.runs.calibration import measure_cost
    from ernie_tiny.runs.pipeline import run_pipeline
    from ernie_tiny.runs.run_folders import read_results

    config, overrides = RUNS[name]
    shutil.rmtree(replaceable("--folder", folder, "run/config.yaml"), ignore_errors=True)
    run = load_config(
        str(ROOT / "configs" / f"{config}.yaml"),
        [*overrides, f"output_dir={folder / 'run'}", f"data.root={folder / 'data'}"],
    )
    before = measure_cost(run, seconds)
    start = time.perf_counter()
    run_pipeline(run)
    whole = time.perf_counter() - start
    after = measure_cost(run, seconds)
    results = read_results(folder / "run")
    assert results is not None
    predicted = taken = 0.0
    for stage, *costs in zip(results.stages, before.stages, after.stages):
        guesses = [3600 * (cost.train + cost.evaluate + cost.save) for cost in costs]
        guess = sum(guesses) / len(guesses)
        predicted, taken = predicted + guess, taken + stage.seconds
        title = f"{name} {costs[0].title}"
        print(f"{title:<32} predicted {guesses[0]:.1f} and {guesses[1]:.1f} s, took {stage.seconds:.1f} s", flush=True)
    print(f"{name} stages: predicted {predicted:.1f} s, took {taken:.1f} s, ratio {predicted / taken:.2f}")
    hours = (before.hours + after.hours) / 2
    print(f"{name} run: predicted {3600 * hours:.1f} s, took {whole:.1f} s, ratio {3600 * hours / whole:.2f}")
    print(f"{name}: measuring took {before.measured:.0f} and {after.measured:.0f} s on {before.processor}", flush=True)


if __name__ == "__main__":
    main()
