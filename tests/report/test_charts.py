"""What the charts of a page show: their curves, axes and colours."""

from __future__ import annotations

import math
import re

import pytest

from ernie_tiny.report.charts import CURVE_POINTS
from tests.report.made_results import Page, log, make, page_of


def curves(page: str) -> list[list[str]]:
    """The points of each curve of a page."""
    groups = re.findall(r'<g class="curve">(.*?)</g>', page, re.DOTALL)
    lines = [re.match(r'\s*<path d="([^"]*)"', group) for group in groups]
    return [re.findall(r"[ML] [\d.]+ [\d.]+", line[1]) if line else [] for line in lines]


def test_drawings_take_the_colours_of_the_page_light_or_dark() -> None:
    page = page_of(make(), [log(step, hard=1.0 / step) for step in (1, 2)])
    styles = re.findall(r'style="([^"]*)"', page)
    assert any("stroke: var(--c0)" in style for style in styles) and any(
        "fill: var(--ink)" in style for style in styles
    )
    assert [style for style in styles if "#" in style] == []
    named = {*re.findall(r"var\((--\w+)\)", " ".join(styles))}
    for theme in re.findall(r":root \{([^}]*)\}", page):
        assert named <= {*re.findall(r"--\w+", theme)}


def test_the_later_of_two_logs_of_one_step_counts():
    events = [log(10, hard=9.0), log(20, hard=5.0), log(20, hard=7.0), {"event": "stage_end", "stage": "distil"}]
    page = page_of(make(), events)
    assert "hard 7" in page and "hard 5" not in page
    assert [len(curve) for curve in curves(page)] == [2]


def test_each_stage_has_a_chart_with_its_terms():
    events = [log(1, "distil", relation=2.0), log(1, "finetune/tnews", hard=1.0, soft=0.5)]
    charts = re.findall(r"<figcaption>([^ ]+) [^\n]*\s*<title>Losses of (.*?):", page_of(make(), events))
    assert charts == [("distil", "distil"), ("finetune/tnews", "finetune/tnews")]
    assert len(curves(page_of(make(), events))) == 3


@pytest.mark.parametrize("loss", [float, lambda step: 2.0 + math.sin(7.0 * step)], ids=["line", "wave"])
def test_long_curves_are_thinned_and_keep_their_ends(loss):
    events = [log(step, hard=loss(step)) for step in range(1, 20_001)]
    (points,) = curves(page_of(make(), events))
    (known,) = curves(page_of(make(), events[:100] + events[-100:]))
    assert len(points) <= CURVE_POINTS
    assert [point[1:] for point in (points[0], points[-1])] == [point[1:] for point in (known[0], known[-1])]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_curve_breaks_where_the_loss_is_not_finite(loss):
    page = page_of(make(), [log(step, hard=loss if step == 3 else 1.0 / step) for step in range(1, 6)])
    (points,) = curves(page)
    assert "".join(point[0] for point in points) == "MLML"
    assert "1 of 5 are not finite" in page
    assert curves(page_of(make(), [log(1, hard=loss)])) == [[]]


@pytest.mark.parametrize("values", [(0.0, 0.0), (3.0, 3.0), (1e-6, 1e5), (-2.0, 1.0), (0.02, 0.7), (1e5, 1e6)])
def test_a_curve_stays_in_its_chart_beside_readable_axes(values):
    page = page_of(make(()), [log(step + 1, hard=value) for step, value in enumerate(values)])
    (points,) = curves(page)
    assert all(8 <= float(point.split()[2]) <= 160 for point in points)
    labels = [item for item in Page(page).all("text") if "text-anchor: end" in item["style"] and item["x"] == "38"]
    assert 2 <= len(labels) <= 6


@pytest.mark.parametrize("name", ["$x^$", "$\\frac$", "a\x07b", "{b}", "%s", "a\nb", "新" * 40])
def test_names_are_drawn_as_they_are_whatever_they_hold(name):
    results = make(tasks=(name, "ocnli"))
    results.models[2].role = name
    page = page_of(results, [log(step, stage=name, **{name: 1.0 / step}) for step in (1, 2)])
    shown = name.replace("\x07", "\ufffd").split("\n")[0][:7]
    assert len(re.findall(rf"<text [^>]*>[^<]*{re.escape(shown)}", page)) >= 4  # two points, a bar, a curve's legend
