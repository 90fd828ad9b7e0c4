"""Presets: found, read as UTF-8, merged with what they extend; what is wrong is said in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.preset_files import list_presets, read_preset
from search.settings import as_settings_json, resolve_settings


def test_an_unknown_preset_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'quickstart'"):
        read_preset("quickstrat")
    with pytest.raises(ValueError, match="TOML file that exists"):
        read_preset(str(tmp_path / "none.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_text("[trial\n")
    with pytest.raises(ValueError, match="not valid TOML"):
        read_preset(str(broken))
    with pytest.raises(ValueError, match="TOML file that exists"):
        read_preset("x" * 300 + ".toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ValueError, match="TOML file that exists"):
        read_preset(str(tmp_path / "folder.toml"))


WORDS = '[space]\nfunction = "größe:raum"\n'


@pytest.mark.parametrize("locale", ["C", "POSIX", "de_DE.ISO-8859-1", "C.UTF-8"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_preset_is_utf_8_whatever_the_locale(tmp_path: Path, locale: str, encoding: str) -> None:
    path = tmp_path / "größe.toml"
    path.write_text(WORDS, encoding)
    code = (
        "import sys; from search.preset_files import summarize_presets, read_preset; summarize_presets(); "
        "print(ascii(read_preset(sys.argv[1])['space']['function']))"
    )
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-X", "warn_default_encoding", "-W", "error::EncodingWarning", "-c", code, path]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == ascii("größe:raum")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_preset_in_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(WORDS, encoding)
    with pytest.raises(ValueError, match=rf"^{path} must be UTF-8 text, but has byte 0x.. in position \d+; save it"):
        read_preset(str(path))


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_file_extends_a_shipped_preset_and_wins_key_by_key(tmp_path: Path) -> None:
    mine = write(
        tmp_path / "mine.toml",
        'extends = "quickstart"\n[trial]\nepochs = 9\npruning = { amount = 0.9 }\n[space.options]\namounts = [0.8]\n',
    )
    settings, base = resolve_settings(read_preset(mine)), resolve_settings(read_preset("quickstart"))
    assert settings.trial.epochs == 9
    assert (settings.trial.pruning.amount, settings.trial.pruning.round_to) == (0.9, base.trial.pruning.round_to)
    assert settings.space.options == {"amounts": [0.8]}
    assert (settings.data, settings.dense, settings.controls) == (base.data, base.dense, base.controls)
    assert "extends" not in as_settings_json(settings)


def test_an_empty_extension_is_the_preset_itself(tmp_path: Path) -> None:
    for preset in list_presets():
        assert read_preset(write(tmp_path / "mine.toml", f'extends = "{preset}"\n')) == read_preset(preset)


def test_files_extend_files_relative_to_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "shared" / "base.toml", 'extends = "../root.toml"\n[trial]\nepochs = 7\nalpha_fraction = 0.4\n')
    write(tmp_path / "root.toml", "[trial]\nepochs = 5\nseed = 3\n")
    mine = write(tmp_path / "mine" / "mine.toml", 'extends = "../shared/base.toml"\n[trial]\nalpha_fraction = 0.6\n')
    assert read_preset(mine) == {"trial": {"epochs": 7, "seed": 3, "alpha_fraction": 0.6}}
    monkeypatch.chdir(tmp_path / "mine")
    assert read_preset("mine.toml") == read_preset(mine)


def test_another_family_does_not_inherit_the_parameters_of_the_first(tmp_path: Path) -> None:
    write(
        tmp_path / "base.toml", '[trial]\nalpha = { family = "exponential", rate = 3 }\nlr = { policy = "plateau" }\n'
    )
    mine = write(
        tmp_path / "mine.toml",
        'extends = "base.toml"\n[trial]\nalpha = { family = "cosine" }\nlr = { policy = "plateau", patience = 4 }\n',
    )
    assert read_preset(mine)["trial"]["alpha"] == {"family": "cosine"}
    assert resolve_settings(read_preset(mine)).trial.alpha.family == "cosine"
    assert read_preset(mine)["trial"]["lr"] == {"policy": "plateau", "patience": 4}


def test_options_of_a_space_may_be_called_anything(tmp_path: Path) -> None:
    write(tmp_path / "base.toml", '[space.options]\nfamily = "a"\nsize = 1\n')
    mine = write(tmp_path / "mine.toml", 'extends = "base.toml"\n[space.options]\nfamily = "b"\n')
    assert read_preset(mine)["space"]["options"] == {"family": "b", "size": 1}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"mine": "mine.toml"}, "'mine.toml' extends 'mine.toml'; take one `extends` out"),
        (
            {"mine": "a.toml", "a": "b.toml", "b": "a.toml"},
            "'a.toml' extends 'b.toml' extends 'a.toml'; take one `extends` out",
        ),
        ({"mine": "none.toml"}, "mine.toml must be one of .*, or a TOML file that exists, but got 'none.toml'"),
        ({"mine": "quikstart"}, "did you mean 'quickstart'"),
        ({"mine": ""}, "mine.toml must be one of .* but got ''"),
    ],
)
def test_what_cannot_be_extended_is_refused_in_one_line(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, base in files.items():
        write(tmp_path / f"{name}.toml", f'extends = "{base}"\n')
    with pytest.raises(ValueError, match=message) as refused:
        read_preset(str(tmp_path / "mine.toml"))
    assert "\n" not in str(refused.value)


def test_what_is_extended_is_a_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`extends` in .*mine.toml must be the name of .*, but got \['quickstart'\]"):
        read_preset(write(tmp_path / "mine.toml", 'extends = ["quickstart"]\n'))


def test_an_unknown_key_next_to_extends_is_refused(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.toml", 'extends = "quickstart"\n[trial]\nepoch = 3\n')
    with pytest.raises(ValueError, match=r"did you mean 'trial\.epochs'"):
        resolve_settings(read_preset(mine))
