"""The exceptions whose messages are for users.

`nets` and `utils` both raise them and neither imports the other, so they stand beside them.
Scripts print the message alone (`utils.config.run_script`); every other exception is a
defect of the program and keeps its traceback.
"""


class UserError(ValueError):
    """A mistake that the user can mend; status 2.

    The message says what was found, what was expected and what to do.
    """


class RunError(Exception):
    """What was asked for is possible but did not work out, such as a loss of NaN; status 1."""
