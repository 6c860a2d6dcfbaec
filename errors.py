"""The one exception for mistakes that the user can mend.

`nets` and `utils` both raise it and neither imports the other, so it stands beside them.
Scripts print its message and exit with status 2 (`utils.config.run_script`); every other
exception is a defect of the program and keeps its traceback.
"""


class UserError(ValueError):
    """Bad input. The message says what was found, what was expected and what to do."""
