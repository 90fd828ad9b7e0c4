"""Who imports whom: records <- trainable <- spaces <- search, analysis beside them; each light where it has to be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"records", "trainable", "spaces", "search", "analysis"}
# What a package may import of the project itself; our other packages are refused.
MAY = {
    "records": {"records"},
    "trainable": {"trainable", "records"},
    "spaces": {
        *("spaces", "trainable.config", "trainable.function_import"),
        *("trainable.schedules.alpha", "trainable.schedules.lr_policies"),
    },
    "analysis": {"analysis", "records"},
    "search": OURS,
}
# What a package may not import at all; ray is left to one module of trainable and one backend of search.
MAY_NOT = {
    "records": {"ray", "torch", "optuna", "pandas", "numpy", "pyarrow"},
    "trainable": {"ray", "optuna", "pandas"},
    "spaces": {"ray", "torch", "pandas"},
    "analysis": {"ray", "torch"},
    "search": {"ray"},
}
MAY_IMPORT_RAY = ("trainable/ray_trainable.py", "search/backends/ray/")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
    return names


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", sorted(OURS))
def test_imports_of_our_own_go_one_way(package: str) -> None:
    assert sources(package)
    for path in sources(package):
        for name in imported(path):
            if name.split(".")[0] in OURS:
                allowed = any(name == may or name.startswith(f"{may}.") for may in MAY[package])
                assert allowed, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("package", sorted(MAY_NOT))
def test_heavy_libraries_stay_where_they_belong(package: str) -> None:
    for path in sources(package):
        place = path.relative_to(ROOT).as_posix()
        roots = {name.split(".")[0] for name in imported(path)}
        if place.startswith(MAY_IMPORT_RAY):
            roots -= {"ray"}
        assert not roots & MAY_NOT[package], f"{place} imports {roots & MAY_NOT[package]}"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("analysis", {"ray", "torch", "optuna", "sklearn"}),
        ("analysis.terminal.ranking_table", {"ray", "torch", "optuna"}),
        ("analysis.terminal.status_view", {"ray", "torch", "optuna"}),
        ("spaces.alpha_pruning", {"ray", "torch"}),
        ("trainable.config", {"ray", "torch"}),
        ("records.trial", {"ray", "torch", "numpy"}),
        ("trainable.trial", {"ray", "optuna"}),
        ("search.cli", {"ray", "torch", "optuna", "pandas", "numpy"}),  # help and completion answer at once
        ("search.setting_help", {"ray", "torch", "optuna", "pandas"}),
        ("search.backends.local", {"ray"}),
    ],
)
def test_importing_does_not_load(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert not set(loaded.split()) & absent
