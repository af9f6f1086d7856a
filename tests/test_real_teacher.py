"""The study in benchmarks/quality/real_teacher: its configs are valid, its queue goes on, its claims right by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.quality.real_teacher import run as study
from benchmarks.quality.real_teacher.arms import ARMS, GROUPS, common_seeds
from benchmarks.quality.real_teacher.claims import DOES_NOT, HOLDS, NOT_RUN, claims, tasks_of
from benchmarks.quality.real_teacher.gather import gather
from benchmarks.quality.real_teacher.page import draw, page
from benchmarks.quality.real_teacher.parts import (
    FEW_CLUE,
    NANO,
    RATES,
    SEEDS,
    STARTS,
    STUDENT_RATES,
    TEACHER_RATES,
    TEACHERS,
    Part,
    grid,
    queue,
)
from benchmarks.quality.real_teacher.rates import best_rate, rates
from ernie_tiny.config import load_config, to_yaml
from ernie_tiny.files import to_json
from ernie_tiny.kinds.read import read_split
from ernie_tiny.report.results import ModelResult, Results, StageResult, to_record
from ernie_tiny.runs.changes import differences
from ernie_tiny.runs.lock import run_lock
from ernie_tiny.training.tasks import task_specs

RUN = Path(study.__file__)
CONFIGS = RUN.parents[3] / "configs"
# Stands for tools/train.py, evaluate.py and export.py: notes the call, and ends as a file in the data root says.
TOOL = """
import json, pathlib, sys, time
root = pathlib.Path(__file__).parent
name = pathlib.Path(sys.argv[0]).stem
if name == "train":
    given = dict(item.split("=", 1) for item in sys.argv[4:])
    folder = pathlib.Path(json.loads(given["output_dir"]))
    done = folder / "results.json"
else:
    folder = pathlib.Path(sys.argv[sys.argv.index("--run") + 1])
    done = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
    done = done / ("evaluation.json" if name == "evaluate" else "config.json")
with (root / "calls").open("a") as calls:
    calls.write(name + " " + folder.relative_to(root / "out").as_posix() + "\\n")
if (root / "wait").exists():
    time.sleep(60)
if (root / ("fail " + name + " " + folder.name)).exists():
    sys.exit(2)
done.parent.mkdir(parents=True, exist_ok=True)
done.write_text((root / "results.json").read_text())
"""


def results_of(**scores: float) -> str:
    """Results of a run, each role's average as given."""
    models = [
        ModelResult(role.replace("_", "-"), "any@stage", 10, 5, main={"tnews": score}) for role, score in scores.items()
    ]
    return to_json(to_record(Results("made", models, {}, {}, {}, {}, {}, [])))


