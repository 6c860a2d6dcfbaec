"""Who has the page open, and a folder for each that nobody else can name."""

import os
import secrets
import shutil
import threading
from pathlib import Path

from errors import UserError


class Visitor:
    """A page that is open in a browser.

    Args:
        folder: Path of what it made; there need not be one yet.

    Attributes:
        folder: as given.
        uploads: set of str, paths of the files that it sent.
        run: what the tab Predict shows of it, a `webapp.predict_run.Run`; or None.
        stopped: threading.Event, set when what it is segmenting is to end.
    """

    def __init__(self, folder):
        self.folder, self.uploads, self.run = folder, set(), None
        self.stopped = threading.Event()

    def new_folder(self):
        """A new folder, empty; what the visitor had before is removed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir(parents=True)
        return folder


class Visitors:
    """Visitors by the number that Gradio gives each opened page.

    Args:
        root: Path, the folder that holds theirs; None: Gradio's for files of visitors.
    """

    def __init__(self, root=None):
        self._root, self._visitors, self._lock = root, {}, threading.Lock()

    def of(self, request):
        """The Visitor of a `gradio.Request`.

        Raises:
            UserError: if it comes from no page.
        """
        number = request.session_hash
        if not number:
            raise UserError("Only the page itself can ask for this. Open it in a browser.")
        with self._lock:
            if number not in self._visitors:
                root = self._root or os.environ["GRADIO_TEMP_DIR"]
                self._visitors[number] = Visitor(Path(root) / secrets.token_hex(32))
            return self._visitors[number]

    def end(self, request):
        """Removes all that a visitor sent and got, but for files that another one sent too."""
        with self._lock:
            visitor = self._visitors.pop(request.session_hash, None)
            if visitor is None:
                return
            shared = {path for one in self._visitors.values() for path in one.uploads}
        shutil.rmtree(visitor.folder, ignore_errors=True)
        for path in visitor.uploads - shared:
            Path(path).unlink(missing_ok=True)
