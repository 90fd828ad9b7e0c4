"""The report as one HTML file that is complete in itself and loads nothing."""

import base64
import errno
import hashlib
import json
import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import tomli_w
from markupsafe import Markup, escape

from analysis.columns import iterate_rows
from analysis.experiment import Experiment
from analysis.figures.style import DARK_COLOURS
from analysis.labels import label_row
from analysis.report.answer import find_answer
from analysis.report.figure_html import draw_figures, escape_script
from analysis.report.measurement_section import measurement_methods
from analysis.report.ranking_section import FIRST_ROWS, ranking_section, show_cell
from analysis.report.recommendation import recommend_trials
from analysis.report.story import tell_seeds, tell_standing, tell_story, tell_subject
from analysis.report.trial_details import trial_details
from analysis.report.twin_section import list_twin_rows
from analysis.text import first_line, shorten_text
from records.driver import format_command
from records.experiment import ExperimentFolder
from records.files import now, replace_file

LONGEST_LIST = 50


def write_report(experiment: Experiment, path: Path | None = None) -> Path:
    """Writes the report of `experiment` and returns its path.

    Args:
        experiment: in any state; the report says what is known.
        path: of the file, which is replaced as a whole; by default report.html in the experiment's folder.

    Raises:
        OSError: if it cannot be written, such as where `path` is a folder; a previous report is left as it was.
    """
    path = experiment.path / "report.html" if path is None else path
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    page = _render_page(experiment).encode("utf-8", "replace")
    replace_file(path, lambda file: file.write(page))
    return path


def _render_page(experiment: Experiment) -> str:
    failed = experiment.trials[experiment.trials["state"] == "failed"]
    scripts = [_embed_script(_read_resource("plotly-basic.min.js")), _embed_script(_read_resource("report.js"))]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["marked"] = _mark_up
    table = ranking_section(experiment)
    data = trial_details(experiment, table.numbers) | {"dark": DARK_COLOURS}
    return environment.from_string(_read_resource("report.html.jinja")).render(
        name=shorten_text(experiment.name),
        style=Markup(_read_resource("report.css")),
        hashes=[_hash_script(script) for script in scripts],
        scripts=[Markup(script) for script in scripts],
        figures=[(figure, Markup(figure.json)) for figure in draw_figures(experiment)],
        subject=tell_subject(experiment),
        notices=list(filter(None, (tell_standing(experiment), tell_seeds(experiment)))),
        recommendations=recommend_trials(experiment),
        story=tell_story(experiment),
        answer=find_answer(
            experiment.trials,
            experiment.ranked,
            experiment.record.data,
            experiment.dense,
            experiment.dense_measure,
            format_command(ExperimentFolder(experiment.path), "confirm"),
        ),
        twins=list_twin_rows(experiment),
        table=table,
        show_cell=show_cell,
        first_rows=FIRST_ROWS,
        data=Markup(escape_script(json.dumps(data, separators=(",", ":"), allow_nan=False))),
        methods=measurement_methods(experiment),
        created=now()[:16].replace("T", " "),
        settings=_settings_toml(experiment.settings),
        versions=[tuple(map(shorten_text, version)) for version in experiment.record.versions.items()],
        failed=[(label_row(number, row).text, first_line(row["error"])) for number, row in iterate_rows(failed)],
        problems=[shorten_text(problem, 400) for problem in experiment.problems],
        longest=LONGEST_LIST,
        folder=shorten_text(experiment.path.name),
    )


def _mark_up(text: str) -> Markup:
    """Plain text as HTML: what stands in backticks is code, and no line breaks at a ±."""
    joined = re.sub(" (?=±)|(?<=±) ", "\N{NO-BREAK SPACE}", text)
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(joined))))


def _read_resource(name: str) -> str:
    return files("analysis.report").joinpath("assets", name).read_text(encoding="utf-8")


def _embed_script(code: str) -> str:
    """Code as it stands in its element, where a carriage return would be read as a newline and miss its hash."""
    assert "</script" not in code
    return code.replace("\r\n", "\n").replace("\r", "\n")


def _hash_script(script: str) -> str:
    """By which the content security policy knows the script: nothing else in the page may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _settings_toml(settings: dict[str, Any]) -> str | None:
    """As TOML that `alphaprune run` takes; None where they are nested deeper than any that it wrote."""
    try:
        text = tomli_w.dumps(_without_null(settings))
    except RecursionError:
        return None
    # Characters that cannot be seen could turn the reading direction of what follows.
    return re.sub(r"[^\n -~]", lambda found: found[0] if found[0].isprintable() else _escape_character(found[0]), text)


def _without_null(value: Any) -> Any:
    """The value without null, which TOML does not have."""
    if isinstance(value, dict):
        return {key: _without_null(each) for key, each in value.items() if each is not None}
    return [_without_null(each) for each in value if each is not None] if isinstance(value, list) else value


def _escape_character(character: str) -> str:
    # JSON can have a lone half of a surrogate pair, and TOML cannot.
    code = 0xFFFD if 0xD800 <= ord(character) < 0xE000 else ord(character)
    return f"\\U{code:08X}"
