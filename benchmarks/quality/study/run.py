#!/usr/bin/env python3
"""The whole study: python benchmarks/quality/study/run.py --data DIR --encoder FOLDER --output OUT

Pretrains, fine-tunes and enhances the teacher, trains every arm with every seed, scores them, and writes
OUT/study.json, OUT/study.md (the tables) and OUT/study.svg (the picture). The same command again goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.quality import judging
from benchmarks.quality.judging import Point, above_majority, averages, draws_of, gains_between, shown
from ernie_tiny.files import finite_or_none, to_json
from ernie_tiny.report.tables import Table

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parents[2] / "tools"
ARMS = {  # letter: what it is, its model@stage
    "a": ("teacher, fine-tuned on the task", "teacher@finetune-teacher"),
    "b": ("student from scratch", "student@scratch"),
    "c": ("distilled, teacher not enhanced", "student@finetune-unenhanced"),
    "d": ("MITKD", "student@finetune-enhanced"),
    "e": ("the four stages", "student@TSD"),
    "f": ("without GED", "student@TSD-without-GED"),
    "g": ("without GD", "student@TSD-without-GD"),
    "h": ("TSD alone", "student@TSD-alone"),
    "i": ("MKD", "student@mkd-transformer"),
    "i0": ("as i, no teacher", "student@joint-transformer"),
    "j": ("MKD, BiLSTM", "bilstm@mkd-bilstm"),
    "k": ("as j, no teacher", "bilstm@joint-bilstm"),
}
FIRST = ("teacher@finetune-teacher", "student@scratch-first")  # trained before any method: which tasks have a signal
EVERYWHERE = ("b", "c", "d")  # arms that are fine-tuned on tasks that the teacher was not enhanced on
OUT_OF_DOMAIN = ("shopping_10", *(f"bustm-{draw}" for draw in range(5)))
LOW_RESOURCE = tuple(f"{task}-{draw}" for task in ("eprstmt", "csldcp") for draw in range(5))
CLAIMS = (  # the first is to be above the second
    ("d", "c", "out-of-domain"), ("c", "b", "out-of-domain"), ("d", "c", "low-resource"), ("c", "b", "low-resource"),
    ("e", "h", "in-domain"), ("i", "i0", "in-domain"), ("j", "k", "in-domain"),
)  # fmt: skip


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data root")
    parser.add_argument("--encoder", type=Path, required=True, help="a small pretrained encoder to go on from")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--jobs", type=int, default=2, help="students' runs at a time")
    parser.add_argument("--summarise", action="store_true", help="train nothing, gather what is there")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    seeds = args.seeds.split(",")
    if not args.summarise:
        run_all(args, seeds)
    last = "unseen/dev_few_all/evaluation.json"
    study = gather(args.output, [seed for seed in seeds if (args.output / f"students/seed={seed}" / last).is_file()])
    (args.output / "study.json").write_text(to_json(finite_or_none(study), indent=1) + "\n", encoding="utf-8")
    text = "\n".join(tables(study))
    (args.output / "study.md").write_text(text + "\n", encoding="utf-8")
    draw(study, args.output / "study.svg")
    print(text)


def run_all(args: argparse.Namespace, seeds: Sequence[str]) -> None:
    root, output = f"data.root={args.data}", args.output
    pretrain = (f"output_dir={output}/pretrain", f"models.teacher.pretrained={args.encoder}")
    tool("train.py", "-c", HERE / "pretrain.yaml", "-o", root, *pretrain)
    teachers = (f"output_dir={output}/teachers", f"base_run={output}/pretrain")
    tool("train.py", "-c", HERE / "teachers.yaml", "-o", root, *teachers)
    grid = ("--grid", f"seed={args.seeds}", "--output", output / "students", "--jobs", args.jobs)
    tool("search.py", "-c", HERE / "students.yaml", "-o", root, f"base_run={output}/teachers", *grid)
    score_unseen(output / "teachers", FIRST)
    for seed in seeds:
        score_unseen(output / f"students/seed={seed}", [ARMS[arm][1] for arm in EVERYWHERE])


def score_unseen(run: Path, models: Sequence[str]) -> None:
    """Scores on the tasks that no teacher was enhanced on; FewCLUE's on the union of its dev draws."""
    few = [task for task in (*OUT_OF_DOMAIN, *LOW_RESOURCE) if task != "shopping_10"]
    for split, tasks in (("dev", ["shopping_10"]), ("dev_few_all", few)):
        folder = run / "unseen" / split
        if not (folder / "evaluation.json").is_file():
            what = ("--models", *models, "--tasks", *tasks, "--split", split)
            tool("evaluate.py", "--run", run, *what, "--output", folder)


def unseen(run: Path) -> list[dict[str, Any]]:
    return [record for split in ("dev", "dev_few_all") for record in _read(run / "unseen" / split / "evaluation.json")]


def tool(name: str, *arguments: object) -> None:
    subprocess.run([sys.executable, str(TOOLS / name), *map(str, arguments)], check=True)


