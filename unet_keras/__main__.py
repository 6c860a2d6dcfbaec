"""The command line of the installed package: unet-keras predict --image street.jpg

Each command is a script of the project, with all its settings. Folders that settings name, such as
VOCdevkit and logs, are those of the folder where the command is run.
"""

import difflib
import importlib.metadata
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

from errors import UserError
from unet_keras.commands import COMMANDS
from utils.script import run_script

# Installed, all modules lie within the package; in the repository, beside it.
_WITHIN = UserError.__module__.removesuffix("errors")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command and ends the process, as the script behind it does.

    Args:
        argv: the command and its settings; None: the command line.
    """
    run_script(partial(run_command, sys.argv[1:] if argv is None else argv))


def run_command(argv: Sequence[str]) -> Any:
    """Runs a command.

    Returns:
        What the script's `main` returns.

    Raises:
        UserError: for a command that there is not; and as the script.
    """
    command, *settings = argv or ["--help"]
    if command in ("-h", "--help", "help"):
        print(describe_commands())
        return None
    if command in ("-V", "--version"):
        print(f"unet-keras {_version()}")
        return None
    if command not in COMMANDS:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise UserError(
            f"There is no command {command}. {hint}There are {', '.join(COMMANDS)}; "
            "unet-keras --help says what they do."
        )
    script, _ = COMMANDS[command]
    sys.argv = [f"unet-keras {command}", *settings]  # what a script reads, and --help shows
    return import_module(f"{_WITHIN}{script}").main()


def describe_commands() -> str:
    """What `unet-keras --help` says."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {meaning}" for name, (_, meaning) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: unet-keras COMMAND [--SETTING VALUE ...]",
            "",
            *lines,
            "",
            "unet-keras COMMAND --help lists the settings of a command.",
        ]
    )


def _version() -> str:
    try:
        return importlib.metadata.version("unet-keras")
    except importlib.metadata.PackageNotFoundError:
        return "of the repository"


if __name__ == "__main__":
    main()