RATED = results_of(**{"teacher": 50.0, **{f"{start}_{rate}": 40.0 for start in STARTS for rate in STUDENT_RATES}})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with tools that train nothing; summarising is left out."""
    for name in ("train", "evaluate", "export"):
        (tmp_path / f"{name}.py").write_text(TOOL)
    (tmp_path / "results.json").write_text(RATED)
    monkeypatch.setattr(study, "TOOLS", tmp_path)
    monkeypatch.setattr(study, "summarise", lambda args: None)
    return tmp_path


def arguments(root: Path, *more: str) -> list[str]:
    return ["--data", str(root), "--teacher", "a-teacher", "--output", str(root / "out"), *more]


def calls(root: Path) -> list[str]:
    return (root / "calls").read_text().splitlines()


def calls_of(part: Part) -> list[str]:
    return [
        f"train {part.name}",
        *[f"evaluate {part.name}"] * bool(part.few),
        *[f"export {part.name}"] * bool(part.exported),
    ]


def write_results(folder: Path, text: str = RATED) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(text)


def load_all(output: Path) -> dict[str, Any]:
    """Every part's config as the queue gives it to tools/train.py, in order, each base's config in its folder."""
    for part in (*grid(), next(part for part in queue() if part.name == RATES)):
        write_results(output / part.name)
    args = study.parse_args(["--data", "no-data", "--teacher", "a-teacher", "--output", str(output)])
    runs = {}
    for part in queue():
        run = runs[part.name] = load_config(part.file, study.overrides(args, part))
        task_specs(run)
        folder = output / part.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(to_yaml(run), encoding="utf-8")
    return runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return load_all(tmp_path_factory.mktemp("study"))


def test_the_configs_go_on_from_each_other_and_train_every_arm(runs: Mapping[str, Any]) -> None:
    for arm in ARMS.values():
        for seed in arm.seeds:
            run = runs[arm.run.format(seed=seed)]
            assert arm.reference in run.report.models.values()
    for name in ("scratch", "mitkd", "unenhanced"):
        run = runs[f"seed=1/{name}"]
        judged = {task for group in GROUPS.values() for task in group}
        assert judged == set(run.stage("finetune").data.tasks) == {*run.report.tasks, *FEW_CLUE}


def test_each_arm_learns_from_the_teacher_that_it_is_named_after(runs: Mapping[str, Any]) -> None:
    assert runs["seed=2/mitkd"].stage("distil").teacher == "teacher@enhance"
    assert runs["seed=2/unenhanced"].stage("distil").teacher == "teacher"
    assert runs["seed=2/scratch"].stage("finetune").train == "student"
    assert runs["seed=2/without-ged"].stage("TAD").train == "student@GD"
    assert runs["seed=2/without-gd"].stage("GED").train == "student"
    assert runs["seed=2/four-stages"].stage("TSD-without-TAD").train == "student@GED"
    assert runs["seed=2/task-alone"].stage("TSD").train == "student"
    assert runs["seed=2/combined"].stage("TAD").train == "student@distil"
    assert {run.seed for name, run in runs.items() if name.startswith("seed=2/")} == {2}
    assert "afqmc" not in runs[TEACHERS].stage("enhance").data.tasks


def test_the_shown_student_overrides_nothing_but_teacher_steps_batches_and_tasks(runs: Mapping[str, Any]) -> None:
    base = load_config(CONFIGS / "mitkd/nano.yaml")
    changed = differences(*(yaml.safe_load(to_yaml(run)) for run in (base, runs[NANO])))
    free = ("max_steps", "epochs", "batch_size", "max_tokens", "name", "output_dir", "root")
    others = [
        change.key
        for change in changed
        if change.key.rpartition(".")[2] not in free
        and not change.key.startswith(("models.teacher", "runtime", "export"))
    ]
    settings = [each for each in others if ".task_settings." in each]
    assert [each for each in others if each not in settings] == [
        f"stages.{name}.data.tasks" for name in ("enhance", "finetune", "scratch")
    ]
    for name in ("finetune", "scratch"):
        for one in runs[NANO].stage(name).task_settings.values():
            assert {key for key, value in vars(one).items() if value is not None} == {"batch_size"}
    missing = set(base.stage("enhance").data.tasks) - set(runs[NANO].stage("enhance").data.tasks)
    assert missing == {"cmnli", "chid"}


def test_what_is_finished_is_not_run_again(root: Path) -> None:
    assert study.main(arguments(root)) == 0
    expected = [call for part in queue() for call in calls_of(part)]
    assert calls(root) == expected
    (root / "out" / "seed=2" / "mitkd" / "few" / "evaluation.json").unlink()
    assert study.main(arguments(root)) == 0
    assert calls(root)[len(expected) :] == ["evaluate seed=2/mitkd"]


def test_two_queues_do_not_work_in_one_folder(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run_lock(root / "out"):
        assert study.main(arguments(root)) == 2
    assert str(os.getpid()) in capsys.readouterr().err and not (root / "calls").exists()


def test_only_what_is_asked_for_is_run(root: Path) -> None:
    assert study.main(arguments(root, "--only", "grid/*")) == 0
    assert calls(root) == [f"train {part.name}" for part in grid()]


def test_nothing_that_needs_a_failed_run_is_begun(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "fail train gd").touch()
    assert study.main(arguments(root, "--only", "grid/*", TEACHERS, RATES, "seed=1/*")) == 1
    said = capsys.readouterr().err
    begun = calls(root)
    for name in ("gd", "four-stages", "without-ged"):
        assert f"seed=1/{name} failed" in said
    assert "train seed=1/gd" in begun and "train seed=1/four-stages" not in begun
    assert "train seed=1/without-gd" in begun


def test_no_student_is_trained_before_the_rates_are_known(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.main(arguments(root, "--only", TEACHERS)) == 2
    assert "grid: is not finished" in capsys.readouterr().err


def test_the_rates_with_the_best_scores_win(tmp_path: Path) -> None:
    for part, score in zip(grid(), (50.0, 56.0, 56.0)):
        write_results(tmp_path / part.name, results_of(teacher=score))
    scores = dict(
        zip((f"{start}_{rate}" for start in STARTS for rate in STUDENT_RATES), (1.0, 2.0, 3.0, 9.0, 8.0, 7.0))
    )
    write_results(tmp_path / RATES, results_of(**scores))
    assert best_rate(tmp_path, "teacher") == TEACHER_RATES[1]
    assert best_rate(tmp_path, "scratch") == STUDENT_RATES[2]
    assert best_rate(tmp_path, "distilled") == STUDENT_RATES[0]
    assert rates(tmp_path)["teacher"] == dict(zip(TEACHER_RATES, (50.0, 56.0, 56.0)))
    args = study.parse_args(["--data", "d", "--teacher", "t", "--output", str(tmp_path)])
    teachers = next(part for part in queue() if part.name == TEACHERS)
    assert f"stages.enhance.optim.learning_rate={TEACHER_RATES[1]}" in study.overrides(args, teachers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_queue_and_its_run(root: Path, number: signal.Signals) -> None:
    (root / "wait").touch()
    program = f"""
