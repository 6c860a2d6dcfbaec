"""The exceptions whose messages are for users, and the checks that most settings need.

`nets` and `utils` both use them and neither imports the other, so they stand beside them.
Scripts print the message alone (`utils.script.run_script`); every other exception is a
defect of the program and keeps its traceback.
"""

from collections.abc import Collection


class UserError(ValueError):
    """A mistake that the user can mend; status 2.

    The message says what was found, what was expected and what to do.
    """


class RunError(Exception):
    """What was asked for is possible but did not work out, such as a loss of NaN; status 1."""


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raises UserError unless a setting has one of the values that it may have."""
    if value not in choices:
        raise UserError(f"{name} must be one of {', '.join(map(str, choices))}; got {value!r}.")


def check_at_least(settings: object, least: float, *names: str) -> None:
    """Raises UserError unless these attributes of `settings` are `least` or more, or None."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and value < least:
            raise UserError(f"{name} must be at least {least}; got {value}.")
