"""Which folders the page shows: nothing outside them is read for a visitor."""

from dataclasses import dataclass
from pathlib import Path

from errors import UserError


@dataclass(frozen=True)
class Served:
    """Folders whose files the page may read and write.

    Attributes:
        folders: tuple of Path, as given.
        max_pixels: int. Images of more are refused.
    """

    folders: tuple[Path, ...]
    max_pixels: int

    def resolve(self, text: str) -> Path:
        """The path that a visitor typed, if it lies in one of the folders.

        Links are followed first, so that none leads out.

        Raises:
            UserError: for a path outside, whether it exists or not.
        """
        try:
            path = Path(text.strip()).resolve()
            inside = any(path.is_relative_to(folder.resolve()) for folder in self.folders)
        except (OSError, RuntimeError, ValueError):  # a loop of links, a zero byte
            inside = False
        if not inside:
            names = ", ".join(str(folder) for folder in self.folders)
            raise UserError(
                f"{text.strip()!r} lies outside the folders that this page shows: {names}. Start "
                "app.py with --folders to show others."
            )
        return path
