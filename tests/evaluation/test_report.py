from __future__ import annotations

import html
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from ernie_tiny.evaluation.charts import CURVE_POINTS
from ernie_tiny.evaluation.report import TERMINAL_WIDTH, _width, html_page, markdown_table, text_table
from ernie_tiny.evaluation.results import ModelResult, summarise

CHROMIUM = shutil.which("chromium")
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
        speed={"p50": p50, "p95": p95, "throughput": throughput, "length": 64, "batch_size": 32, "threads": 1},
    )


def stage(name: str, task: str | None = None) -> dict:
    costs = {"steps": 1500, "tokens": 12_000_000, "seconds": 600.0, "parameters": 17_970_000, "best_dev": None}
    return {"stage": name, "task": task, "trained": "student", **costs, "objective": {"relation": {"weight": 1.0}}}


def make(roles: tuple[str, ...] = ROLES, name: str = "mini", tasks: tuple[str, str] = ("tnews", "ocnli")) -> dict:
    return summarise(
        name,
        [model(role, tasks) for role in roles],
        majority=dict(zip(tasks, (11.0, 36.0))),
        metrics=dict.fromkeys(tasks, "accuracy"),
        examples=dict.fromkeys(tasks, 2950),
        agreement=dict(zip(tasks, (81.5, 84.5))) if {"teacher", "student"} <= set(roles) else {},
        exports={tasks[0]: {"folder": "output/mini/export/tnews", "static": 0.0, "inference": 4.8e-7}},
        stages=[stage("distil"), stage("finetune", tasks[0])],
    )


def log(step: int, stage: str = "distil", **terms: float) -> dict:
    return {"event": "log", "stage": stage, "step": step, "loss": 1.0, **{f"raw/{k}": v for k, v in terms.items()}}


def row(table: str, name: str) -> list[list[str]]:
    """The cells of the lines that a name begins, the name left out."""
    return [line[len(name) :].split() for line in table.splitlines() if re.match(re.escape(name) + r"  ", line)]


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


def curves(page: str) -> list[list[str]]:
    """The points of each curve of a page."""
    paths = [item["d"] for item in Page(page).all("path") if item["class"].startswith("curve")]
    return [re.findall(r"[ML][\d.]+ [\d.]+", path) for path in paths]


def test_text_table_has_the_numbers_of_every_model():
    table = text_table(make())
    assert row(table, "most frequent label") == [["11.00", "36.00", "23.50"]]
    assert row(table, "teacher") == [
        ["60.00", "80.00", "70.00"],
        ["117.9", "85.40", "472.0", "21.00", "24.50", "1.0x", "1,234"],
    ]
    assert row(table, "student")[1] == ["18.0", "4.77", "59.0", "5.00", "6.25", "4.2x", "5,000"]
    assert row(table, "student, no distillation")[0] == ["50.00", "73.00", "61.50"]
    assert row(table, "quality kept, %") == [["90.00", "95.00", "92.86"]]
    assert row(table, "gain by distillation") == [["+4.00", "+3.00", "+3.50"]]
    assert row(table, "agreement with teacher, %") == [["81.50", "84.50", "83.00"]]
    for text in ("64 tokens", "batches of 32", "threads: 1", "tnews 2,950", "student@end", "4.8e-07"):
        assert text in table


def test_verdict_is_one_sentence_in_words():
    sentence = "keeps 92.9 % of its teacher's average at 4.2 times the speed and 12 % of the size; +3.5 points over the"
    assert sentence in " ".join(text_table(make()).split())
    assert f"The student {sentence} same student without".replace("'", "&#x27;") in html_page(make(), [])


def test_verdict_says_below_when_distillation_made_the_student_worse():
    results = make()
    results["gain"]["average"], results["quality_kept"]["average"] = -1.26, 103.0
    text = " ".join(text_table(results).split())
    assert "reaches 103.0 %" in text and "1.3 points below the same student" in text


@pytest.mark.parametrize("roles", [("teacher", "student"), ("student", "baseline"), ("student",), ("teacher",), ()])
def test_a_model_that_is_missing_is_left_out(roles):
    results = make(roles)
    text, page = text_table(results), Page(html_page(results, [log(1, hard=1.0)]))
    assert [role for role in ROLES if f"{role}@end" in text] == list(roles)
    assert len([item for item in page.all("circle") if item["class"] in ROLES]) == len(roles)
    assert bool(row(text, "quality kept, %")) == ({"teacher", "student"} <= set(roles))
    assert bool(row(text, "gain by distillation")) == ({"student", "baseline"} <= set(roles))
    assert ("speed vs" in text) == ("teacher" in roles)
    assert "nan" not in text + page.text


def test_what_is_not_a_number_is_a_dash():
    results = make()
    results["models"][1]["main"]["tnews"] = results["models"][1]["average"] = math.nan
    results["models"][2]["speed"] = results["models"][2]["megabytes"] = None
    table = text_table(results)
    assert row(table, "student")[0] == ["-", "76.00", "-"]
    assert row(table, "student, no distillation")[1][2:] == ["-", "-", "-", "-", "-"]
    page = Page(html_page(results, []))
    assert "nan" not in page.text and "None" not in page.text


def test_columns_without_any_value_are_left_out():
    results = make()
    for item in results["models"]:
        item["speed"] = item["megabytes"] = None
    assert "p50" not in text_table(results) and "on disk" not in text_table(results)
    assert "best at the top left" not in html_page(results, [])


