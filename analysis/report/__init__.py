"""One offline HTML file that tells what an experiment found, to a reader who has never seen the project."""

from analysis.report.page import write_report

__all__ = ["write_report"]
