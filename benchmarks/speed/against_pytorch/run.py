#!/usr/bin/env python3
"""Steps of training against PyTorch: benchmarks/speed/against_pytorch/run.py --data DIR --vocabulary FILE --output OUT

Each side is a process of its own, and they take turns, a step each, on the same weights and batches; quote the ratios.
A case that is finished is not run again; --summarise prints the tables of those that are. PyTorch's interpreter is this
one, or --torch-python. To compare the losses alone: --sides float32 torch-float32 (any machine, busy or not).
TextBrewer, which does none of the cases but task: --cases task --sides float32 torch-float32 textbrewer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from ernie_tiny.files import to_json, write_text
from ernie_tiny.report.tables import Table
from ernie_tiny.runtime import processor

HERE = Path(__file__).resolve().parent
CASES = {
    "distil": "(a) MITKD, 12L768H to 4L312H, relations",
    "finetune": "(b) multi-task fine-tuning, 6L768H",
    "task": "(c) TSD, 12L768H to 4L312H",
    "bilstm": "(e) MKD, a BiLSTM, cached logits",
}
TAUGHT_LIVE = ("distil", "task")  # whose teacher runs beside the student
OURS = {
    "float32": (),
    "engine": ("runtime.teacher_engine=paddle",),
    "engine-bfloat16": ("runtime.teacher_engine=paddle", "runtime.teacher_precision=bfloat16"),
    "onnx": ("runtime.teacher_engine=onnx",),
    "openvino": ("runtime.teacher_engine=openvino",),
}
THEIRS = ("torch-float32", "torch-bfloat16")
TEXTBREWER = "textbrewer"  # in float32; of the case task, by losses of its own
WARM_UP = 2  # of each side, not counted


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data root")
    parser.add_argument("--vocabulary", type=Path, required=True, help="ERNIE 3.0's vocab.txt")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    everywhere = (*(name for name in OURS if name not in ("onnx", "openvino")), *THEIRS)  # without further packages
    parser.add_argument("--sides", nargs="+", choices=(*OURS, *THEIRS, TEXTBREWER), default=everywhere)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("-o", "--override", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--summarise", action="store_true")
    args = parser.parse_args()
    if "float32" not in args.sides:
        parser.error("--sides: name float32, which makes the weights and batches of all.")
    if TEXTBREWER in args.sides and args.cases != ["task"]:
        parser.error("--sides textbrewer: TextBrewer does not do the other cases: name --cases task alone.")
    return args


def main() -> None:
    args = parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for case in args.cases if not args.summarise else ():
        if not (args.output / f"{case}.json").is_file():
            write_text(args.output / f"{case}.json", to_json(run_case(args, case), indent=1) + "\n")
    found = {case: json.loads((args.output / f"{case}.json").read_text("utf-8")) for case in CASES
             if (args.output / f"{case}.json").is_file()}  # fmt: skip
    print(ratios(found).markdown())
    print(facts(found).markdown())


class Worker:
    """A process that takes steps when it is asked to."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True
            )
        self._log = log
        self._read()

    def ask(self, what: str, **given: Any) -> Any:
        assert self._process.stdin is not None
        print(json.dumps({"do": what, **given}), file=self._process.stdin, flush=True)
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            last = self._log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
            raise SystemExit(f"a worker ended ({last}): see {self._log}")
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def run_case(args: argparse.Namespace, case: str) -> dict[str, Any]:
    """Seconds of each step of each side, in turns, with their losses, and what is said of the case."""
    folder = args.output / case
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(command, folder / f"{name}.log"))
            for name, command in commands(args, case, folder).items()
            if name in args.sides
        }
        peaks = {name: worker.ask("peak") for name, worker in workers.items()}
        steps: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
        for number in range(args.rounds + WARM_UP):
            for name, worker in workers.items():
                steps[name].append(worker.ask("step", number=number))
        facts = workers["float32"].ask("facts")
    return {"processor": processor().name, "steps": steps, "peaks": peaks, "facts": facts}


def commands(args: argparse.Namespace, case: str, folder: Path) -> dict[str, list[str]]:
    """The workers' command lines by name; the first writes what PyTorch's read."""
    shared = [f"data.root={to_json(str(args.data))}", f"tokenizer.vocab={to_json(str(args.vocabulary))}"]
    threads = ["--threads", str(args.threads)]
    found: dict[str, list[str]] = {}
    for name, settings in OURS.items():
        if name == "float32" or case in TAUGHT_LIVE:
            found[name] = [
                sys.executable, str(HERE / "ours.py"), "--config", str(HERE / f"{case}.yaml"), *threads,
                *(["--write", str(folder)] if name == "float32" else []),
                "--override", *shared, *settings, *args.override,
            ]  # fmt: skip
    theirs = {name: ["--precision", name.partition("-")[2]] for name in THEIRS}
    theirs[TEXTBREWER] = ["--precision", "float32", "--textbrewer"]
    for name, settings in theirs.items():
        found[name] = [args.torch_python, str(HERE / "theirs.py"), "--case", str(folder), *settings, *threads]
    return found


def ratios(found: Mapping[str, Any]) -> Table:
    """How many times as fast as PyTorch: the median over the rounds, and its range."""
    known = (*THEIRS, TEXTBREWER)
    others = [name for name in known if any(name in record["steps"] for record in found.values())]
    rows = []
    for case, record in found.items():
        counted = {name: steps[WARM_UP:] for name, steps in record["steps"].items()}
        for name in (name for name in counted if name not in known):
            cells = []
            for other in others:
                shares = [b["seconds"] / a["seconds"] for a, b in zip(counted[name], counted.get(other, ()))]
                told = f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})" if shares else ""
                cells.append(told)
            rows.append([CASES[case], name, *cells, f"{apart(record['steps'], name):.1e}"])
    return Table(["case", "teacher's engine", *(f"over {name}" for name in others), "losses apart"], [rows])


def apart(steps: Mapping[str, Any], name: str) -> float:
    """The largest relative difference between the losses of a side and PyTorch's in float32."""
    pairs = zip(steps[name], steps[THEIRS[0]])
    return max(abs(a["loss"] - b["loss"]) / abs(b["loss"]) for a, b in pairs)


def facts(found: Mapping[str, Any]) -> Table:
    rows = []
    for case, record in found.items():
        facts, steps = record["facts"], record["steps"]["float32"][WARM_UP:]
        seconds, tokens = (sum(step[name] for step in steps) for name in ("seconds", "tokens"))
        share = facts["flops"] * tokens / seconds / record["peaks"]["float32"]
        rows.append([
            CASES[case], f"{facts['tokens']:,.0f}", f"{facts['real']:.1%}",
            *([f"{facts['flops'] * facts['tokens'] / 1e9:,.0f}", f"{share:.0%}"] if share else ["", ""]),
        ])  # fmt: skip
    header = ["case", "real tokens a step", "of the computed", "GFLOPs a step", "of the matrix peak, float32"]
    return Table(header, [rows])


if __name__ == "__main__":
    main()
