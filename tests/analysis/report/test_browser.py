"""The report in a real browser: drawn, without an error, and nowhere wider than the screen."""

import html
import io
import json
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from experiments import ExperimentBuilder, make_measurement, write_measurement
from PIL import Image

from analysis import Experiment
from analysis.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on PATH to show the report in"),
]

# A frame of the width of a phone, as a window cannot be that narrow; it tells what it sees once all is drawn.
FRAME = """<!doctype html><html><body style="margin: 0">
<iframe src="PAGEHASH" style="border: 0; width: WIDTHpx; height: HEIGHTpx"></iframe>
<script>
const look = async () => {
  const page = document.querySelector("iframe").contentDocument;
  const plots = [...page.querySelectorAll(".plot")];
  const marks = ".trace, .points path, .barlayer path, .scatterlayer path";
  const drawn = plots.map((plot) =>
    [plot.id, plot.querySelectorAll(marks).length, plot.querySelector("svg.main-svg") !== null]);
  if (page.readyState !== "complete" || !drawn.every((each) => each[2])) return setTimeout(look, 100);
  const root = page.documentElement;
  const answer = await (async () => { ACT })();
  const found = { answer, plots: drawn, width: root.clientWidth, wide: root.scrollWidth, high: root.scrollHeight,
    beyond: [...page.body.querySelectorAll("*")].filter((one) => !one.closest(".scroll, pre, .plot-scroll, nav")
      && one.getBoundingClientRect().right > root.clientWidth + 1).map((one) => one.outerHTML.slice(0, 200)) };
  const told = document.createElement("pre");
  told.id = "found";
  told.style.display = "none";
  told.textContent = JSON.stringify(found);
  document.body.append(told);
};
addEventListener("load", look);
</script></body></html>
"""


@dataclass(frozen=True)
class Seen:
    """found: see FRAME; `answer` is what ACT returned. console: the page's messages. picture: of the frame alone."""

    found: dict[str, Any]
    console: list[str]
    picture: Image.Image


