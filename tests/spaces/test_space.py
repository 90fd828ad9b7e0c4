"""A preset names its space; a wrong name or option says what is wrong in one line, before anything starts."""

import logging
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import FixedTrial

from spaces.space import load_space
from trainable.config import TrialConfig

TRIAL = FixedTrial({"alpha_lr": 0.02})
Write = Callable[[str], None]


@pytest.fixture
def write(write_module: Callable[[str, str], None]) -> Write:
    """Writes `my_space.py`."""
    head = "from dataclasses import replace\nfrom trainable.config import TrialConfig\n"
    return lambda body: write_module("my_space", head + body)


def message(name: str, options: dict[str, object] | None = None) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the caller checks the message
        load_space(name, options or {})
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_shipped_space_takes_its_options() -> None:
    space = load_space("spaces.alpha_pruning:alpha_pruning", {"scopes": ["uniform"], "families": ["cosine"]})
    params = {
        **{"alpha_fraction": 0.3, "lr_span": "retrain", "alpha_lr": 0.01, "lr.policy": "cosine", "lr.peak": 0.05},
        **{"pruning.amount": 0.5, "pruning.criterion": "l1"},
        **{"optimizer.weight_decay": 5e-4, "optimizer.label_smoothing": 0.0},
    }
    config = space(FixedTrial(params), TrialConfig(epochs=30, seed=5))
    assert (config.alpha.family, config.pruning.scope, config.epochs, config.seed) == ("cosine", "uniform", 30, 5)


@pytest.mark.parametrize(
    ("signature", "options", "epochs"),
    [
        ("trial, base", {}, 30),
        ("trial, base, *, epochs=7", {"epochs": 9}, 9),
        ("trial, *, base, epochs=7", {}, 7),
        ("trial, epochs, base", {"epochs": 9}, 9),
        ("t, base=TrialConfig(epochs=3)", {}, 30),
        ("trial, base, **rest", {"epochs": 9}, 30),
        ("trial", {}, 18),
        ("trial, epochs=7", {"epochs": 9}, 9),
        ("trial, epochs=7", {}, 7),
        ("*trials, epochs", {"epochs": 9}, 9),
    ],
)
def test_a_users_function_gets_what_it_takes(
    write: Write, signature: str, options: dict[str, object], epochs: int
) -> None:
    write(
        f"def space({signature}):\n"
        "    known = locals()\n"
        "    config = known.get('base', TrialConfig())\n"
        "    first = known['trials'][0] if 'trials' in known else known.get('trial', known.get('t'))\n"
        "    alpha_lr = first.suggest_float('alpha_lr', 0.01, 0.05)\n"
        "    return replace(config, alpha_lr=alpha_lr, epochs=known.get('epochs', config.epochs))\n"
    )
    config = load_space("my_space:space", options)(TRIAL, TrialConfig(epochs=30))
    assert (config.alpha_lr, config.epochs) == (0.02, epochs)


def test_a_space_survives_pickling(write: Write) -> None:
    write("def space(trial, base, *, alpha_lr):\n    return replace(base, alpha_lr=alpha_lr)\n")
    space = pickle.loads(pickle.dumps(load_space("my_space:space", {"alpha_lr": 0.5})))
    assert space(TRIAL, TrialConfig()).alpha_lr == 0.5


def test_a_file_here_hides_no_installed_module(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tabnanny", raising=False)
    (tmp_path / "tabnanny.py").write_text("raise RuntimeError\n")
    write("import tabnanny\ndef space(trial):\n    return TrialConfig()\n")
    assert load_space("my_space:space", {})(TRIAL, TrialConfig()) == TrialConfig()


@pytest.mark.parametrize("name", ["my_space", "my_space:", ":space", "my_space.py:space:x", "my-space:space", ""])
def test_a_name_of_another_form_is_refused(name: str) -> None:
    assert message(name) == f"space.function must be package.module:function, but got {name!r}; e.g. 'my_space:space'"


def test_no_such_module(write: Write, tmp_path: Path) -> None:
    assert message("my_spaec:space") == (
        "space 'my_spaec:space': ModuleNotFoundError: No module named 'my_spaec', neither installed nor in "
        f"{tmp_path}; fix the name or run in its folder"
    )
    assert "No module named 'spaces.beta_pruning', neither" in message("spaces.beta_pruning:space")
    write("")
    assert "No module named 'my_space.py'; 'my_space' is not a package, neither" in message("my_space.py:space")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("import torhc\n", "ModuleNotFoundError: No module named 'torhc'"),
        ("from trainable.config import TrialConfigs\n", "ImportError: cannot import name 'TrialConfigs'"),
        ("def space(trial:\n    pass\n", "SyntaxError: "),
        ("raise RuntimeError('two\\nlines')\n", "RuntimeError: two lines"),
    ],
)
def test_an_error_inside_the_users_module_is_shown(write: Write, body: str, error: str) -> None:
    write(body)
    text = message("my_space:space")
    assert f"space 'my_space:space': importing my_space raised {error}" in text
    assert "neither installed" not in text


