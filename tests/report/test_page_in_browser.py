"""The page in a headless Chromium: it fits its window, no script fails, nothing is asked of a network."""

from __future__ import annotations

import dataclasses
import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ernie_tiny.report.runs import Run
from tests.report.made_results import Page, html_page, log, make

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason=f"none of {', '.join(BROWSERS)} is installed")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --dump-dom --window-size=1600,1000"
)
# Stands first in the page, so that it sees every error; reports when all is drawn.
PROBE = """<script>
const errors = [];
addEventListener("error", event => errors.push(event.message || event.target.outerHTML), true);
addEventListener("securitypolicyviolation", event => errors.push(event.blockedURI));
addEventListener("load", () => parent.document.title = document.documentElement.scrollWidth + " of " + innerWidth
  + "; requests: " + performance.getEntriesByType("resource").length + "; errors: " + errors.join(", "));
</script>"""


def make_runs() -> list[Run]:
    runs = []
    for seed in (1, 2):
        results = make(name="a-name-without-any-space-" * 8)
        for index in range(9):
            results.metrics[f"task{index}"] = "accuracy"
        results.exports["tnews"]["folder"] = "/very" * 60
        results.models[1].intervals = {"tnews": {"accuracy": (50.0, 58.0)}}
        results.models.append(dataclasses.replace(results.models[1], role="an ablation with a long title " * 3))
        events = [log(step, **{f"term{index}": 1.0 + index for index in range(7)}) for step in (1, 1_000_000)]
        events += [log(1, f"finetune/task{index}", hard=1.0) for index in range(9)]
        config = {"seed": seed, "data": {"sample": False}, "models": {"student": {"pretrained": "/long" * 40 * seed}}}
        runs.append(Run(results, events, config, folder="/very" * 60))
    return runs


def look_at(page: str, width: int, folder: Path) -> str:
    """What the probe reports of a page in a window of some width: a frame, since Chromium's own is 500 at least."""
    probed = html.escape(page.replace("<head>", f"<head>{PROBE}"))
    file = folder / "window.html"
    file.write_text(f'<iframe style="width: {width}px; border: 0" srcdoc="{probed}"></iframe>', encoding="utf-8")
    command = [
        str(CHROMIUM), *FLAGS.split(), "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder / 'profile'}", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>(.*?)</title>", done.stdout)
    assert found is not None, done.stdout[:2000]
    return found[1]


@NEEDS_CHROMIUM
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("runs", [1, 2])
def test_page_fits_its_window_without_an_error_or_a_request(width, runs, tmp_path):
    said = look_at(html_page(make_runs()[:runs]), width, tmp_path)
    found = re.fullmatch(r"(\d+) of (\d+); requests: (\d+); errors: (.*)", said)
    assert found is not None, said
    assert int(found[2]) == width and int(found[1]) <= width
    assert found[3] == "0" and found[4] == ""


@NEEDS_CHROMIUM
def test_an_error_and_a_request_would_be_seen(tmp_path):
    broken = '<html><head></head><body><script>nothing()</script><img src="http://example.invalid/a.png"></body></html>'
    said = look_at(broken, 400, tmp_path)
    assert "nothing is not defined" in said and "a.png" in said and "requests: 1" in said


def test_page_names_no_resource():
    text = html_page(make_runs())
    page = Page(text)
    assert page.all("script") == [] and page.all("link") == [] and page.all("img") == []
    assert not re.search(r"https?:|src=|href=(?!\"#)|url\(|@import", text)