def look(page: Path, width: int, height: int = 3000, *, act: str = "", address: str = "", dark: bool = False) -> Seen:
    """What a browser shows of `page`, after the JavaScript `act` (with `page`, its document) has run."""
    frame, picture = page.with_suffix(f".{width}.frame.html"), page.with_suffix(f".{width}.png")
    text = FRAME.replace("PAGE", page.name).replace("WIDTH", str(width)).replace("HEIGHT", str(height))
    text = text.replace("HASH", address).replace("ACT", act)
    frame.write_text(text)
    done = subprocess.run(
        [
            *(CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--allow-file-access-from-files", f"--user-data-dir={page.with_suffix('.profile')}"),
            *(("--blink-settings=preferredColorScheme=0",) if dark else ()),
            *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=30000", "--dump-dom"),
            *(f"--screenshot={picture}", f"--window-size={max(width, 500)},{height}", frame.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    [found] = re.findall(r'<pre id="found"[^>]*>(.*?)</pre>', done.stdout, re.DOTALL) or ["{}"]
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Seen(json.loads(html.unescape(found)), console, Image.open(picture).crop((0, 0, width, height)))


def ink(picture: Image.Image) -> float:
    """The share of pixels that are not the page's white."""
    histogram = picture.convert("L").histogram()
    return 1 - histogram[255] / sum(histogram)


@pytest.mark.parametrize("width", [1280, 380])
def test_all_is_drawn_within_the_width_and_without_an_error(rich: Experiment, tmp_path: Path, width: int) -> None:
    seen = look(write_report(rich, tmp_path / "report.html"), width)
    assert seen.console == []
    assert len(seen.found["plots"]) == 16
    assert all(traces > 0 for _, traces, _ in seen.found["plots"]), seen.found["plots"]
    assert seen.found["width"] == width
    assert seen.found["wide"] <= width
    assert seen.found["beyond"] == []
    for top in range(0, 3000, 1000):
        assert ink(seen.picture.crop((0, top, width, top + 1000))) > 0.02


READ_TABLE = """
  const names = () => [...page.querySelectorAll("#trials tbody tr")].filter((row) => row.offsetParent !== null)
    .map((row) => row.querySelector("b").textContent);
  const heading = (text) => [...page.querySelectorAll("th .sort")].find((one) => one.textContent.startsWith(text));
  const found = { first: names() };
"""


def test_the_ranking_is_sorted_and_searched_with_the_keyboard(rich: Experiment, tmp_path: Path) -> None:
    act = """
  const input = page.getElementById("find");
  const type = (text) => { input.value = text; input.dispatchEvent(new Event("input")); };
  heading("Validation").click();
  found.high = names();
  heading("Validation").click();
  found.low = names();
  found.sorted = heading("Validation").parentElement.getAttribute("aria-sort");
  heading("Validation").click();
  found.ranked = names();
  type("cosine one-cycle");
  found.searched = names();
  type("");
  page.getElementById("all-rows").click();
  found.all = names();
  found.focusable = [...page.querySelectorAll("th .sort, .trial-link")].every((one) => one.tabIndex === 0);
  return found;
"""
    found = look(write_report(rich, tmp_path / "report.html"), 1280, act=READ_TABLE + act).found["answer"]
    assert found["first"][0] == "dense network"
    assert len(found["first"]) < len(rich.ranked)
    assert all(name.endswith("(control)") for name in found["first"][26:])
    accuracy = rich.ranked["pruned_val_accuracy"].round(4)  # as the table has them
    high, low = ([int(name.split()[0]) for name in found[key][1:]] for key in ("high", "low"))
    assert accuracy[high].tolist() == sorted(accuracy, reverse=True)
    assert accuracy[low].tolist() == sorted(accuracy)
    assert found["sorted"] == "ascending"
    assert found["ranked"] == found["first"]
    assert 0 < len(found["searched"]) - 1 < 10
    assert len(found["all"]) == 1 + len(rich.ranked)
    assert found["focusable"]


def test_a_trial_is_shown_by_a_click_and_by_its_address(rich: Experiment, tmp_path: Path) -> None:
    act = """
  const read = () => ({ open: page.getElementById("trial").open,
    title: page.getElementById("trial-heading").textContent,
    commands: [...page.querySelectorAll("#trial-commands pre")].map((one) => one.textContent),
    settings: page.querySelectorAll("#trial-settings dt").length,
    curve: page.querySelectorAll("#trial-curve .scatterlayer path").length });
  const addressed = read();
  page.getElementById("close").click();
  const closed = page.getElementById("trial").open;
  page.getElementById("accuracy-macs").emit("plotly_click", { points: [{ customdata: 0, data: {} }] });
  const clicked = read();
  page.getElementById("close").click();
  page.querySelector("tr[data-number='35'] .trial-link").click();
  return { addressed, closed, clicked, row: read() };
"""
    seen = look(write_report(rich, tmp_path / "report.html"), 1280, act=act, address="#trial-34")
    assert seen.console == []
    found = seen.found["answer"]
    assert found["addressed"]["open"]
    assert found["addressed"]["title"].startswith("Trial 34 ")
    assert found["addressed"]["settings"] > 5
    assert found["addressed"]["curve"] > 0
    assert any(" 34 --to cifar10-autumn-34" in command for command in found["addressed"]["commands"])
    assert not found["closed"]
    assert found["clicked"]["title"] == "Trial 0 one-shot (control)"
    assert found["row"]["title"].startswith("Trial 35 ")


def test_figures_and_table_are_saved_from_within_the_page(rich: Experiment, tmp_path: Path) -> None:
    act = """
  const inside = document.querySelector("iframe").contentWindow;
  const saved = [];
  const create = inside.URL.createObjectURL;
  inside.URL.createObjectURL = (blob) => (saved.push(blob), create(blob));
  inside.HTMLAnchorElement.prototype.click = function () { saved.push(this.download); };
  page.getElementById("find").value = "control";
  page.getElementById("find").dispatchEvent(new Event("input"));
  page.getElementById("csv").click();
  const csv = await saved[0].text();
  const buttons = page.querySelectorAll("figure .png").length;
  page.querySelector("figure .png").click();
  const wait = (done) => new Promise((go) => { const look = () => done() ? go() : setTimeout(look, 50); look(); });
  await wait(() => saved.some((one) => one.type === "image/png"));
  return { csv, buttons, names: saved.filter((one) => typeof one === "string") };
"""
    seen = look(write_report(rich, tmp_path / "report.html"), 1280, act=act)
    assert seen.console == []
    found = seen.found["answer"]
    assert found["buttons"] == 16
    assert found["names"][0] == "ranking.csv"
    frame = pd.read_csv(io.StringIO(found["csv"]), index_col=0)
    assert frame.index[0] == "dense network"
    assert len(frame) == 1 + 6
    assert frame["Δ to dense, points"].dropna().lt(0).all()


def test_a_dark_screen_has_a_dark_page_and_dark_figures(rich: Experiment, tmp_path: Path) -> None:
    seen = look(write_report(rich, tmp_path / "report.html"), 1280, dark=True)
    assert seen.console == []
    histogram = seen.picture.convert("L").histogram()
    assert sum(histogram[:64]) > 0.8 * sum(histogram)
    assert histogram[255] < 0.01 * sum(histogram)


def test_hostile_texts_run_nothing_and_widen_nothing(untrained: ExperimentBuilder, tmp_path: Path) -> None:
    evil = "<img src=x onerror=console.error(1)></script><script>console.error(2)</script>" + "W" * 500
    untrained.write_dense()
    untrained.folder.write_record(replace(untrained.folder.read_record(), name=evil, versions={evil: evil}))
    write_measurement(untrained.add_searched(0.9, host=evil, device=evil), make_measurement(0.9, measured_on=evil))
    untrained.add_control("one_shot", 0.8)
    untrained.add_searched(0.1, state="failed", error=evil)
    seen = look(write_report(untrained.load(), tmp_path / "report.html"), 380)
    assert seen.console == []
    assert seen.found["wide"] <= 380
    assert seen.found["beyond"] == []


def test_an_empty_report_is_one(untrained: ExperimentBuilder, tmp_path: Path) -> None:
    seen = look(write_report(untrained.load(), tmp_path / "report.html"), 380, 800)
    assert (seen.console, seen.found["plots"]) == ([], [])
    assert seen.found["wide"] <= 380
    assert ink(seen.picture) > 0.02


def test_an_error_and_an_overflow_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<!doctype html><body><p style='width: 900px'>x</p><script>nothing()</script>")
    seen = look(page, 380, 800)
    assert any("nothing is not defined" in line for line in seen.console)
    assert seen.found["wide"] > 380
    assert len(seen.found["beyond"]) == 1
    assert ink(seen.picture) < 0.02


def test_what_a_report_may_not_fetch_is_seen(untrained: ExperimentBuilder, tmp_path: Path) -> None:
    path = write_report(untrained.load(), tmp_path / "report.html")
    path.write_text(path.read_text().replace("<main>", '<main><img src="https://example.org/x.png">'))
    [line] = look(path, 380, 800).console
    assert "Content Security Policy" in line
