"""How experiments, trials and rankings look in a notebook: small HTML tables."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from analysis.rank.display import display_ranking
from analysis.text import format_count

if TYPE_CHECKING:
    import pandas as pd

    from analysis.experiment import Experiment

SHOWN_TRIALS = 20


def experiment_html(experiment: "Experiment") -> str:
    """An experiment: one line, the first trials of its ranking, and what is wrong with its records."""
    ranked = experiment.ranked
    parts = [f"<p>{escape(repr(experiment))} in <code>{escape(str(experiment.path))}</code></p>"]
    if not ranked.empty:
        parts.append(ranking_html(experiment, ranked))
    if problems := experiment.problems:
        parts.append(f"<ul>{''.join(f'<li>{escape(problem)}</li>' for problem in problems)}</ul>")
    return "\n".join(parts)


def ranking_html(experiment: "Experiment", ranked: "pd.DataFrame") -> str:
    """A ranking as the terminal and the report show it: labels, percentages, the dense network first."""
    display = display_ranking(ranked.head(SHOWN_TRIALS), experiment.dense, experiment.dense_measure)
    headings = ["Rank", "Trial", *(" ".join(column.heading) for column in display.columns), "Front"]
    rows = [
        [
            str(row.rank) if row.rank else "",
            row.label,
            *(" ± ".join(filter(None, cell)) for cell in row.cells),
            "★" if row.on_front else "",
        ]
        for row in display.rows
    ]
    more = len(ranked) - SHOWN_TRIALS
    note = f"<p>and {format_count(more, 'more trial')}</p>" if more > 0 else ""
    return table_html(headings, rows) + note


def table_html(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts, which are escaped."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
