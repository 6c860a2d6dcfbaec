"""A lock on a folder, which its process holds until it ends, however it ends."""

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt


class FolderLock:
    """Marks a folder as in use by this process. The system frees it when the process ends.

    Args:
        folder: str or Path of an existing folder; its file `.lock` is made.

    Attributes:
        held: bool, whether this process got it; False if another one has it.
    """

    def __init__(self, folder):
        self._file = open(Path(folder) / ".lock", "a")  # noqa: SIM115 - open as long as held
        self.held = self._try()
        if not self.held:
            self._file.close()

    def _try(self):
        try:
            if fcntl:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                os.lseek(self._file.fileno(), 0, os.SEEK_SET)
                msvcrt.locking(self._file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def __reduce__(self):
        return type(None), ()  # sent to another process, it is None: that one has no lock

    def release(self):
        """Frees the folder; not needed before the process ends."""
        self._file.close()
        self.held = False
