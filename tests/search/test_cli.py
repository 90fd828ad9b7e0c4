"""The command line as the user sees it: what cannot work gets one line on stderr, exit code 2, and starts nothing."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import make_cut, make_row
from PIL import Image
from searches import write_experiment
from typer.testing import CliRunner, Result

from records.experiment import FORMAT, ExperimentFolder
from records.files import write_json
from records.trial import TrialRecord
from search.cli import app
from search.preset_files import read_preset, summarize_presets
from search.settings import resolve_settings
from trainable.config import TrialConfig, as_json


def alphaprune(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    *_, line = result.stderr.strip().splitlines()
    assert line.startswith("alphaprune: ")
    for word in words:
        assert word in line
    assert "Traceback" not in result.output
    assert result.stdout == ""


def parquet(folder: Path, *, columns: dict[str, list[object]] | None = None, broken: int | None = None) -> Path:
    def png(row: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (32, 32), (row, 0, 0)).save(buffer, "png")
        return buffer.getvalue()[:20] if row == broken else buffer.getvalue()

    folder.mkdir()
    table = columns or {
        "img": [{"bytes": png(row), "path": ""} for row in range(40)],
        "label": [row % 2 for row in range(40)],
    }
    for split in ("train", "test"):
        pq.write_table(pa.table(table), folder / f"{split}.parquet")
    return folder


def test_an_unknown_preset(tmp_path: Path) -> None:
    refused(alphaprune("run", "quikstart", "--storage", tmp_path), "'quikstart'", "did you mean 'quickstart'")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trial.pruning.amout=0.5", ["did you mean 'trial.pruning.amount'"]),
        ("trial.alpha.rate=9", ["trial.alpha.rate", "less than or equal to 8", "9"]),
        ("space.function=nowhere:space", ["nowhere"]),
        (
            "space.function=spaces.alpha_pruning:alpha_prunning",
            ["has no 'alpha_prunning'", "nearest is 'alpha_pruning'"],
        ),
        ("space.options.amunts=[0.5]", ["amunts", "amounts"]),
        ("space.options.amounts=[1.5]", ["amount", "1.5"]),
        ("controls.amounts=[0.9999]", ["pruning.amount", "at most", "0.9999"]),
        ("data.images=100000", ["100000"]),
    ],
)
@pytest.mark.parametrize("how", [[], ["--local"]])
def test_wrong_settings(tmp_path: Path, override: str, words: list[str], how: list[str]) -> None:
    refused(alphaprune("run", "quickstart", "--set", override, "--storage", tmp_path / "r", *how), *words)
    assert not (tmp_path / "r").exists()


def test_wrong_flags(tmp_path: Path) -> None:
    for flag, value, words in [
        ("--trials", "-1", "search.trials"),
        ("--width", "0", "dense.width"),
        ("--concurrency", "0", "resources.concurrency"),
        ("--gpus-per-trial", "-1", "resources.gpus_per_trial"),
        ("--name", "a/b", "--name"),
        ("--name", "..", "--name"),
    ]:
        refused(alphaprune("run", "quickstart", flag, value, "--storage", tmp_path), words)
    assert alphaprune("run", "quickstart", "--trails", "3").exit_code == 2
    assert alphaprune("run").exit_code == 2


def test_missing_data(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    storage = tmp_path / "r"
    for source, word in [("nowhere", "nowhere"), (tmp_path / "empty", "train.parquet")]:
        refused(alphaprune("run", "quickstart", "--data", source, "--storage", storage), word)
    lacking = parquet(tmp_path / "lacking", columns={"picture": [b""], "label": [0]})
    refused(alphaprune("run", "quickstart", "--data", lacking, "--storage", storage), "img", "picture")
    corrupt = parquet(tmp_path / "corrupt", broken=17)
    refused(alphaprune("run", "quickstart", "--data", corrupt, "--storage", storage), "train.parquet", "row 17")
    assert not list(storage.glob("*"))


def test_cifar10_without_a_network_says_what_to_do_instead(tmp_path: Path) -> None:
    # A proxy that refuses immediately amounts to no network on any machine.
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-m", "alphaprune", "run", "cifar10-small", "--storage", tmp_path / "r"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert "--data" in last
    assert "train.parquet" in last
    assert str(tmp_path / "cache") in last
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_unwritable_storage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(alphaprune("run", "quickstart", "--storage", tmp_path / "file" / "in"), "--storage", "in")
    refused(alphaprune("run", "quickstart", "--storage", tmp_path / "file"), "--storage")
    refused(alphaprune("run", "quickstart", "--storage", "/proc/nowhere"), "--storage")


def test_a_taken_name(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    refused(alphaprune("run", "quickstart", "--name", "mine", "--storage", tmp_path), "--name", "mine")


def test_commands_on_a_missing_experiment(tmp_path: Path) -> None:
    for command in (["rank", "none"], ["status", "none"], ["trial", "none", "3"]):
        refused(alphaprune(*command, "--storage", tmp_path), "none", "alphaprune run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "experiment.json").write_text("{}")
    refused(alphaprune("rank", "none", "--storage", tmp_path), "it holds: other")
    refused(alphaprune("trial", "other", "--storage", tmp_path), "NUMBER")


def _nothing(folder: Path) -> None:
    """There is no experiment with that name."""


def _foreign(folder: Path) -> None:
    folder.mkdir()
    (folder / "experiment.json").write_text('{"name": "e", "settings": {"model": "resnet"}, "data": []}')


def _without_data(folder: Path) -> None:
    _begun(folder)
    record = json.loads((folder / "experiment.json").read_text())
    del record["data"]
    (folder / "experiment.json").write_text(json.dumps(record))


def _half_written(folder: Path) -> None:
    _begun(folder)
    text = (folder / "experiment.json").read_text()
    (folder / "experiment.json").write_text(text[: len(text) // 2])


def _begun(folder: Path) -> None:
    """No dense network and no trial yet, and recorded for different images."""
    write_experiment(ExperimentFolder(folder), resolve_settings(read_preset("quickstart")))


# All commands on an experiment `e` and its trial 0.
ON_AN_EXPERIMENT: list[list[object]] = [
    ["status", "e"],
    ["rank", "e"],
    ["measure", "e"],
    ["report", "e"],
    ["confirm", "e"],
    ["export", "e", 0, "--to", "network"],
    ["branch", "e", 0, "--at-alpha", 0.5, "--local"],
    ["branch", "e", 0, "--at-alpha", 0.5, "--later"],
    ["resume", "e", "--local"],
    ["resume", "e", "--local", "--trials", 100],
    ["trial", "e", 0],
    ["compare", "e", "e"],
    ["remove", "e"],
]


def test_all_commands_on_an_experiment_are_covered() -> None:
    there = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
    assert {str(command[0]) for command in ON_AN_EXPERIMENT} == there - {"run", "list", "settings", "check"}


@pytest.mark.parametrize("made", [_nothing, _foreign, _without_data, _half_written, _begun])
@pytest.mark.parametrize("command", ON_AN_EXPERIMENT, ids=lambda command: " ".join(map(str, command[:1] + command[4:])))
def test_every_command_on_a_folder_that_is_not_an_experiment(
    made: Callable[[Path], None], command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused in one line with nothing written; commands that only show things show what there is, if anything."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r").mkdir()
    made(tmp_path / "r" / "e")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = alphaprune(*command, "--storage", "r")
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert "Traceback" not in result.output
    shown = command[0] in ("status", "rank", "report") and made in (_without_data, _begun)
    assert result.exit_code == (0 if shown else 2), result.output
    if shown:
        (tmp_path / "r" / "e" / "report.html").unlink(missing_ok=True)
    else:
        assert result.stderr.strip().splitlines()[-1].startswith("alphaprune: ")
        assert result.stdout == ""
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("command", ON_AN_EXPERIMENT, ids=lambda command: " ".join(map(str, command[:1] + command[4:])))
@pytest.mark.parametrize("rest", ["whole", "unknown"])
def test_an_experiment_of_a_newer_version_is_refused_by_every_command(
    rest: str, command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with a trial that could be ranked, exported, branched and repeated; or one that cannot be read at all."""
    monkeypatch.chdir(tmp_path)
    folder = ExperimentFolder(tmp_path / "r" / "e")
    write_experiment(folder, resolve_settings(read_preset("quickstart")))
    trial = folder.trial_folder(0)
    trial.create(TrialRecord(0, as_json(TrialConfig(epochs=2)), state="complete", cut=make_cut()))
    for epoch in (1, 2):
        trial.append_row(make_row(epoch))
    if rest == "whole":
        folder.write_record(replace(folder.read_record(), format=FORMAT + 1))
    else:
        write_json(folder.record_path, {"format": FORMAT + 1, "experiment": {"trials": [[0, "complete"]]}})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = alphaprune(*command, "--storage", "r")
    refused(result, "r/e/experiment.json was written by a newer version of alphaprune", f"(format {FORMAT + 1}, ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_report_to_an_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    _begun(tmp_path / "r" / "e")
    refused(alphaprune("report", "e", "--storage", tmp_path / "r", "--to", tmp_path), "--to", "directory")
    refused(alphaprune("report", "e", "--storage", tmp_path / "r", "--to", "/proc/report.html"), "--to", "/proc")


COMMANDS = (
    *("run", "trial", "resume", "branch", "confirm"),
    *("settings", "status", "list", "rank", "measure", "report", "export", "compare", "remove"),
)


def test_help_describes_every_command_in_a_whole_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = alphaprune("--help")
    assert shown.exit_code == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} .*\w\.$", shown.stdout, re.MULTILINE), command


