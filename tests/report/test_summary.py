"""One run's results as a table for a terminal, as Markdown and as a page."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from ernie_tiny.report.summary import markdown_tables, text_table
from ernie_tiny.report.tables import TERMINAL_WIDTH
from tests.report.made_results import ROLES, Page, log, make, page_of

ROOT = Path(__file__).resolve().parents[2]


def row(table: str, name: str) -> list[list[str]]:
    """The cells of the lines that a name begins, the name left out."""
    return [line[len(name) :].split() for line in table.splitlines() if re.match(re.escape(name) + r"  ", line)]


def classes(page: str, first: str) -> list[str]:
    """The classes of the drawn things of one sort: of points those of models."""
    return [css for css in re.findall(r'<g class="([^"]+)">', page) if css.split()[0] == first]


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


def test_a_task_without_a_most_frequent_label_has_none_and_then_there_is_no_average():
    results = make(tasks=("tnews", "ner"))
    del results.majority["ner"]
    assert row(text_table(results), "most frequent label") == [["11.00", "-", "-"]]
    assert "most frequent label -" not in page_of(results, [])


def test_verdict_is_one_sentence_in_words():
    sentence = "keeps 92.9 % of its teacher's average at 4.2 times the speed and 12 % of the size; +3.5 points over the"
    assert sentence in " ".join(text_table(make()).split())
    assert f"The student {sentence} same student without".replace("'", "&#39;") in page_of(make(), [])


def test_verdict_says_below_when_distillation_made_the_student_worse():
    results = make()
    results.gain["average"], results.quality_kept["average"] = -1.26, 103.0
    text = " ".join(text_table(results).split())
    assert "reaches 103.0 %" in text and "1.3 points below the same student" in text


@pytest.mark.parametrize("roles", [("teacher", "student"), ("student", "baseline"), ("student",), ("teacher",), ()])
def test_a_model_that_is_missing_is_left_out(roles):
    results = make(roles)
    text, page = text_table(results), Page(page_of(results, [log(1, hard=1.0)]))
    assert [role for role in ROLES if f"{role}@end" in text] == list(roles)
    points = [css.split()[1] for css in classes(page_of(results, []), "point")]
    assert sorted(points) == sorted(2 * roles)  # over latency and over parameters
    assert bool(row(text, "quality kept, %")) == ({"teacher", "student"} <= set(roles))
    assert bool(row(text, "gain by distillation")) == ({"student", "baseline"} <= set(roles))
    assert ("speed vs" in text) == ("teacher" in roles)
    assert "nan" not in text + page.text


def test_what_is_not_a_number_is_a_dash():
    results = make()
    results.models[1].main["tnews"] = math.nan
    results.models[2].speed = results.models[2].megabytes = None
    table = text_table(results)
    assert row(table, "student")[0] == ["-", "76.00", "-"]
    assert row(table, "student, no distillation")[1][2:] == ["-", "-", "-", "-", "-"]
    page = Page(page_of(results, []))
    assert "nan" not in page.text and "None" not in page.text


def test_columns_without_any_value_are_left_out():
    results = make()
    for item in results.models:
        item.speed = item.megabytes = None
    assert "p50" not in text_table(results) and "on disk" not in text_table(results)
    assert "latency p50, ms" not in page_of(results, [])


def test_text_table_is_aligned_with_wide_characters_and_fits():
    names = ("新闻分类", "nli")
    lines = text_table(make(tasks=names)).splitlines()
    top = next(line for line in lines if names[0] in line)
    bottom = lines[lines.index(top) + 1]
    # Both are eight columns wide, and only ASCII stands before them.
    assert top.index(names[0]) == bottom.index("accuracy")
    many = make(tasks=names)
    for index in range(20):
        many.metrics[f"task{index}"] = "accuracy"
    assert max(map(cell_len, text_table(many).splitlines())) <= TERMINAL_WIDTH


def test_markdown_table_has_as_many_cells_in_every_row():
    tables = [table.splitlines() for table in markdown_tables(make(tasks=("a|b", "ocnli"))).split("\n\n")]
    assert "a\\|b accuracy" in tables[0][0]
    for lines in tables:
        assert lines[1].startswith("| --- | ---: |")
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines}) == 1
    lines = [line for table in tables for line in table]
    assert {"| student | 54.00 | 76.00 | 65.00 |", "| student | 18.0 | 4.77 | 59.0 | 5.00 | 6.25 | 4.2x | 5,000 |"} < {
        *lines
    }


def test_page_is_balanced_and_asks_for_nothing():
    text = page_of(make(), [log(step, relation=1.0 / step, hard=2.0) for step in range(1, 9)])
    page = Page(text)
    assert "http" not in text and "src=" not in text and "url(" not in text
    assert page.all("script") == [] and page.all("link") == []
    for number in ("92.86", "117.9", "4.2x", "+3.50", "1,500", "20,000", "4.8e-07", "finetune/tnews"):
        assert number in page.text
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    # Two tasks, two plots of quality over cost and one stage; each drawing begins with its title.
    assert len(page.all("svg")) == len(re.findall(r"<svg [^>]*>\s*<title>[^<]+</title>", text)) == 5


def test_the_same_run_gives_the_same_page_in_another_process() -> None:
    code = (
        "from tests.report.made_results import *\n"
        "print(html_page([Run(make(), [log(step, hard=1 / step) for step in (1, 2)])]), end='')"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout == page_of(make(), [log(step, hard=1 / step) for step in (1, 2)]), done.stderr


def test_everything_from_outside_is_escaped():
    attack = '<script>alert("1")</script>$title'
    results = make(name=attack, tasks=(attack, "ocnli"))
    results.models[0].reference = results.exports[attack]["folder"] = attack
    results.stages[0] = dataclasses.replace(results.stages[0], stage=attack, trained=attack, objective={attack: {}})
    page = Page(page_of(results, [log(1, stage=attack, **{attack: 1.0})]))
    assert page.all("script") == []
    assert page.text.count(attack) >= 8


def test_a_further_model_is_a_row_under_its_title():
    results = make()
    results.models.append(dataclasses.replace(results.models[1], role="<b>distilled twice & thrice"))
    assert row(text_table(results), "<b>distilled twice & thrice")[0] == ["54.00", "76.00", "65.00"]
    page = page_of(results, [])
    assert "<b>" not in page and "&lt;b&gt;distilled twice &amp; thrice" in page
    assert {"class": "other"} in Page(page).all("tr")
