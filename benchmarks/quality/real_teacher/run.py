#!/usr/bin/env python3
"""The study with a real teacher: python benchmarks/quality/real_teacher/run.py --data DIR --teacher FOLDER --output OUT

Trains what is not finished, --jobs runs at a time, each from its last checkpoint. SIGTERM or Ctrl-C stops it within a
step, with a checkpoint; the same command goes on. --list trains nothing and says what there is to do.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Optional

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.quality.real_teacher.gather import gather
from benchmarks.quality.real_teacher.hours import Estimate, Work
from benchmarks.quality.real_teacher.page import draw, page
from benchmarks.quality.real_teacher.parts import (
    FEW_CLUE,
    FEW_FOLDER,
    FEW_SPLIT,
    HERE,
    HUGGING_FACE,
    SEEDS,
    Part,
    queue,
)
from ernie_tiny.config import load_config
from ernie_tiny.errors import InputError
from ernie_tiny.files import finite_or_none, to_json
from ernie_tiny.runs.children import Children
from ernie_tiny.runs.lock import run_lock
from ernie_tiny.runs.run_folders import EVALUATION_FILE, RESULTS_FILE

TOOLS = Path(__file__).resolve().parents[3] / "tools"
THREADS = yaml.safe_load((HERE / "_common.yaml").read_text(encoding="utf-8"))["runtime"]["threads"]
LOG_FILE = "train.log"
SIGNALS = "signals"  # of the output: what the teachers answered, for all runs
CORPORA = "corpora"  # of a run and, for all runs, of the output: the tokenised general text
SMOKE_EXAMPLES = 100  # dev examples of a task in a run that is shortened


def parse_args(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data root")
    parser.add_argument("--teacher", type=Path, required=True, help="folder of the pretrained teacher")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--part", type=float, default=1.0, help="of each stage's steps, to see that every run works")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="names of runs, as in 'seed=1/*'")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; they share the threads of the configs")
    parser.add_argument("--list", action="store_true", help="train nothing, list the runs with their states")
    parser.add_argument("--smoke", type=Path, help="of --list: the output of a run with --part, for hours by its speed")
    parser.add_argument("--summarise", action="store_true", help="train nothing, write the page of what is there")
    parser.add_argument("--others", type=Path, nargs="+", default=[], help="real_teacher.json of other machines' seeds")
    args = parser.parse_args(arguments)
    if args.jobs < 1:
        parser.error(f"--jobs {args.jobs}: at least one run at a time")
    return args


def main(arguments: Sequence[str]) -> int:
    args = parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it otherwise
    parts = [part for part in queue() if any(fnmatch(part.name, pattern) for pattern in args.only)]
    if args.list:
        print("\n".join(outline(args, parts)))
        return 0
    try:
        failed = [] if args.summarise else run_queue(args, parts)
        if args.part == 1:
            summarise(args)
    except KeyboardInterrupt:
        return 130
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name in failed:
        print(f"{name} failed: see {args.output / name / LOG_FILE}", file=sys.stderr)
    return 1 if failed else 0


def summarise(args: argparse.Namespace) -> None:
    """Writes the numbers, the page and the picture of what is finished."""
    study = gather(args.output, args.data, [json.loads(file.read_text(encoding="utf-8")) for file in args.others])
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "real_teacher.json").write_text(to_json(finite_or_none(study), indent=1) + "\n", encoding="utf-8")
    (args.output / "real_teacher.md").write_text(page(study), encoding="utf-8")
    draw(study, args.output / "real_teacher.svg")


def outline(args: argparse.Namespace, parts: Sequence[Part]) -> Iterator[str]:
    """A line for each run: its state; with --smoke steps, tokens, FLOPs and hours, alike for all seeds."""
    estimate = Estimate(args.data, args.smoke) if args.smoke else None
    total = 0.0
    for part in parts:
        line = f"{state(part, args.output):<9} {part.name:<30}"
        work = expected(args, part, estimate) if estimate is not None else None
        if work is not None:
            line += f" {work.steps:>7,} steps {work.tokens / 1e6:>7.2f} M tokens"
            line += f" {work.flops:>9.2e} FLOPs {work.hours:>6.2f} h"
            total += work.hours
        yield line.rstrip()
    if estimate is not None:
        yield f"all that was measured: {total:.1f} h, at the speed of the shortened runs"


def expected(args: argparse.Namespace, part: Part, estimate: Estimate) -> Optional[Work]:
    """The work of a part, from its shortened run with the first seed; None where that is not finished."""
    first = re.sub("^seed=[0-9]+", f"seed={SEEDS[0]}", part.name)
    name = first if any(other.name == first for other in queue()) else part.name
    if not (args.smoke / name / RESULTS_FILE).is_file():
        return None
    alike = next(other for other in queue() if other.name == name)
    whole = argparse.Namespace(**{**vars(args), "output": args.smoke, "part": 1.0})
    return estimate.of(load_config(alike.file, overrides(whole, alike)), name)


def state(part: Part, output: Path) -> str:
    folder = output / part.name
    if all(file.is_file() for file in results_of(part, folder)):
        return "finished"
    return "begun" if folder.is_dir() else "waiting"


def results_of(part: Part, folder: Path) -> list[Path]:
    """The files that a finished run of the part has."""
    scored = [folder / FEW_FOLDER / EVALUATION_FILE] if part.few else []
    exported = [folder / HUGGING_FACE / "config.json"] if part.exported else []
    return [folder / RESULTS_FILE, *scored, *exported]


def commands(args: argparse.Namespace, part: Part) -> list[tuple[str, ...]]:
    """What runs a part: its training, its scores on FewCLUE, and its export for transformers."""
    folder = args.output / part.name
    found = [(sys.executable, str(TOOLS / "train.py"), "-c", str(part.file), "-o", *overrides(args, part))]
    if part.few:
        few = ["--models", *part.few, "--tasks", *FEW_CLUE, "--split", FEW_SPLIT, "--output", str(folder / FEW_FOLDER)]
        few += ["--examples", str(SMOKE_EXAMPLES)] if args.part < 1 else []
        found.append((sys.executable, str(TOOLS / "evaluate.py"), "--run", str(folder), *few))
    if part.exported:
        where = ("--format", "huggingface", "--output", str(folder / HUGGING_FACE))
        found.append((sys.executable, str(TOOLS / "export.py"), "--run", str(folder), "--model", part.exported, *where))
    return found


def run_queue(args: argparse.Namespace, parts: Sequence[Part]) -> list[str]:
    """Runs what is not finished, in order; names what failed, or goes on from what did.

    Raises:
        InputError: another queue works in the folder.
    """
    running: dict[str, tuple[Part, Iterator[tuple[str, ...]]]] = {}
    failed: list[str] = []
    with run_lock(args.output), Children({}, args.jobs, LOG_FILE) as children:
        waiting = [part for part in parts if state(part, args.output) != "finished"]

        def begin() -> None:
            unfinished = {part.name for part in waiting} | {part.name for part, _ in running.values()}
            for part in list(waiting):
                if part.base in failed:
                    waiting.remove(part)
                    failed.append(part.name)
                elif len(running) < args.jobs and part.base not in unfinished:
                    waiting.remove(part)
                    print(f"{now()} {part.name} begins", flush=True)
                    share_text(args.output / CORPORA, args.output / part.name / CORPORA)
                    rest = remaining(args, part)
                    children.add(str(args.output / part.name), next(rest))
                    running[str(args.output / part.name)] = part, rest

        begin()
        for folder, code in children:
            part, rest = running[folder]
            following = None if code else next(rest, None)
            if following is not None:
                children.add(folder, following)
                continue
            del running[folder]
            print(f"{now()} {part.name} {f'failed with exit code {code}' if code else 'finished'}", flush=True)
            if code:
                failed.append(part.name)
            else:
                share_text(Path(folder) / CORPORA, args.output / CORPORA)
            begin()
    return failed


def remaining(args: argparse.Namespace, part: Part) -> Iterator[tuple[str, ...]]:
    """The commands of a part whose results are not there when their turn comes."""
    for command, result in zip(commands(args, part), results_of(part, args.output / part.name)):
        if not result.is_file():
            yield command


def share_text(source: Path, target: Path) -> None:
    """Links tokenised general text into another folder; a run checks that it is of the same files."""
    if source.is_dir() and not target.exists():
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial, copy_function=os.link)
        partial.rename(target)


def now() -> str:
    return datetime.now().isoformat(" ", "seconds")


def overrides(args: argparse.Namespace, part: Part) -> list[str]:
    """What tools/train.py is given for a part beside its config."""
    found = [f"data.root={to_json(str(args.data))}", f"output_dir={to_json(str(args.output / part.name))}"]
    if part.base is None:
        found.append(f"models.teacher.pretrained={to_json(str(args.teacher))}")
    else:
        found.append(f"base_run={to_json(str(args.output / part.base))}")
    found += part.settings
    if args.jobs > 1:
        found.append(f"runtime.threads={max(1, THREADS // args.jobs)}")
    for stage, teacher in part.cached.items():
        found.append(f"stages.{stage}.cache.folder={to_json(str(args.output / SIGNALS / teacher))}")
    return found + shortened(part, found, args.part) if args.part < 1 else found


def shortened(part: Part, given: Sequence[str], share: float) -> list[str]:
    """Overrides that give each of a part's own stages a share of its steps, and each task a few dev examples."""
    found = [f"report.examples={SMOKE_EXAMPLES}"]
    for stage in load_config(part.file, given).stages:
        if stage.taken_from is not None:
            continue
        if stage.optim.max_steps is not None:
            found.append(f"stages.{stage.name}.optim.max_steps={math.ceil(share * stage.optim.max_steps)}")
        elif stage.cache is not None and stage.data.examples is not None:  # all of whose rows the teacher would answer
            found.append(f"stages.{stage.name}.data.examples={math.ceil(share * stage.data.examples)}")
        else:
            found.append(f"stages.{stage.name}.optim.epochs={share * (stage.optim.epochs or 0):.6g}")
        if stage.select.every is not None:
            found.append(f"stages.{stage.name}.select.examples={SMOKE_EXAMPLES}")
        for task, settings in stage.task_settings.items():
            if settings.epochs is not None:
                found.append(f"stages.{stage.name}.task_settings.{task}.epochs={share * settings.epochs:.6g}")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