def test_text_table_is_aligned_with_wide_characters_and_fits():
    names = ("新闻分类", "nli")
    lines = text_table(make(tasks=names)).splitlines()
    top = next(line for line in lines if names[0] in line)
    bottom = lines[lines.index(top) + 1]
    # Both are eight columns wide, and only ASCII stands before them.
    assert top.index(names[0]) == bottom.index("accuracy")
    many = make(tasks=names)
    for index in range(20):
        many["metrics"][f"task{index}"] = "accuracy"
    assert max(map(_width, text_table(many).splitlines())) <= TERMINAL_WIDTH


def test_markdown_table_has_as_many_cells_in_every_row():
    lines = markdown_table(make(tasks=("a|b", "ocnli"))).splitlines()
    assert lines[1].startswith("| --- | ---: |")
    assert "a\\|b accuracy" in lines[0]
    assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "| student | 54.00 | 76.00 | 65.00 | 18.0 | 4.77 | 59.0 | 5.00 | 6.25 | 4.2x | 5,000 |" in lines


def test_page_is_balanced_and_asks_for_nothing():
    text = html_page(make(), [log(step, relation=1.0 / step, hard=2.0) for step in range(1, 9)])
    page = Page(text)
    assert "http" not in text and "src=" not in text and "url(" not in text
    assert page.all("script") == [] and page.all("link") == []
    for number in ("92.86", "117.9", "4.2x", "+3.50", "1,500", "20,000", "4.8e-07", "finetune/tnews"):
        assert number in page.text
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    # Two tasks, one scatter plot and one stage; each drawing begins with its title.
    assert len(page.all("svg")) == len(re.findall(r"<svg [^>]*><title>[^<]+</title>", text)) == 4


def test_everything_from_outside_is_escaped():
    attack = '<script>alert("1")</script>$title'
    results = make(name=attack, tasks=(attack, "ocnli"))
    results["models"][0]["reference"] = results["exports"][attack]["folder"] = attack
    results["stages"][0].update(stage=attack, trained=attack, objective={attack: {}})
    page = Page(html_page(results, [log(1, stage=attack, **{attack: 1.0})]))
    assert page.all("script") == []
    assert page.text.count(attack) >= 8


def test_the_later_of_two_logs_of_one_step_counts():
    events = [log(10, hard=9.0), log(20, hard=5.0), log(20, hard=7.0), {"event": "stage_end", "stage": "distil"}]
    page = html_page(make(), events)
    assert "hard 7" in page and "hard 5" not in page
    assert [len(curve) for curve in curves(page)] == [2]


def test_each_stage_has_a_chart_with_its_terms():
    events = [log(1, "distil", relation=2.0), log(1, "finetune/tnews", hard=1.0, soft=0.5)]
    charts = re.findall(r"<figcaption>([^ ]+) .*?<title>Losses of (.*?):", html_page(make(), events))
    assert charts == [("distil", "distil"), ("finetune/tnews", "finetune/tnews")]
    assert len(curves(html_page(make(), events))) == 3


def test_long_curves_are_thinned_and_keep_their_ends():
    events = [log(step, hard=float(step)) for step in range(1, 1001)]
    (points,) = curves(html_page(make(), events))
    (whole,) = curves(html_page(make(), [events[0], events[-1]]))
    assert len(points) == CURVE_POINTS
    assert [point[1:] for point in (points[0], points[-1])] == [point[1:] for point in whole]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_curve_breaks_where_the_loss_is_not_finite(loss):
    page = html_page(make(), [log(step, hard=loss if step == 3 else 1.0 / step) for step in range(1, 6)])
    (points,) = curves(page)
    assert "".join(point[0] for point in points) == "MLML"
    assert "1 of 5 are not finite" in page
    assert curves(html_page(make(), [log(1, hard=loss)])) == [[]]


@pytest.mark.parametrize("values", [(0.0, 0.0), (3.0, 3.0), (1e-6, 1e5), (-2.0, 1.0), (0.02, 0.7), (1e5, 1e6)])
def test_a_curve_stays_in_its_chart_beside_readable_axes(values):
    page = html_page(make(()), [log(step + 1, hard=value) for step, value in enumerate(values)])
    (points,) = curves(page)
    assert all(8 <= float(point.split()[1]) <= 160 for point in points)
    labels = [item for item in Page(page).all("text") if item["text-anchor"] == "end" and item["x"] == "38.0"]
    assert 2 <= len(labels) <= 6


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [400, 1400])
def test_page_is_not_wider_than_its_window(width, tmp_path):
    results = make(name="a-name-without-any-space-" * 8)
    for index in range(9):
        results["metrics"][f"task{index}"] = "accuracy"
    results["exports"]["tnews"]["folder"] = "/very" * 60
    events = [log(step, **{f"term{index}": 1.0 + index for index in range(7)}) for step in (1, 1_000_000)]
    probe = "<script>parent.document.title = document.documentElement.scrollWidth + ' of ' + innerWidth</script></body>"
    page = html.escape(html_page(results, events).replace("</body>", probe))
    file = tmp_path / "window.html"  # in a frame, since Chromium's own window is at least 500 pixels wide
    file.write_text(f'<iframe style="width: {width}px; border: 0" srcdoc="{page}"></iframe>', encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --dump-dom --window-size=1600,1000"
    )
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>(\d+) of (\d+)</title>", done.stdout)
    assert found is not None and int(found[2]) == width
    assert int(found[1]) <= width
