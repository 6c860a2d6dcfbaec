"""What lies where `annotations` points."""

import json

import pytest

from errors import UserError
from utils.convert import source as module
from utils.convert.source import Source, guess_json


@pytest.fixture
def folder(tmp_path):
    """b.json, A.JSON, sub/c.txt, and what is hidden."""
    for name in ("b.json", "A.JSON", "sub/c.txt", ".a.json", ".h/d.json", "__MACOSX/e.json"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"name": name}))
    return tmp_path / "data"


def test_the_files_of_a_folder(folder):
    source = Source(folder)
    assert [source.show(path) for path in source.having(".json")] == ["A.JSON", "b.json"]
    assert [path.name for path in source.files] == ["A.JSON", "b.json", "c.txt"]
    assert source.having(".json") == source.need(".json")
    assert source.folder == folder


def test_one_file(folder):
    source = Source(folder / "b.json")
    assert source.files == [folder / "b.json"]
    assert (source.folder, source.show(source.path)) == (folder, "b.json")


def test_what_is_hidden_above_the_folder_does_not_hide_it(folder):
    assert [path.name for path in Source(folder / ".h").files] == ["d.json"]


def test_nothing_there(folder, tmp_path):
    with pytest.raises(UserError, match=r"^There is no file or folder .*gone\. Set annotations to"):
        Source(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no files, nor do its subfolders\.$"):
        Source(tmp_path / "empty")
    with pytest.raises(UserError, match=r"There are no \.xml files in .*data, nor in its subfol"):
        Source(folder).need(".xml")


@pytest.mark.parametrize("kept", [0, 10**6])
def test_outlines_and_contents(kept, folder, monkeypatch):
    """Whether a file is kept or read a second time, its content is the same."""
    monkeypatch.setattr(module, "_KEPT_BYTES", kept)
    content = {"a": [{"b": {"c": {"d": [1]}}}, 2], "e": "x" * 100}
    (folder / "b.json").write_text(json.dumps(content))
    (folder / "A.JSON").write_text("{")
    source = Source(folder)
    assert source.outlines == {
        folder / "b.json": {"a": [{"b": {"c": {}}}], "e": "x" * 80},
    }
    assert source.read(folder / "b.json") == source.read(folder / "b.json") == content
    with pytest.raises(UserError, match=r"A\.JSON can't be read as JSON"):
        source.read(folder / "A.JSON")


def test_the_first_file_that_matches(folder):
    guess = guess_json(lambda data: data.get("name") == "b.json", "'name'")
    assert guess(Source(folder)) == "'name' in b.json"
    assert guess(Source(folder / "A.JSON")) is None