def gather(output: Path, seeds: Sequence[str]) -> dict[str, Any]:
    """All numbers of the study.

    Returns:
        "tasks": task to its majority baseline, number of examples, and scores of teacher and scratch student before
        any method was run; "arms": letter to "parameters", "latency" (p50, ms) and "scores", task to score by seed;
        "pretraining": the held-out masked-token figures; "hours": by part.
    """
    teachers = _read(output / "teachers/results.json")
    first = {model["reference"]: dict(model["main"]) for model in teachers["models"]}
    majority, examples = dict(teachers["majority"]), dict(teachers["examples"])
    for record in unseen(output / "teachers"):
        task = record["task"]
        first[record["model"]][task] = record["scores"]["accuracy"]
        majority[task] = 100 * max(map(sum, record["confusion"]["counts"])) / record["examples"]
        examples[task] = record["examples"]
    runs = [_read(output / f"students/seed={seed}/results.json") for seed in seeds]
    scores: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for seed, run in zip(seeds, runs):
        found = {model["reference"]: dict(model["main"]) for model in run["models"]}
        for record in unseen(output / f"students/seed={seed}"):
            found[record["model"]][record["task"]] = record["scores"]["accuracy"]
        for arm, (_, reference) in ARMS.items():
            scores[arm].append(found[reference])
    shapes = {model["reference"]: model for model in runs[0]["models"]} if runs else {}
    return {
        "seeds": list(seeds),
        "tasks": {
            task: {
                "majority": majority[task],
                "examples": examples[task],
                "teacher": score,
                "scratch": first[FIRST[1]][task],
            }
            for task, score in first[FIRST[0]].items()
        },
        "in-domain": list(runs[0]["majority"]) if runs else [],
        "arms": {
            arm: {
                "what": what,
                "parameters": shapes[reference]["parameters"],
                "latency": shapes[reference]["speed"]["p50"],
                "scores": scores[arm],
            }
            for arm, (what, reference) in ARMS.items()
            if reference in shapes
        },
        "pretraining": _read(output / "pretrain/results.json")["stages"],
        "hours": {
            name: sum(stage["seconds"] for run in part for stage in run["stages"]) / 3600
            for name, part in (
                ("pretraining", [_read(output / "pretrain/results.json")]),
                ("teachers", [teachers]),
                ("students", runs),
            )
        },
    }


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def carries_signal(task: Mapping[str, float]) -> bool:
    """Whether the teacher is above the majority baseline by more than two standard errors of the dev set."""
    return above_majority(task["teacher"], task["majority"], task["examples"])


def _markdown(header: Sequence[str], rows: list[list[str]]) -> str:
    return Table(header, [rows]).markdown()


def tables(study: Mapping[str, Any]) -> Iterator[str]:
    """The tables as Markdown: which tasks carry a signal, every arm on every task, and what became of each claim."""
    yield _markdown(
        ["task", "dev examples", "majority", "teacher", "student from scratch", "signal"],
        [
            [
                name,
                f"{task['examples']:.0f}",
                *(f"{task[key]:.2f}" for key in ("majority", "teacher", "scratch")),
                "yes" if carries_signal(task) else "no",
            ]
            for name, task in _folded(study["tasks"]).items()
        ],
    )
    arms = study["arms"]
    if not arms:
        return
    groups = {name: tasks for name, tasks in groups_of(study).items() if tasks}
    columns = draws_of([*study["in-domain"], *OUT_OF_DOMAIN, *LOW_RESOURCE])
    yield ""
    yield _markdown(
        ["arm", "", *columns, *(f"**{group}**" for group in groups)],
        [
            [
                arm,
                found["what"],
                *(shown(averages(found["scores"], tasks)) for tasks in (*columns.values(), *groups.values())),
            ]
            for arm, found in arms.items()
        ],
    )
    yield ""
    yield _markdown(
        ["claim", "average of", "gain", "by seed", ""],
        [
            [
                f"{above} > {below}",
                group,
                *_claimed(*(averages(arms[arm]["scores"], groups[group]) for arm in (above, below))),
            ]
            for above, below, group in CLAIMS
            if {above, below} <= set(arms) and group in groups
        ],
    )


def _claimed(above: Sequence[float], below: Sequence[float]) -> tuple[str, str, str]:
    """The mean gain with its deviation, the gains by seed, and whether the claim holds."""
    gains, verdict = gains_between(above, below)
    return shown(gains, "+.2f"), ", ".join(f"{gain:+.2f}" for gain in gains), verdict


def _folded(tasks: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The figures by task, means over its draws."""
    return {
        name: {key: sum(tasks[draw][key] for draw in draws) / len(draws) for key in tasks[draws[0]]}
        for name, draws in draws_of(list(tasks)).items()
    }


def groups_of(study: Mapping[str, Any]) -> dict[str, list[str]]:
    """Group to its tasks, of those that carry a signal."""
    alive = {name for name, task in _folded(study["tasks"]).items() if carries_signal(task)}
    named = {"in-domain": study["in-domain"], "out-of-domain": OUT_OF_DOMAIN, "low-resource": LOW_RESOURCE}
    return {
        group: [draw for name, draws in draws_of(tasks).items() if name in alive for draw in draws]
        for group, tasks in named.items()
    }


def draw(study: Mapping[str, Any], target: Path) -> None:
    tasks = groups_of(study)["in-domain"]
    points = [
        Point(arm, found["what"], found["parameters"], found["latency"], averages(found["scores"], tasks))
        for arm, found in study["arms"].items()
    ]
    judging.draw(points, target)


if __name__ == "__main__":
    main()
