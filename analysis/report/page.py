"""The report as one HTML file that needs nothing else and asks nobody for anything."""

import base64
import errno
import hashlib
import os
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from analysis.experiment import Experiment
from analysis.report import static_text as texts
from analysis.report.answer import answer
from analysis.report.figure_html import drawn
from analysis.report.measurement_section import measurings
from analysis.report.phrases import plain
from analysis.report.ranking_section import MOST_ROWS, ranking_table
from analysis.report.story import standing, story
from analysis.report.toml import as_toml
from analysis.text import UNKNOWN
from records.files import now, replace_file

LONGEST_LIST = 50


def write_report(experiment: Experiment, path: Path | None = None) -> Path:
    """Writes the report of `experiment` and returns where it lies.

    Args:
        experiment: in whatever state; the report says what is known.
        path: of the file, which is replaced as a whole; by default report.html in the experiment's folder.

    Raises:
        OSError: if it cannot be written, as where `path` is a folder; what was there before is as it was.
    """
    path = experiment.path / "report.html" if path is None else path
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    page = _page(experiment).encode("utf-8", "replace")
    replace_file(path, lambda file: file.write(page))
    return path


def _page(experiment: Experiment) -> str:
    scripts = [_script(get_plotlyjs()), _script(_file("draw.js"))]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["marked"] = _marked
    figures = list(drawn(experiment))
    return environment.from_string(_file("report.html.jinja")).render(
        name=plain(experiment.name),
        style=Markup(_file("report.css")),
        hashes=[_hash(script) for script in scripts],
        scripts=[Markup(script) for script in scripts],
        figures=[(figure, Markup(figure.json)) for figure in figures],
        story=story(experiment),
        standing=standing(experiment),
        answer=answer(experiment.trials, experiment.record.data, experiment.dense, experiment.dense_measure),
        table=ranking_table(experiment),
        most_rows=MOST_ROWS,
        unknown=UNKNOWN,
        measurings=measurings(experiment),
        texts=texts,
        created=now()[:16].replace("T", " "),
        settings=_settings(experiment.settings),
        versions=_versions(experiment.record.versions),
        failed=_failed(experiment.trials),
        problems=[plain(problem, 400) for problem in experiment.problems],
        longest=LONGEST_LIST,
        folder=plain(experiment.path.name),
    )


def _marked(text: str) -> Markup:
    """Plain text as HTML: what stands in backticks is code, and no line ends between a number and its unit."""
    joined = re.sub("(?<=[0-9]) (?=%)| (?=±)|(?<=±) ", "\N{NO-BREAK SPACE}", text)
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(joined))))


def _file(name: str) -> str:
    return files("analysis.report").joinpath(name).read_text(encoding="utf-8")


def _script(code: str) -> str:
    """Code as it stands in its element, where a carriage return would be read as a newline and miss its hash."""
    assert "</script" not in code
    return code.replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    """What a content security policy knows the script by: nothing else in the page may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _settings(settings: dict[str, Any]) -> str | None:
    """As TOML; None where they are nested too deep for anything that `alphaprune run` wrote."""
    try:
        return as_toml(settings)
    except RecursionError:
        return None


def _versions(versions: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(plain(name), plain(version)) for name, version in versions.items()]


def _failed(trials: pd.DataFrame) -> list[tuple[int, str]]:
    """Failed trials and the first line of their errors."""
    failed = trials[trials["state"] == "failed"]
    lines = [error.strip().splitlines() if isinstance(error, str) else [] for error in failed["error"].tolist()]
    firsts = [plain(each[0], 400) if each else "no error was recorded" for each in lines]
    return list(zip(map(int, failed.index), firsts, strict=True))
