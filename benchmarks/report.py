"""What the report of a large search costs: `python benchmarks/report.py [--trials 5000 --epochs 60]`.

The search is created in a temporary folder with random contents (see loading.py). Printed are CPU seconds of a fresh
process that loads it from its records and writes the report, of one that shows its status, and the page's size.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from loading import make_experiment
from rich.console import Console
from rich.table import Table

from records.experiment import ExperimentFolder

MOST_SECONDS, MOST_BYTES = 10.0, 8_000_000


def cpu_seconds(*arguments: str) -> float:
    """CPU seconds that `alphaprune` takes in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "alphaprune", *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=60)
    arguments = parser.parse_args()
    fsync, os.fsync = os.fsync, lambda descriptor: None  # type: ignore[assignment]  # nothing made here needs to last
    with tempfile.TemporaryDirectory() as storage:
        folder = ExperimentFolder(Path(storage) / "search")
        make_experiment(folder, arguments.trials, arguments.epochs)
        os.fsync = fsync
        table = Table("", "value", "target", title=f"{arguments.trials:,} trials of {arguments.epochs} epochs")
        for command in ("report", "status"):
            seconds = cpu_seconds(command, "search", "--storage", storage)
            table.add_row(f"{command}, CPU seconds", f"{seconds:.1f}", f"{MOST_SECONDS:.0f}")
        size = (folder.path / "report.html").stat().st_size
        table.add_row("report.html, MB", f"{size / 1e6:.1f}", f"{MOST_BYTES / 1e6:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
