"""The file or folder of annotations: what lies there, each file read as rarely as possible."""

from functools import cached_property
from pathlib import Path

from tqdm import tqdm

from errors import UserError
from utils.convert.annotations import read_json_text
from utils.convert.text import encoding_note

_KEPT_BYTES = (
    32 * 2**20
)  # of JSON that is kept between guess and scan; in memory several times that
_OUTLINE_DEPTH = 4
_OUTLINE_KEYS = 40


class Source:
    """What the setting `annotations` names.

    Args:
        path: str or Path of a file or folder.

    Raises:
        UserError: if there is neither, or the folder holds no files.
    """

    def __init__(self, path):
        self.path = Path(path)
        if not self.path.exists():
            raise UserError(
                f"There is no file or folder {path}. Set annotations to a folder of annotation "
                "files, or to one such file."
            )
        if not self.files:
            raise UserError(f"{path} holds no files, nor do its subfolders.")
        self._kept, self._kept_bytes = {}, 0
        self._encoding_notes = {}

    @property
    def folder(self):
        """Path: itself, or the folder of the one file."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def files(self):
        """Paths of the file itself, or of all in the folder, sorted; hidden ones don't count."""
        if self.path.is_file():
            return [self.path]
        # Hidden folders hold copies that editors keep, and macOS' archives hidden files.
        return sorted(
            one
            for one in self.path.rglob("*")
            if not any(map(_is_hidden, one.relative_to(self.path).parts)) and one.is_file()
        )

    def having(self, *extensions):
        """The paths whose extension is one of these, in small letters, such as ".json"."""
        return [path for path in self.files if path.suffix.lower() in extensions]

    def need(self, extension):
        """As `having`; raises UserError if there are none."""
        found = self.having(extension)
        if not found:
            raise UserError(
                f"There are no {extension} files in {self.path}, nor in its subfolders. Set "
                "annotations to where they are, or format to auto."
            )
        return found

    def show(self, path):
        """str, how messages name one of the files: from `annotations` on."""
        return str(path.relative_to(self.folder))

    def read(self, path):
        """The content of a JSON file; raises UserError as `read_json`."""
        if path in self._kept:
            return self._kept.pop(path)
        return self._read(path)

    def _read(self, path):
        data, encoding = read_json_text(path)
        if note := encoding_note(path, encoding):
            self._encoding_notes[path] = note
        return data

    @property
    def notes(self):
        """list of str for the user: on the first file whose encoding was guessed."""
        notes = list(self._encoding_notes.values())
        more = [f"So were {len(notes) - 1} other files."] if len(notes) > 1 else []
        return notes[:1] + more

    @cached_property
    def outlines(self):
        """{path: outline} of the JSON files that can be read, to guess the format by.

        An outline has the upper keys of an object, the first element of a list, and of
        everything else the value.
        """
        found = {}
        for path in tqdm(self.having(".json"), "Looking for the format", disable=None, leave=False):
            try:
                data = self._read(path)
            except UserError:
                continue  # whoever converts it says why
            found[path] = _outline(data, _OUTLINE_DEPTH)
            self._keep(path, data)
        return found

    def _keep(self, path, data):
        """Saves the second reading of a file, unless it takes too much memory."""
        self._kept_bytes += path.stat().st_size
        if self._kept_bytes <= _KEPT_BYTES or not self._kept:
            self._kept[path] = data


def _is_hidden(name):
    return name.startswith(".") or name == "__MACOSX"


def _outline(data, depth):
    if isinstance(data, dict):
        keys = list(data)[:_OUTLINE_KEYS] if depth else []
        return {key: _outline(data[key], depth - 1) for key in keys}
    if isinstance(data, list):
        return [_outline(one, depth - 1) for one in data[: min(1, depth)]]
    return data[:80] if isinstance(data, str) else data


def guess_json(matches, evidence):
    """The guess of a format of JSON files: `evidence`, and the first file that matches.

    Args:
        matches: function(content or outline of a file) -> bool.
        evidence: str, such as "'shapes'".

    Returns:
        function(Source) -> str or None.
    """

    def guess(source):
        first = next((path for path, data in source.outlines.items() if matches(data)), None)
        return None if first is None else f"{evidence} in {source.show(first)}"

    return guess
