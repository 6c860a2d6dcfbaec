"""What the pages say of themselves: links, lengths, and that both languages say the same."""

import re
from urllib.parse import unquote

import pytest
from pages import (
    DOCS,
    PAGES,
    ROOT,
    find_anchors,
    find_blocks,
    find_commands,
    find_links,
    find_spans,
    read,
)

LINES = 200  # of the longest page
# {page in Chinese: the same page in English}
TRANSLATED = {"README.zh-CN.md": "README.md"} | {
    str(path.relative_to(ROOT)): f"docs/{path.name}"
    for path in DOCS
    if path.parent.name == "zh"
}  # fmt: skip

TEXT = """# A page's `name` (1)

## The same

## The same

Run `python train.py
--num_classes 3` or `pip install x && python demo.py`; `python` is a word. [a](b.md#c)

   ```sh
   python predict.py  # types
   ```

```text
python not_a_command.py
```

| `a \\| b` |
"""


def test_blocks_commands_links_and_anchors_are_found():
    assert find_blocks(TEXT) == [
        ("sh", "python predict.py  # types\n"),
        ("text", "python not_a_command.py\n"),
    ]
    assert [(one.text, one.block) for one in find_commands(TEXT)] == [
        ("python predict.py  # types", 0),
        ("python train.py --num_classes 3", None),
        ("pip install x", None),
        ("python demo.py", None),
    ]
    assert find_commands(TEXT)[0].words == ["python", "predict.py"]
    assert find_commands(TEXT)[1].script == "train" and find_commands(TEXT)[2].script is None
    assert find_commands(TEXT)[1].settings == ["--num_classes", "3"]
    assert find_links(TEXT) == ["b.md#c"]
    assert find_anchors(TEXT) == ["a-pages-name-1", "the-same", "the-same-1"]
    assert "a | b" in find_spans(TEXT) and "name" in find_spans(TEXT)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for link in find_links(read(name)):
        if re.match(r"https?://", link):
            continue
        target, _, anchor = unquote(link).partition("#")
        path = (PAGES[name].parent / target).resolve() if target else PAGES[name]
        assert path.is_file(), link
        assert ROOT in path.parents, f"{link} leaves the project"
        if anchor:
            assert anchor in find_anchors(path.read_text(encoding="utf-8")), link


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        links = find_links(page.read_text(encoding="utf-8"))
        targets = [link.partition("#")[0] for link in links if "://" not in link]
        waiting += [
            (page.parent / unquote(one)).resolve() for one in targets if one.endswith(".md")
        ]
    assert set(PAGES.values()) <= reached


@pytest.mark.parametrize("name", sorted(set(PAGES) - {"benchmarks/README.md"}))
def test_pages_are_short(name):
    assert len(read(name).splitlines()) <= LINES


def test_the_readme_is_two_screens():
    assert len(read("README.md").splitlines()) <= LINES / 2


@pytest.mark.parametrize("chinese", TRANSLATED)
def test_both_languages_have_the_same_code_and_commands(chinese):
    ours, theirs = read(chinese), read(TRANSLATED[chinese])
    assert find_blocks(ours) == find_blocks(theirs)
    assert sorted(one.text for one in find_commands(ours)) == sorted(
        one.text for one in find_commands(theirs)
    )


@pytest.mark.parametrize("chinese", TRANSLATED)
def test_both_languages_link_to_each_other(chinese):
    english = TRANSLATED[chinese]
    assert (PAGES[chinese].parent / find_links(read(chinese))[0]).resolve() == PAGES[english]
    assert any(
        (PAGES[english].parent / link).resolve() == PAGES[chinese]
        for link in find_links(read(english))
    )


def test_what_is_translated():
    names = ("article", "data", "training", "troubleshooting")
    assert {f"docs/zh/{name}.md" for name in names} < set(TRANSLATED)


@pytest.mark.parametrize("chinese", sorted(set(TRANSLATED) - {"README.zh-CN.md"}))
def test_both_languages_have_the_same_tables(chinese):
    """As many rows, in the same order: what stands between backticks in a row is the same.

    README's table of pages is another: most of them are in English alone.
    """
    ours, theirs = (
        [sorted(find_spans(row)) for row in read(name).splitlines() if row.startswith("|")]
        for name in (chinese, TRANSLATED[chinese])
    )
    assert ours == theirs


def test_the_install_commands_are_where_the_checks_look_for_them():
    """.ci/run takes the lines that begin with it, the demo's first."""
    lines = [line for line in read("README.md").splitlines() if line.startswith("pip install -r ")]
    assert [line.partition(" && ")[2] for line in lines] == ["python demo.py", "python -m pytest"]
