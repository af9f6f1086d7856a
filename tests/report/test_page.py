"""Several runs on one page: means over seeds, different tasks, unfinished runs, published rows, differences."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from ernie_tiny.report.comparison import cost_table
from ernie_tiny.report.published import MARK, published_models
from ernie_tiny.report.results import mean_of, to_stages
from ernie_tiny.report.runs import Run, common_tasks, results_so_far, state_so_far, to_entries
from tests.report.made_results import Page, html_page, log, make, markdown_page, stage

CONFIG: dict[str, Any] = {
    "name": "mini",
    "output_dir": "output/mini",
    "seed": 1,
    "data": {"sample": False},
    "models": {"student": {"shape": "mini"}},
    "stages": [{"name": "distil", "optim": {"learning_rate": 0.1}}, {"name": "finetune", "train": "student@distil"}],
}


def made(
    name: str = "mini", seed: int = 1, by: float = 0.0, tasks: tuple[str, str] = ("tnews", "ocnli"), **keys: Any
) -> Run:
    """A run whose student scores so much more than that of made_results."""
    results = make(name=name, tasks=tasks)
    student = results.models[1]
    student.main = {task: score + by for task, score in student.main.items()}
    config = {**copy.deepcopy(CONFIG), "name": name, "seed": seed, "output_dir": f"output/{name}-{seed}", **keys}
    return Run(results, [log(step, relation=1.0 / step) for step in (1, 2)], config, folder=f"output/{name}-{seed}")


def rows(markdown: str, name: str) -> list[list[str]]:
    """The cells of the rows that a name begins, the name left out."""
    lines = [line for line in markdown.splitlines() if line.startswith(f"| {name} |")]
    return [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines]


def charts(page: str, caption: str) -> list[str]:
    return [figure for figure in re.findall(r"<figure>.*?</figure>", page, re.DOTALL) if caption in figure]


def test_runs_that_differ_in_the_seed_become_means_with_deviations():
    runs = [made(seed=seed, by=by) for seed, by in ((1, -1.0), (2, 0.0), (3, 4.0))]
    (entry,) = to_entries(runs)
    assert entry.title == "mini, 3 seeds" and [mark for mark, _ in entry.marked_runs] == ["1", "2", "3"]
    student = entry.results.models[1]
    assert student.main == {"tnews": pytest.approx(55.0), "ocnli": pytest.approx(77.0)}
    assert student.deviation == pytest.approx({"tnews": 7**0.5, "ocnli": 7**0.5, "average": 7**0.5})
    assert rows(markdown_page(runs), "student")[0][:3] == ["55.00 ± 2.65", "77.00 ± 2.65", "66.00 ± 2.65"]
    page = html_page(runs)
    assert "One standard deviation over the seeds" in page and 'class="spread"' in page
    (chart,) = charts(page, "Losses of distil")
    assert chart.count('class="curve') == 3


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},  # the same run once more
        {"seed": 2, "stages": CONFIG["stages"][:1]},
        {"seed": 2, "tasks": ("tnews", "csl")},
    ],
)
def test_other_runs_stay_apart(other):
    entries = to_entries([made(), made(**other)])
    assert [entry.mark for entry in entries] == ["A", "B"]
    assert not entries[0].results.models[1].deviation


def test_error_bars_are_those_of_results_json_where_there_is_one_run():
    run = made()
    run.results.models[1].intervals = {"tnews": {"accuracy": (50.0, 58.0)}}
    page = html_page([run])
    (tnews,), (ocnli,) = charts(page, "tnews <span>accuracy"), charts(page, "ocnli <span>accuracy")
    found = re.search(r'class="spread">\s*<path d="M ([\d.]+) [\d.]+ L ([\d.]+) ', tnews)
    assert found is not None and [float(end) for end in found.groups()] == [
        195.0,
        210.2,
    ]  # 50 % and 58 % of 190 units from 100
    assert "dasharray" not in tnews.partition('class="spread"')[2].partition("</g>")[0]
    assert "spread" not in ocnli and "bootstrap" in page


def test_every_model_of_every_run_is_a_point_over_latency_and_over_parameters():
    page = html_page([made("a"), made("b", by=2.0, stages=[])])
    drawn = re.findall('<g class="point', page)
    ours = 2 * 3
    assert len(drawn) == 2 * ours + (ours + 6)  # the third plot has the published models, too
    assert page.count("further model") == 0 and page.count(">published elsewhere</text>") == 1


def test_runs_of_different_tasks_share_their_plot_where_a_task_is_common():
    both = [made("a"), made("b", tasks=("tnews", "csl"))]
    assert common_tasks(to_entries(both)) == ["tnews"]
    page = html_page(both)
    assert "differ in their tasks" in page and len(charts(page, "% on average of tnews ")) == 2
    table = rows(markdown_page(both), "A student")[0]
    assert table[:4] == ["54.00", "76.00", "-", "65.00"]
    apart = html_page([made("a"), made("b", tasks=("csl", "afqmc"))])
    assert len(charts(apart, "% on average of")) == 2 * 2  # none has all of the published tasks


def test_runs_that_score_a_task_by_other_metrics_are_not_ranked():
    other = made("b", by=1.0)
    other.results.metrics["tnews"] = "f1"
    page = html_page([made("a"), other])
    assert "differ in their tasks or metrics" in page and "keeps most" not in page


def test_runs_of_equal_scores_are_named_together():
    lower = made("c", stages=CONFIG["stages"][:1])
    for values in (lower.results.quality_kept, lower.results.gain):
        values["average"] -= 1.0
    text = markdown_page([made("a"), made("b", stages=[]), lower])
    assert "Each of A and B keeps most of its teacher's average" in text and "Each of A and B gains most" in text


def test_each_seed_of_an_entry_shows_its_exports():
    runs = [made(seed=seed) for seed in (1, 2)]
    runs[1].results.exports["tnews"]["folder"] = "output/second"
    text = html_page(runs)
    assert "1 Export of tnews: output/mini/export/tnews," in text and "2 Export of tnews: output/second," in text


def test_unfinished_run_shows_what_there_is():
    events = [
        {"event": "train_begin", "stage": "distil", "step": 0, "max_steps": 10, "time": 1.0},
        {"event": "stage_end", "time": 2.0, **stage("distil")},
        {"event": "train_begin", "stage": "finetune/tnews", "step": 0, "max_steps": 1500, "time": 3.0},
        log(20, "finetune/tnews", hard=1.0),
        {"event": "scores", "stage": "finetune/tnews", "step": 20, "tnews": 51.25, "time": 4.0},
    ]
    run = Run(results_so_far("half", events), events, {"name": "half"}, state_so_far(events), "output/half")
    assert run.state == "unfinished: finetune/tnews, step 20 of 1,500, dev 51.2 %"
    page = Page(html_page([run]))
    assert f"This run is {run.state}." in page.text and "1,500" in page.text and "nan" not in page.text
    together = html_page([made(), run])
    assert "B half (unfinished)" in together and "step 20 of 1,500" in together
    assert "keeps most" not in together and "keeps most" in html_page([made(), made("other", by=1.0)])
    assert state_so_far(events[:1]) == "unfinished: distil, step 0 of 10"
    assert state_so_far(events[:2]) == "unfinished: distil is done" and state_so_far([]) == "unfinished: no step yet"


def test_published_rows_stand_beside_ours_on_the_same_tasks_of_real_data():
    text = markdown_page([made()])
    assert rows(text, "student")[2] == ["54.00", "76.00", "65.00"]
    assert rows(text, "Nano-v2 (published)") == [["55.38", "74.54", "64.96"]]
    assert MARK in text and MARK in html_page([made()])
    for run in (made(data={"sample": True}), made(tasks=("chid", "c3")), Run(make())):
        assert "(published)" not in markdown_page([run]) + html_page([run])


def test_no_row_of_other_data_or_of_another_metric_stands_beside_published_ones():
    sample, by_f1, real = made("a", data={"sample": True}), made("b", stages=[]), made("c", by=1.0)
    by_f1.results.metrics["tnews"] = "f1"
    text = markdown_page([sample, by_f1, real])
    assert [len(rows(text, f"{mark} student")) for mark in "ABC"] == [2, 2, 3]  # scores, speed, and beside published
    drawn = charts(html_page([sample, by_f1, real]), "published elsewhere")
    assert [chart.count('<g class="point') for chart in drawn] == [3 + 6]


def test_published_averages_are_those_of_the_source():
    tasks = ("afqmc", "tnews", "iflytek", "cmnli", "ocnli", "cluewsc2020", "csl")
    averages = {model.name: round(mean_of(model.scores, tasks), 2) for model in published_models()}
    assert len(averages) == 11
    assert [averages[name] for name in ("Base-v1", "Base-v2", "Nano-v1", "Nano-v2", "Pico-v2")] == [
        75.38, 75.93, 66.24, 67.77, 57.81,
    ]  # fmt: skip


def test_configs_are_compared_by_dotted_keys():
    stages = [{"name": "distil", "optim": {"learning_rate": 0.2}}]
    text = markdown_page([made("a"), made("b", stages=stages, models={"student": {"shape": "mini", "family": "bert"}})])
    assert rows(text, "stages.distil.optim.learning_rate") == [["0.1", "0.2"]]
    assert rows(text, "models.student.family") == [["-", "bert"]]
    assert rows(text, "stages.finetune") == [["name finetune, train student@distil", "-"]]
    assert "output_dir" not in text and "models.student.shape" not in text


def test_cost_is_by_stage_with_the_tasks_of_one_together():
    run = made()
    run.results.stages.extend(to_stages([{**stage("finetune", "ocnli"), "flops": 2e15, "best_dev": 60.0}]))
    text = markdown_page([run])
    assert rows(text, "finetune, 2 tasks") == [["student", "relation", "3,000", "24.00", "20.0", "20,000", "60.00"]]
    for each in run.results.stages:
        each.flops = 1e15
    assert rows(markdown_page([run]), "finetune, 2 tasks")[0][-2:] == ["2.0e+15", "60.00"]


@pytest.mark.parametrize("best, shown", [((60.0, 70.0), "65.00"), ((60.0, None), "-")], ids=["all", "one lacks it"])
def test_the_best_score_of_a_stage_is_the_mean_over_the_seeds(best, shown):
    runs = [made(seed=seed) for seed in (1, 2)]
    for run, seconds, score in zip(runs, (600.0, 1200.0), best):
        run.results.stages[1].seconds, run.results.stages[1].best_dev = seconds, score
    table = cost_table(to_entries(runs))
    (row,) = (cells for cells in table.groups[0] if cells[0] == "finetune/tnews")
    found = dict(zip(table.header, row))
    assert (found["minutes"], found.get("best dev\n%", "-")) == ("15.0", shown)


def test_many_tasks_of_a_stage_are_folded_away():
    events = [log(1, f"finetune/task{number}", hard=1.0) for number in range(4)] + [log(1, "distil", hard=1.0)]
    page = html_page([Run(make(), events)])
    folded = re.search(r"<details>.*?</details>", page, re.DOTALL)
    assert folded is not None and folded[0].count("<figure>") == 4 and "finetune: 4 tasks" in folded[0]


def test_everything_from_outside_is_escaped_when_runs_are_compared():
    attack = '<script>alert("1")</script>$title'
    runs = [made(attack), made("b", models={attack: {"shape": attack}})]
    page = Page(html_page(runs))
    assert page.all("script") == [] and page.text.count(attack) >= 3
