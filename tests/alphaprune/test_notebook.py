"""A search in a notebook: its progress and its ranking are outputs of the cell."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
CELL = """
import alphaprune

small = {
    "data.images": 200, "dense.width": 0.0625, "dense.epochs": 1, "trial.epochs": 3, "trial.pruning.round_to": 1,
    "space.options": {"amounts": [0.5]}, "controls.amounts": [0.5], "controls.kinds": ["one_shot"],
    "results.measure": False,
}
alphaprune.run("quickstart", trials=2, local=True, storage=STORAGE, **small)
"""


def test_a_cell_shows_progress_and_ends_with_the_ranking(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); STORAGE = {str(tmp_path)!r}"
    cells = [nbformat.v4.new_code_cell(code), nbformat.v4.new_code_cell(CELL)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    outputs = notebook.cells[-1].outputs
    shown = " ".join(each["data"]["text/html"] for each in outputs if each.output_type == "display_data")
    for words in ("dense network: epoch 1 of 1", "trial 0 complete", "3 of 3 trials"):
        assert words in shown, shown
    (result,) = (each for each in outputs if each.output_type == "execute_result")
    html = result["data"]["text/html"]
    for words in ("<table>", "dense network", "0 one-shot (control)", "MACs cut %"):
        assert words in html, html
    assert (tmp_path / "quickstart" / "report.html").is_file()
