"""The command that tries a space out: check."""

from typing import Annotated

import typer

from search.cli.app import Set, app, print_data, refuse_invalid_requests
from search.preset_files import read_preset


@app.command()
def check(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="Name of a shipped preset, or a TOML file.")],
    samples: Annotated[int, typer.Option(metavar="NUMBER", help="How many trials are drawn at random.", min=1)] = 100,
    overrides: Set = [],  # noqa: B006
) -> None:
    """Try the space of a preset out.

    Draws trials at random, checks each, and says how many are distinct and which choices were never drawn. Trains
    nothing; the first trial that is not valid is shown, with exit code 2.
    """
    from search.settings import resolve_settings

    with refuse_invalid_requests():
        settings = resolve_settings(read_preset(preset), overrides)
        from search.space_check import sample_space

        print_data(f"{sample_space(settings, samples)}\n")