def test_help_of_run_names_the_shipped_presets() -> None:
    shown = alphaprune("run", "--help").stdout
    for preset, summary in summarize_presets().items():
        assert f"{preset} - {summary}" in " ".join(shown.split())


def test_settings_lists_them_and_those_of_a_preset(tmp_path: Path) -> None:
    assert "\n  trial.pruning.amount = 0.75\n" in alphaprune("settings").stdout
    (tmp_path / "mine.toml").write_text("[trial.pruning]\namount = 0.9\n")
    shown = alphaprune("settings", tmp_path / "mine.toml")
    assert "\n* trial.pruning.amount = 0.9  (default: 0.75)\n" in shown.stdout
    rows = json.loads(alphaprune("settings", "quickstart", "--format", "json").stdout)
    assert [row["value"] for row in rows if row["name"] == "dense.width"] == [0.25]


def test_settings_of_an_unknown_preset(tmp_path: Path) -> None:
    refused(alphaprune("settings", "quikstart"), "'quikstart'", "did you mean 'quickstart'")
    (tmp_path / "mine.toml").write_text("[trial.pruning]\namout = 0.9\n")
    refused(alphaprune("settings", tmp_path / "mine.toml"), "did you mean 'trial.pruning.amount'")


def test_settings_as_a_schema_say_how_to_use_it() -> None:
    shown = alphaprune("settings", "--schema")
    assert json.loads(shown.stdout)["properties"]["extends"]["type"] == "string"
    assert "#:schema settings.schema.json" in shown.stderr
    refused(alphaprune("settings", "quickstart", "--schema"), "--schema", "'quickstart'")


