"""Where the files of visitors are while the page is served."""

import contextlib
import os
import tempfile
from pathlib import Path


@contextlib.contextmanager
def private_files():
    """A folder that only this user can read, for what visitors send and get; gone at the end.

    Gradio must be imported within it: it then looks for the place of its files, and makes one,
    and for leave to tell its makers how it is used.
    """
    with tempfile.TemporaryDirectory(prefix="unet_keras_", ignore_cleanup_errors=True) as folder:
        folder = os.path.realpath(folder)
        told = {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        former = {name: os.environ.get(name) for name in told}
        os.environ.update(told)
        try:
            yield Path(folder)
        finally:
            for name, value in former.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
