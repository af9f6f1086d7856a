"""Results of runs that were never made, and a page taken apart."""

from __future__ import annotations

from html.parser import HTMLParser

from ernie_tiny.report.page import report_page
from ernie_tiny.report.results import ModelResult, Results, Speed, compare, to_stages
from ernie_tiny.report.runs import Run

VOID = {"meta", "br"}
ROLES = ("teacher", "student", "baseline")
SCORES = {"teacher": (60.0, 80.0), "student": (54.0, 76.0), "baseline": (50.0, 73.0)}


def model(role: str, tasks: tuple[str, ...]) -> ModelResult:
    teacher = role == "teacher"
    p50, p95, throughput = (21.0, 24.5, 1234.0) if teacher else (5.0, 6.25, 5000.0)
    return ModelResult(
        role,
        f"{role}@end",
        parameters=117_900_000 if teacher else 17_970_000,
        embedding_parameters=32_500_000 if teacher else 13_200_000,
        main=dict(zip(tasks, SCORES[role])),
        megabytes=472.0 if teacher else 59.0,
        speed=Speed(p50, p95, throughput, length=64, batch_size=32, threads=1),
    )


def stage(name: str, task: str | None = None) -> dict:
    costs = {"steps": 1500, "tokens": 12_000_000, "seconds": 600.0, "parameters": 17_970_000, "best_dev": None}
    return {"stage": name, "task": task, "trained": "student", **costs, "objective": {"relation": {"weight": 1.0}}}


def make(roles: tuple[str, ...] = ROLES, name: str = "mini", tasks: tuple[str, str] = ("tnews", "ocnli")) -> Results:
    results = Results(
        name,
        [model(role, tasks) for role in roles],
        majority=dict(zip(tasks, (11.0, 36.0))),
        metrics=dict.fromkeys(tasks, "accuracy"),
        examples=dict.fromkeys(tasks, 2950),
        agreement=dict(zip(tasks, (81.5, 84.5))) if {"teacher", "student"} <= set(roles) else {},
        exports={tasks[0]: {"folder": "output/mini/export/tnews", "static": 0.0, "inference": 4.8e-7}},
        stages=to_stages([stage("distil"), stage("finetune", tasks[0])]),
    )
    return compare(results)


def html_page(runs: list[Run]) -> str:
    return report_page(runs).html()


def page_of(results: Results, events: list[dict]) -> str:
    return html_page([Run(results, events)])


def markdown_page(runs: list[Run]) -> str:
    return report_page(runs).markdown()


def log(step: int, stage: str = "distil", **terms: float) -> dict:
    return {"event": "log", "stage": stage, "step": step, "loss": 1.0, **{f"raw/{k}": v for k, v in terms.items()}}


class Page(HTMLParser):
    """Fails on tags that do not match; keeps the text, and the attributes of each tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]