def test_the_shipped_presets_are_listed_with_what_they_are_for() -> None:
    assert json.loads(alphaprune("list", "--presets", "--format", "json").stdout) == [
        {"name": name, "summary": summary} for name, summary in summarize_presets().items()
    ]
    shown = alphaprune("list", "--presets").stdout
    for name, summary in summarize_presets().items():
        assert f"{name} {summary[:40]}" in " ".join(shown.split())


@pytest.mark.slow
def test_more_gpus_than_there_are(tmp_path: Path) -> None:
    result = alphaprune("run", "quickstart", "--gpus-per-trial", "64", "--storage", tmp_path / "r")
    refused(result, "--gpus-per-trial", "64")
    assert not list(tmp_path.glob("r/*"))


@pytest.mark.slow
def test_an_address_where_nobody_answers(tmp_path: Path) -> None:
    refused(alphaprune("run", "quickstart", "--address", "127.0.0.1:9", "--storage", tmp_path / "r"), "127.0.0.1:9")
    assert not list(tmp_path.glob("r/*"))


def test_status_as_json_prints_only_json(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "experiment.json").write_text(json.dumps({"name": "e", "settings": {}}))
    result = alphaprune("status", "e", "--storage", tmp_path, "--format", "json")
    assert result.exit_code == 0
    assert isinstance(json.loads(result.stdout), dict)


def test_the_first_line_names_the_experiment_and_why_it_is_a_new_one(tmp_path: Path) -> None:
    refused = alphaprune("run", "quickstart", "--storage", tmp_path, "--data", "nowhere")
    assert refused.stderr.splitlines()[0] == f"experiment: {tmp_path / 'quickstart'}"
    (tmp_path / "quickstart").mkdir()
    refused = alphaprune("run", "quickstart", "--storage", tmp_path, "--data", "nowhere")
    first, second, *_ = refused.stderr.splitlines()
    assert first == f"experiment: {tmp_path / 'quickstart-2'}"
    assert "'quickstart' already exists" in second
    assert second.endswith(f"alphaprune resume quickstart --storage {tmp_path}")


def test_list_shows_every_experiment(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _begun(tmp_path / name)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "experiment.json").write_text("{")
    shown = alphaprune("list", "--storage", tmp_path)
    assert shown.exit_code == 0
    assert [line.split()[:2] for line in shown.stdout.splitlines()[2:]] == [["a", "interrupted"], ["b", "interrupted"]]
    assert f"{tmp_path / 'c' / 'experiment.json'} is damaged" in shown.stderr
    again = json.loads(alphaprune("list", "--storage", tmp_path, "--format", "json").stdout)
    assert [each["command"] for each in again] == [f"alphaprune resume {name} --storage {tmp_path}" for name in "ab"]


def test_list_of_an_empty_storage(tmp_path: Path) -> None:
    shown = alphaprune("list", "--storage", tmp_path / "none")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "holds no experiment yet" in shown.stderr
    assert alphaprune("list", "--storage", tmp_path, "--format", "json").stdout == "[]\n"