def test_no_such_function(write: Write, tmp_path: Path) -> None:
    write("def small_space(trial): ...\ndef wide(trial): ...\n")
    file = tmp_path / "my_space.py"
    # `replace` and TrialConfig are there too, but are not the module's own.
    assert message("my_space:smal_space") == (
        f"space 'my_space:smal_space': {file} has no 'smal_space'; the nearest is 'small_space'"
    )


def test_a_module_without_functions(write: Write) -> None:
    write("")
    assert message("my_space:space").endswith("my_space.py has no 'space'; it has no function")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("space = 3.5\n", "must be a function, but is 3.5"),
        ("space = lambda trial: TrialConfig()\n", "must be importable by workers, but is a lambda or a local function"),
        (
            "def make():\n    def space(trial):\n        return TrialConfig()\n    return space\nspace = make()\n",
            "must be importable by workers, but is a lambda or a local function",
        ),
        (
            "import threading\nclass Space:\n    lock = None\n    def __call__(self, trial):\n"
            "        return TrialConfig()\nspace = Space()\nspace.lock = threading.Lock()\n",
            "must be importable by workers, but cannot be: TypeError: cannot pickle '_thread.lock' object",
        ),
        ("def space():\n    return TrialConfig()\n", "must take an optuna.Trial as its first argument"),
        ("def space(*, trial):\n    return TrialConfig()\n", "must take an optuna.Trial as its first argument"),
        ("def space(**options):\n    return TrialConfig()\n", "must take an optuna.Trial as its first argument"),
        ("def space(trial, config):\n    return config\n", "needs 'config', which is not among its options"),
    ],
)
def test_what_is_not_a_space_is_refused(write: Write, body: str, problem: str) -> None:
    write(body)
    assert f"space 'my_space:space' {problem}" in message("my_space:space")


@pytest.mark.parametrize(
    ("signature", "options", "problem"),
    [
        ("trial, base, *, amount=0.5", {"amuont": 0.5}, "takes no option 'amuont'; the nearest is 'amount'"),
        ("trial, base", {"amount": 0.5}, "takes no option 'amount'; it takes none"),
        ("trial, base, amount=0.5", {"base": {}}, "takes no option 'base'; "),
        ("trial, base, amount=0.5", {"trial": 1}, "takes no option 'trial'; "),
        ("trial, **options", {"base": {}}, "takes no option 'base'; "),
        ("trial, **options", {"trial": {}}, "takes no option 'trial'; "),
    ],
)
def test_options_that_the_function_does_not_take_are_refused(
    write: Write, signature: str, options: dict[str, object], problem: str
) -> None:
    write(f"def space({signature}):\n    return TrialConfig()\n")
    assert f"space 'my_space:space' {problem}" in message("my_space:space", options)


def test_a_result_that_is_not_a_config_is_refused(write: Write) -> None:
    write("def space(trial):\n    return {'epochs': 3}\n")
    space = load_space("my_space:space", {})
    with pytest.raises(ValueError, match="must return a TrialConfig, but returned a dict; "):
        space(TRIAL, TrialConfig())


def test_whose_code_will_run_is_said_of_a_module_that_is_already_imported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "alphaprune"):
        load_space("json:loads", {})
    assert [text.partition(" from ")[0] for text in caplog.messages] == ["importing the space json:loads"]


def test_whose_code_will_run_is_said_before_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foreign_space.py").write_text("raise SystemExit('it ran')")
    with caplog.at_level(logging.INFO, "alphaprune"), pytest.raises(SystemExit, match="it ran"):
        load_space("foreign_space:space", {})
    assert caplog.messages == [
        f"importing the space foreign_space:space from {tmp_path / 'foreign_space.py'}; its code runs in this process"
    ]


def test_nothing_is_said_of_the_shipped_space(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "alphaprune"):
        load_space("spaces.alpha_pruning:alpha_pruning", {})
    assert caplog.messages == []
