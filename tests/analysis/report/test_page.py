import base64
import errno
import hashlib
import os
import re
import tomllib
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from experiments import DATA, ExperimentBuilder, make_measurement, write_measurement
from golden import assert_golden
from plotly.offline import get_plotlyjs_version

import analysis
from analysis import Experiment
from analysis.report import write_report
from records.files import read_json, write_json
from records.measurement import LatencyComparison, NetworkMeasurement, Quartiles, TestRun

VOID = {"meta", "br", "link", "img", "input", "hr"}
BLOCKS = {"title", "h1", "h2", "h3", "p", "li", "tr", "th", "td", "dt", "dd", "summary", "pre"}
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'>{{ 7*7 }}&lt;b&gt;\x1b[2J‮"


@dataclass
class Page(HTMLParser):
    """What a browser would make of the file."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)
        if tag in BLOCKS:
            self.text += " | " if tag in ("td", "th") else "\n"
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif self._open and self._open[-1] != "style":
            self.text += data if "pre" in self._open else re.sub(r"\s+", " ", data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page._open == []
    return page


@pytest.fixture(scope="module")
def page(rich: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return read(write_report(rich, tmp_path_factory.mktemp("page") / "rich.html"))


def test_it_lies_in_the_experiment_unless_told_otherwise(untrained: ExperimentBuilder, tmp_path: Path) -> None:
    experiment = untrained.load()
    before = sorted(untrained.folder.path.iterdir())
    assert write_report(experiment) == untrained.folder.path / "report.html"
    assert sorted(untrained.folder.path.iterdir()) == sorted([*before, untrained.folder.path / "report.html"])
    assert write_report(experiment, tmp_path / "other.html") == tmp_path / "other.html"


def test_what_cannot_be_written_leaves_the_old_report(untrained: ExperimentBuilder, tmp_path: Path) -> None:
    experiment = untrained.load()
    with pytest.raises(FileNotFoundError):
        write_report(experiment, tmp_path / "nowhere" / "report.html")
    (tmp_path / "report.html").mkdir()
    for folder in (tmp_path / "report.html", Path(), Path("/")):
        with pytest.raises(IsADirectoryError):
            write_report(experiment, folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "report.html"]


def test_a_disk_that_is_full_leaves_the_old_report(
    untrained: ExperimentBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = untrained.load()
    before = write_report(experiment).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_report(experiment)
    assert (untrained.folder.path / "report.html").read_bytes() == before
    assert sorted(path.name for path in untrained.folder.path.iterdir()) == ["experiment.json", "report.html"]


def test_a_dense_network_of_nothing_has_a_report(untrained: ExperimentBuilder) -> None:
    untrained.write_dense()
    path = untrained.folder.dense_path / "dense.json"
    write_json(path, read_json(path) | dict.fromkeys(("val_accuracy", "macs", "parameters"), 0))
    trial = untrained.add_searched(0.9)
    untrained.add_control("one_shot", 0.8)
    zero = Quartiles(median=0.0)
    latency = LatencyComparison(batch_size=256, dense_ms=zero, pruned_ms=zero, speedup=zero)
    nothing = TestRun(images=0, accuracy=0.0, loss=0.0, seconds=0.0, peak_bytes=0, mean_bytes=0)
    dense = NetworkMeasurement(size_bytes=0, test=nothing)
    write_measurement(trial, replace(make_measurement(0.9), dense=dense, latency=(latency,)))
    page = read(write_report(untrained.load()))
    assert "of the size" not in page.text
    assert "times as fast at batch" not in page.text
    assert not re.search(r"nan|inf", page.text)


def test_no_experiment_no_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no experiment"):
        write_report(analysis.load(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_it_asks_nobody_for_anything(page: Page) -> None:
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "data", "action", "poster"} & set(attributes), tag
        assert "href" not in attributes or (tag == "a" and str(attributes["href"]).startswith("#"))
        assert tag not in {"link", "iframe", "object", "embed", "base"}
    [style] = page.of("style")
    assert style == {}
    policy = policy_of(page)
    assert policy["default-src"] == ["'none'"]
    assert "connect-src" not in policy
    assert policy["img-src"] == ["data:", "blob:"]


def policy_of(page: Page) -> dict[str, list[str]]:
    [content] = [meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    return {name: values for name, *values in (part.split() for part in (content or "").split(";"))}


def test_no_script_but_the_reports_own_may_run(page: Page) -> None:
    running = [
        text for text, attributes in zip(page.scripts, page.of("script"), strict=True) if attributes.get("type") is None
    ]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in running]
    assert policy_of(page)["script-src"] == [f"'sha256-{digest}'" for digest in digests]
    assert len(running) == 2
    assert sum("plotly.js (basic - minified) v" in text for text in page.scripts) == 1


def test_the_bundle_of_plotly_is_small_licensed_and_of_the_generation_that_plotly_writes_for() -> None:
    bundle = resources.files("analysis.report").joinpath("assets", "plotly-basic.min.js").read_bytes()
    assert len(bundle) < 1_300_000
    [version] = re.findall(rb"plotly\.js \(basic - minified\) v(\d+)\.", bundle[:200])
    assert version.decode() == get_plotlyjs_version().split(".")[0]
    licence = resources.files("analysis.report").joinpath("assets", "plotly-basic.LICENSE").read_text()
    assert licence.startswith("MIT License")


def test_it_can_be_read_by_a_machine_that_reads_aloud(page: Page) -> None:
    assert page.of("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert all(heading.get("scope") in ("col", "row") for heading in page.of("th"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        assert attributes.get("aria-labelledby") in {*ids, None}
    plots = [attributes for attributes in page.of("div") if attributes.get("class") == "plot"]
    assert len(plots) == len(page.of("figure")) == 16
    for link in page.of("a"):
        assert str(link["href"])[1:] in ids
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)


def test_it_reads_as_it_should(page: Page) -> None:
    lines = [line.strip() for line in page.text.splitlines()]
    text = "\n".join(line for line in lines if line)
    text = re.sub(r"--storage \S+", "--storage STORAGE", text)
    assert_golden("report.txt", re.sub(r"Written \S+ \S+ UTC", "Written DATE TIME UTC", text))
    assert not re.search(r"\bnan\b|\bNone\b|NaT|`", text, re.IGNORECASE)


def test_what_it_says(page: Page) -> None:
    for fact in (
        "cifar10-autumn",
        "is 0.7 ± 0.3 points above",
        "11 networks measured on AMD EPYC 7B13, 2 threads",
        "failed: CUDA error: out of memory",
        "alphaprune run settings.toml",
        "All 36 complete trials",
        "Use trial 34: 75% fewer MACs, 2.4 times as fast at batch 256, 21% of the size, test accuracy 92.8%",
    ):
        assert fact in page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "at line 3" not in page.text


def test_the_settings_run_again(rich: Experiment, page: Page) -> None:
    html = write_report(rich, rich.path / "again.html").read_text()
    (rich.path / "again.html").unlink()
    [text] = re.findall(r"<summary>Settings</summary>\s*<pre[^>]*>(.*?)</pre>", html, re.DOTALL)
    found = tomllib.loads(text.replace("&#34;", '"'))
    assert found["search"] == rich.settings["search"]
    assert found["data"] == {"source": "cifar10", "validation_fraction": 0.1, "split_seed": 0}


def only_evil_as_text(page: Page) -> None:
    figures = len(page.of("figure"))
    assert len(page.of("script")) == 2 + 1 + figures
    assert page.of("img") == []
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
    assert "49" not in page.text
    assert not set("\x1b\u202e") & set(page.text)


def test_hostile_texts_are_only_texts(untrained: ExperimentBuilder) -> None:
    settings = {EVIL: {EVIL: EVIL}, "trial": {"epochs": EVIL}}
    data = replace(DATA, name=EVIL, fingerprint=EVIL, validation_images=500)
    record = replace(untrained.folder.read_record(), name=EVIL, preset=EVIL, settings=settings, data=data)
    untrained.folder.write_record(replace(record, versions={EVIL: EVIL}))
    untrained.write_dense()
    one, two = untrained.add_searched(0.9, host=EVIL, device=EVIL), untrained.add_control("one_shot", 0.8, host=EVIL)
    untrained.add_searched(0.5, state="failed", error=EVIL)
    untrained.add_searched(0.5, state="running", epochs=3)
    write_measurement(one, replace(make_measurement(0.9), measured_on=EVIL, torch=EVIL, dtype=EVIL))
    for trial, change in ((one, {"alpha.family": EVIL}), (two, {"control": EVIL})):
        values = read_json(trial.record_path)
        values["config"]["alpha"] |= change
        values["config"]["lr"]["policy"] = EVIL
        values["config"]["pruning"]["of"] = EVIL
        values["config"][EVIL] = EVIL
        write_json(trial.record_path, values | {key: value for key, value in change.items() if key == "control"})
    experiment = untrained.load()
    experiment.problems.append(EVIL)
    page = read(write_report(experiment))
    only_evil_as_text(page)
    assert "<script>alert(1)</script>" in page.text


@pytest.mark.parametrize("settings", [{}, {"search": 3, "trial": [], "dense": None}, {"a": [[{"b": None}]]}])
def test_settings_of_any_kind(untrained: ExperimentBuilder, settings: dict[str, Any]) -> None:
    untrained.change_settings(settings)
    untrained.add_searched(0.9)
    assert "There is no" not in read(write_report(untrained.load())).text


def test_settings_nested_too_deep(untrained: ExperimentBuilder) -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = {"a": [deep]}
    experiment = untrained.load()
    experiment = replace(experiment, record=replace(experiment.record, settings={"a": deep}))
    assert "nested too deeply to be shown" in read(write_report(experiment)).text


def empty(untrained: ExperimentBuilder) -> str:
    return "There is no answer yet: no trial has been started."


def running(untrained: ExperimentBuilder) -> str:
    untrained.write_dense()
    untrained.add_searched(0.9, state="running", epochs=5)
    untrained.add_control("one_shot", 0.9, state="running", epochs=0)
    return "There is no answer yet: no trial is complete (2 are still running)."


def all_failed(untrained: ExperimentBuilder) -> str:
    untrained.write_dense()
    untrained.add_searched(0.9, state="failed", epochs=5)
    untrained.add_control("one_shot", 0.9, state="failed", epochs=0, error="\n")
    return "There is no answer: all 2 trials failed."


def one_trial(untrained: ExperimentBuilder) -> str:
    untrained.write_dense()
    untrained.add_searched(0.9)
    return "Whether alpha helps is not known: no control is complete, so there is nothing to compare with."


def controls_only(untrained: ExperimentBuilder) -> str:
    untrained.write_dense()
    untrained.add_control("one_shot", 0.9)
    untrained.add_control("from_scratch", 0.9)
    return "Whether alpha helps is not known yet: only controls are complete."


def without_dense(untrained: ExperimentBuilder) -> str:
    untrained.add_control("one_shot", 0.95)
    untrained.add_searched(0.9)
    return "A control beats alpha: 0 one-shot (control) is "


def damaged(untrained: ExperimentBuilder) -> str:
    untrained.write_dense()
    (untrained.folder.dense_path / "dense.json").write_text("{")
    untrained.add_searched(0.9).record_path.write_text("[")
    torn = untrained.add_searched(0.9).rows_path
    torn.write_bytes(torn.read_bytes()[:-700])
    measured = untrained.add_control("one_shot", 0.9)
    write_measurement(measured, make_measurement())
    measured.measurement_path.write_text('{"measured_on": 3')
    return "Whether alpha helps is not known yet: only controls are complete."


STATES = [empty, running, all_failed, one_trial, controls_only, without_dense, damaged]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_whatever_the_state_the_report_is_true_to_it(untrained: ExperimentBuilder, state: Any) -> None:
    headline = state(untrained)
    experiment = untrained.load()
    page = read(write_report(experiment))
    assert headline in page.text
    assert not re.search(r"\bnan\b|\bNone\b|NaT", page.text, re.IGNORECASE)
    assert all(problem[:60] in page.text for problem in experiment.problems)
    assert bool(experiment.problems) == (state is damaged)
    assert "Nothing was measured" in page.text
    # Neither an empty table nor an empty figure.
    assert len(page.of("table")) == bool((experiment.trials["state"] == "complete").any())
    assert bool(page.of("figure")) == (state is not empty)
