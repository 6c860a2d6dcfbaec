"""Fonts of class names: found where they are, and one note where they are not."""

import pytest
from matplotlib import font_manager

from utils import fonts
from utils.fonts import MAIN_FONT, font_file, installed_fonts, missing_letters, writable_names

OTHER = "STIXGeneral"  # comes with matplotlib too, and has letters that the main font lacks
LETTER = chr(min(font_file(OTHER)[2] - font_file(MAIN_FONT)[2]))


@pytest.fixture(autouse=True)
def unknown(monkeypatch):
    """As in a new process on a system without any of the fallbacks."""
    monkeypatch.setattr(fonts, "FALLBACK_FONTS", ())
    monkeypatch.setattr(fonts, "_noted", [])
    installed_fonts.cache_clear()
    yield
    installed_fonts.cache_clear()


def test_names_that_can_be_written_stay(capsys):
    names = ["road", "naïve café", "кошка", "a b", ""]
    assert writable_names(names) == names
    assert capsys.readouterr() == ("", "")


def test_a_name_without_font_becomes_a_number_and_is_noted_once(capsys):
    names = ["road", f"{LETTER} road", LETTER]
    assert writable_names(names) == ["road", "class 1", "class 2"]
    note = capsys.readouterr().err
    assert note.startswith(f"note: no font that is known here has {LETTER} of the class names")
    assert note.count("\n") == 1
    assert writable_names([LETTER]) == ["class 0"]
    assert capsys.readouterr() == ("", "")


def test_many_letters_are_counted(capsys):
    writable_names(["".join(map(chr, range(0x10F000, 0x10F008)))])
    assert "and 2 more letters of the class names" in capsys.readouterr().err


def test_letters_may_come_from_several_fonts(monkeypatch):
    monkeypatch.setattr(fonts, "FALLBACK_FONTS", (OTHER,))
    assert missing_letters([f"road {LETTER}", "猫"]) <= {"猫"}
    assert writable_names([f"road {LETTER}"]) == [f"road {LETTER}"]


def test_fonts_that_are_newer_than_matplotlib_s_list_are_found(monkeypatch, capsys, tmp_path):
    path = font_file(OTHER)[0]
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    monkeypatch.setattr(fonts, "FALLBACK_FONTS", (OTHER,))
    known = [entry for entry in font_manager.fontManager.ttflist if entry.name != OTHER]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", known)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(broken), path])
    assert writable_names([LETTER]) == [LETTER]
    assert capsys.readouterr() == ("", "")