import sys
from pathlib import Path
from benchmarks.quality.real_teacher import run
run.TOOLS = Path({str(root)!r})
sys.exit(run.main(sys.argv[1:]))
"""
    environment = {**os.environ, "PYTHONPATH": str(RUN.parents[3])}
    command: list[Any] = [sys.executable, "-c", program, *arguments(root)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as queue_process:
        deadline = time.monotonic() + 60
        while not (root / "calls").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        queue_process.send_signal(number)
        assert queue_process.wait(30) == 128 + number
    assert calls(root) == [f"train {grid()[0].name}"]
    assert study.state(grid()[0], root / "out") == "begun"


def test_tokenised_text_is_shared(tmp_path: Path) -> None:
    (tmp_path / "rates/corpora/general").mkdir(parents=True)
    (tmp_path / "rates/corpora/general/tokens.bin").write_bytes(b"text")
    study.share_text(tmp_path / "rates/corpora", tmp_path / "gd/corpora")
    shared = tmp_path / "gd/corpora/general/tokens.bin"
    assert shared.read_bytes() == b"text" and shared.stat().st_nlink == 2
    study.share_text(tmp_path / "rates/corpora", tmp_path / "gd/corpora")  # is there: stays
    study.share_text(tmp_path / "none/corpora", tmp_path / "other/corpora")
    assert not (tmp_path / "other").exists()


def test_a_shortened_run_has_a_share_of_every_stage(tmp_path: Path) -> None:
    args = study.parse_args(["--data", "d", "--teacher", "t", "--output", str(tmp_path), "--part", "0.01"])
    run = load_config(grid()[0].file, study.overrides(args, grid()[0]))
    assert run.stage("rate").optim.epochs == pytest.approx(0.02)
    assert run.report.examples == study.SMOKE_EXAMPLES


def test_the_list_has_the_work_that_a_shortened_run_foretells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ({"sentence": f"新闻{number}", "label": "100"} for number in range(640))
    for split in ("train", "dev"):
        file = tmp_path / f"clue/tnews_public/{split}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(to_json(row) + "\n" for row in rows if split == "train"), encoding="utf-8")
    stage = StageResult("rate", None, "teacher", 2, 400, 36.0, 1, None, {}, flops=1.0e9)
    made = Results("made", [], {}, {}, {}, {}, {}, [stage])
    write_results(tmp_path / "smoke" / grid()[0].name, to_json(to_record(made)))
    smoke = ["--list", "--smoke", str(tmp_path / "smoke"), "--only", "grid/*"]
    assert study.main(arguments(tmp_path, *smoke)) == 0
    first, second, _, total = capsys.readouterr().out.splitlines()
    # 640 rows twice in batches of 32 are 40 steps, twenty times what was run
    work = "40 steps 0.01 M tokens 2.00e+10 FLOPs 0.20 h"
    assert " ".join(first.split()) == f"waiting {grid()[0].name} {work}"
    assert second.split() == ["waiting", grid()[1].name]
    assert total.startswith("all that was measured: 0.2 h")


# ---- claims and page, from numbers made by hand


def made_arm(*scores: Mapping[str, float], layers: int = 4_800_000) -> dict[str, Any]:
    """An arm with these scores by seed."""
    cost = {"hours": 1.0, "parameters": 16_000_000, "layers": layers, "megabytes": 60.0, "latency": 4.0}
    return {"what": "made", "seeds": {seed: {"scores": dict(each), **cost} for seed, each in zip(SEEDS, scores)}}


def everywhere(value: float) -> dict[str, float]:
    return {task: value for group in GROUPS.values() for task in group}


def made_study(**arms: dict[str, Any]) -> dict[str, Any]:
    tasks = everywhere(0.0)
    return {
        "arms": {letter: {"what": arm.what, "seeds": {}} for letter, arm in ARMS.items()} | arms,
        "majority": dict.fromkeys(tasks, 20.0),
        "examples": dict.fromkeys(tasks, 1000),
        "groups": GROUPS,
        "intervals": {},
        "rates": {},
        "exports": [],
        "int8": {},
    }


def verdict(made: Mapping[str, Any], start: str) -> str:
    return next(claim.verdict for claim in claims(made) if claim.text.startswith(start))


def numbers(made: Mapping[str, Any], start: str) -> str:
    return next(claim.numbers for claim in claims(made) if claim.text.startswith(start))


def test_without_numbers_nothing_is_claimed() -> None:
    assert {claim.verdict for claim in claims(made_study())} == {NOT_RUN}
    assert {claim.number for claim in claims(made_study())} == {1, 2, 3, 4, 5}


def test_an_order_holds_for_every_seed_or_not_at_all() -> None:
    made = made_study(
        c=made_arm(*map(everywhere, (40.0, 41.0, 42.0))),
        d=made_arm(*map(everywhere, (41.0, 43.0, 43.0))),
        b=made_arm(*map(everywhere, (39.0, 42.0, 30.0))),
    )
    assert verdict(made, "d > c, out-of-domain") == HOLDS
    assert numbers(made, "d > c, out-of-domain") == "+1.33 ± 0.58 (+1.00, +2.00, +1.00)"
    assert verdict(made, "c > b, few labels") == DOES_NOT  # the second seed is a point below
    made["arms"]["d"] = made_arm(everywhere(41.0))
    assert verdict(made, "d > c, few labels") == f"{HOLDS} so far, 1 of 3 seeds"


def test_draws_and_sizes_of_a_task_count_once() -> None:
    few = {task: 60.0 if task.startswith("bustm") else 30.0 for task in GROUPS["few labels"]}
    made = made_study(c=made_arm({**everywhere(30.0)}), d=made_arm({**everywhere(30.0), **few}))
    assert numbers(made, "d > c, few labels") == "+5.00 (+5.00)"  # 30 points on one of six tasks


def test_a_task_that_no_student_learns_is_left_out() -> None:
    weak = {**everywhere(40.0), "afqmc": 69.0}
    made = made_study(b=made_arm(weak), c=made_arm(weak), d=made_arm({**weak, "afqmc": 70.0}))
    made["majority"]["afqmc"] = 69.0  # two standard errors of 1,000 examples are 2.9
    assert "afqmc" not in tasks_of(made, "out-of-domain")
    made["arms"]["d"]["seeds"]["1"]["scores"]["afqmc"] = 72.0
    assert "afqmc" in tasks_of(made, "out-of-domain")


def test_the_best_student_is_held_against_the_teacher_of_the_same_rows() -> None:
    students = {
        "e": made_arm(*map(everywhere, (49.0, 49.0, 49.3))),
        "k": made_arm(*map(everywhere, (48.0, 50.0, 48.5))),
    }
    made = made_study(a=made_arm(everywhere(50.0)), **students)
    text = "the best 4L312H arm"
    assert verdict(made, text) == HOLDS and numbers(made, text).startswith("e: 98.20 ± 0.35 % of 50.00")
    made["arms"]["a"] = made_arm(everywhere(51.0))
    assert verdict(made, text) == DOES_NOT
    assert verdict(made_study(e=students["e"]), text) == NOT_RUN


def test_one_teacher_stands_beside_every_seed_of_a_bilstm() -> None:
    made = made_study(a=made_arm(everywhere(50.0)), j=made_arm(*map(everywhere, (49.0, 48.0, 51.0))))
    assert common_seeds(made, "a", "j") == list(SEEDS)
    assert numbers(made, "a > j, in-domain") == "+0.67 ± 1.53 (+1.00, +2.00, -1.00)"
    assert verdict(made, "a > j, in-domain") == DOES_NOT


def test_the_shown_student_is_held_against_its_teacher_and_the_published_ones() -> None:
    student = {**everywhere(50.0), "tnews": 54.6, "ocnli": 69.0}
    teacher = {**everywhere(50.0), "tnews": 55.0, "ocnli": 70.3}
    made = made_study(**{"s": made_arm(student), "s+": made_arm(teacher)})
    assert verdict(made, "the shown student keeps") == HOLDS  # 99.27 and 98.15 %
    assert verdict(made, "the shown student in INT8") == NOT_RUN
    made["int8"] = {"tnews": 53.4, "ocnli": 68.2}  # 97.09 and 97.01 %
    assert verdict(made, "the shown student in INT8") == HOLDS
    made["int8"] = {"tnews": 53.4, "ocnli": 68.1}  # 96.87 %
    assert verdict(made, "the shown student in INT8") == DOES_NOT
    assert verdict(made, "the shown student has at least 54.5 on TNEWS") == HOLDS
    assert verdict(made, "the shown student is above 68.73 on OCNLI") == HOLDS
    assert verdict(made, "the shown student's layers") == HOLDS
    made["arms"]["s"] = made_arm({**student, "ocnli": 68.7}, layers=5_100_000)
    assert verdict(made, "the shown student keeps") == DOES_NOT  # 97.7 % of OCNLI
    assert verdict(made, "the shown student is above 68.73 on OCNLI") == DOES_NOT
    assert verdict(made, "the shown student's layers") == DOES_NOT
    made["arms"]["s+"] = made_arm({**teacher, "ocnli": 70.1})  # then nothing is asked of OCNLI but the 98 %
    assert not [claim for claim in claims(made) if "68.73" in claim.text]
    assert verdict(made, "nano.yaml") == DOES_NOT
    made["exports"] = ["Paddle Inference", "Hugging Face"]
    assert verdict(made, "nano.yaml") == HOLDS


def test_the_page_and_the_picture_of_some_results_and_of_none(tmp_path: Path) -> None:
    made = made_study(c=made_arm(everywhere(40.0)), d=made_arm(everywhere(41.0), everywhere(43.0)))
    made["intervals"]["d > c, out-of-domain"] = (0.25, 1.75)
    text = page(made)
    assert "| d > c, out-of-domain | +1.00 (+1.00) | +0.25 to +1.75 | holds so far, 1 of 3 seeds |" in text
    assert "| d | made | 42.00 ± 1.41 |" in text
    assert "| e | the four stages | not yet run |" in text
    draw(made, tmp_path / "some.svg")
    assert "<svg" in (tmp_path / "some.svg").read_text(encoding="utf-8")
    assert "not yet run" in page(made_study())


def write_data(root: Path) -> None:
    """The dev sets of the out-of-domain group, labels by turns: 40 rows of AFQMC, and the tenth of 400 reviews."""
    afqmc = root / "clue/afqmc_public/dev.json"
    afqmc.parent.mkdir(parents=True)
    rows = ({"sentence1": f"问{number}", "sentence2": "答", "label": str(number % 2)} for number in range(40))
    afqmc.write_text("".join(to_json(row) + "\n" for row in rows), encoding="utf-8")
    reviews = root / "shopping_10/online_shopping_10_cats.csv"
    reviews.parent.mkdir()
    lines = (f"{'书籍' if number % 2 else '酒店'},{number % 2},评价{number}\n" for number in range(400))
    reviews.write_text("cat,label,review\n" + "".join(lines), encoding="utf-8")


def write_run(folder: Path, data: Path, right: float) -> None:
    """A finished run whose student answers this part of the dev rows rightly; two stages made it, one did not."""
    run = load_config(folder / "config.yaml")
    model = ModelResult("student", "student@finetune", 16_000_000, 11_000_000, megabytes=60.0)
    for task in GROUPS["out-of-domain"]:
        spec = task_specs(run)[task]
        examples = read_split(spec, data, "dev").examples
        count = round(right * len(examples))
        answers = [
            {"id": example.id, "answer": spec.labels[example.label if place < count else 1 - example.label % 2]}
            for place, example in enumerate(examples)
        ]
        model.main[task] = 100 * count / len(examples)
        predictions = folder / "predictions/student" / f"{task}.jsonl"
        predictions.parent.mkdir(parents=True, exist_ok=True)
        predictions.write_text("".join(to_json(answer) + "\n" for answer in answers), encoding="utf-8")
    stages = [
        StageResult(name, task, "student", 1, 1, 3600.0, 1, None, {})
        for name, task in (("enhance", None), ("distil", None), ("finetune", "tnews"), ("finetune", "afqmc"))
    ]
    examples_of = {task: len(read_split(task_specs(run)[task], data, "dev").examples) for task in model.main}
    majority = dict.fromkeys(model.main, 20.0)
    write_results(folder, to_json(to_record(Results("made", [model], majority, {}, examples_of, {}, {}, stages))))


def test_gathering_reads_scores_costs_and_intervals_from_the_runs(tmp_path: Path) -> None:
    output = tmp_path / "out"
    load_all(output)
    for file in output.rglob("results.json"):
        file.unlink()
    write_data(tmp_path)
    write_run(output / "seed=1/mitkd", tmp_path, 0.9)
    write_run(output / "seed=1/unenhanced", tmp_path, 0.5)
    found = gather(output, tmp_path)
    mitkd = found["arms"]["d"]["seeds"]["1"]
    assert mitkd["scores"]["afqmc"] == pytest.approx(90.0)
    assert mitkd["hours"] == 2.0  # distil and finetune of an in-domain task, neither teacher nor AFQMC
    assert mitkd["layers"] == 5_000_000
    assert not found["arms"]["e"]["seeds"] and list(found["intervals"]) == ["d > c, out-of-domain"]
    low, high = found["intervals"]["d > c, out-of-domain"]
    gain = 40.0  # every row that c knows d knows; a standard error of some 4.5 over three tasks of 40 rows
    assert gain - 15 < low < gain - 5 and gain + 5 < high < gain + 15
    assert verdict({**found, "rates": {}}, "d > c, out-of-domain") == f"{HOLDS} so far, 1 of 3 seeds"
