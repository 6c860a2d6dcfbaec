"""Where the results of images go."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from utils.prediction.output_paths import (
    Result,
    ResultNames,
    _name_results,
    expand_patterns,
    plan_results,
)


@pytest.fixture
def touch(tmp_path):
    """touch(*names): makes empty files in the temporary folder; returns their paths."""

    def make(*names):
        paths = [tmp_path / name for name in names]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return paths

    return make


def relative(paths, folder):
    return [Path(path).relative_to(folder).as_posix() for path in paths]


# Patterns


def test_patterns_are_replaced_by_what_they_match_sorted(touch, tmp_path):
    touch("b.tif", "a.tif", "c.png", "sub/d.tif", "sub/deep/e.tif")
    plain = str(tmp_path / "c.png")
    found = expand_patterns([plain, str(tmp_path / "*.tif"), str(tmp_path / "s*" / "**" / "*.tif")])
    names = ["c.png", "a.tif", "b.tif", "sub/d.tif", "sub/deep/e.tif"]
    assert relative(found, tmp_path) == names


def test_a_pattern_without_a_match_stays(tmp_path):
    given = [str(tmp_path / "*.tif"), str(tmp_path / "none.png")]
    assert expand_patterns(given) == given
    assert expand_patterns([]) == []


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(touch, tmp_path):
    odd, _ = touch("scan[1].png", "scan1.png")
    assert expand_patterns([str(odd)]) == [str(odd)]


# Names in one folder


def test_the_files_of_an_image(tmp_path):
    result = ResultNames(tmp_path / "out").of("img/street.view.jpg")
    assert result == Result("img", "street.view.jpg", str(tmp_path / "out"), "street.view")
    assert result.image == Path("img/street.view.jpg")
    assert os.fspath(result) == f"{result}" == str(result.image)
    named = (result.drawn, result.mask, result.regions, result.confidence, result.npz, result.tif)
    assert list(named) == result.files
    assert relative(result.files, tmp_path / "out") == [
        "street.view.png",
        "street.view_mask.png",
        "street.view_regions.csv",
        "street.view_confidence.png",
        "street.view_probabilities.npz",
        "street.view_probabilities.tif",
    ]


def test_images_of_one_stem_are_numbered_and_keep_their_numbers():
    names = ResultNames("out")
    images = ["one/a.png", "two/a.png", "one/a.jpg"]
    drawn = [names.of(image).drawn.name for image in images]
    assert drawn == ["a.png", "a_2.png", "a_3.png"]
    assert [names.of(image).drawn.name for image in images] == drawn
    assert names.of("one/../two/a.png").drawn.name == "a_2.png"


def test_no_result_takes_the_name_of_another_s_mask():
    names = ResultNames("out")
    first, second = names.of("a.jpg"), names.of("a_mask.jpg")
    assert first.mask.name == "a_mask.png"
    assert second.drawn.name == "a_mask_2.png"
    assert not set(first.files) & set(second.files)


def test_results_are_never_written_over_images(tmp_path):
    images = [tmp_path / "a.png", tmp_path / "b.jpg", tmp_path / "b_mask.png"]
    names = ResultNames(tmp_path, images)
    assert names.of(images[0]).drawn.name == "a_2.png"
    assert names.of(images[1]).mask.name == "b_2_mask.png"


def test_an_image_that_is_typed_is_kept_too(tmp_path):
    assert ResultNames(tmp_path).of(tmp_path / "a.png").drawn == tmp_path / "a_2.png"


# Folders


def test_results_lie_as_the_images_lie(touch, tmp_path):
    touch("in/b.png", "in/a.JPG", "in/sub/c.tif", "in/sub/deep/d.webp", "in/notes.txt")
    results = plan_results(tmp_path / "in", str(tmp_path / "out"))
    assert relative([one.image for one in results], tmp_path / "in") == [
        "a.JPG",
        "b.png",
        "sub/c.tif",
        "sub/deep/d.webp",
    ]
    assert relative([one.drawn for one in results], tmp_path / "out") == [
        "a.png",
        "b.png",
        "sub/c.png",
        "sub/deep/d.png",
    ]
    assert results[2].mask == tmp_path / "out" / "sub" / "c_mask.png"
    assert results[2].regions == tmp_path / "out" / "sub" / "c_regions.csv"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("images", "drawn"),
    [
        (["a.jpg", "a.png", "b.png"], ["a.jpg.png", "a.png.png", "b.png"]),
        (["A.jpg", "a.tif"], ["A.jpg.png", "a.tif.png"]),  # one file on some systems
        (["e\u0301.jpg", "é.tif"], ["e\u0301.jpg.png", "é.tif.png"]),  # likewise
        (["a.jpg", "a_mask.jpg"], ["a.jpg.png", "a_mask.jpg.png"]),
        (["a.jpg", "a_mask_mask.jpg"], ["a.png", "a_mask_mask.png"]),
        (["a.jpg", "a.jpg.tif", "a.png"], ["a.jpg.png", "a.jpg.tif.png", "a.png.png"]),
        (["a.jpg", "sub/a.png"], ["a.png", "sub/a.png"]),
    ],
)
def test_images_that_would_share_a_result_keep_their_extension(touch, tmp_path, images, drawn):
    touch(*(f"in/{name}" for name in images))
    results = plan_results(tmp_path / "in", tmp_path / "out")
    assert relative([one.drawn for one in results], tmp_path / "out") == drawn
    written = [str(path).lower() for one in results for path in one.files]
    assert len(set(written)) == 6 * len(images)


@given(st.lists(st.text("aA._é", min_size=1, max_size=3), max_size=6), st.data())
def test_no_two_images_share_a_result(starts, data):
    ends = st.sampled_from([".jpg", ".png", "_mask.png", "_confidence.tif", ".jpg.tif"])
    names = {f"a{start}{data.draw(ends)}" for start in starts}
    results = [Result("in", name, "out", base) for name, base in _name_results(names)]
    written = [str(path).lower() for one in results for path in one.files]
    assert len({one.name.lower() for one in results}) < len(results) or (
        len(set(written)) == len(written)
    )


def test_what_is_wanted_changes_no_name(touch, tmp_path):
    touch("in/a.jpg", "in/a.png", "in/b.png", "in/sub/c.png")
    every = plan_results(tmp_path / "in", tmp_path / "out")
    asked = []
    for wanted in ("a.png", "sub/c.png", "none"):
        found = plan_results(
            tmp_path / "in",
            tmp_path / "out",
            lambda name, wanted=wanted: asked.append(name) or name == wanted,
        )
        assert found == [one for one in every if one.image == tmp_path / "in" / wanted]
    assert asked == ["a.jpg", "a.png", "b.png", "sub/c.png"] * 3


def test_a_result_s_name_depends_on_its_folder_alone(touch, tmp_path):
    touch("in/a.jpg", "in/a.png", "in/c.png")
    before = plan_results(tmp_path / "in", tmp_path / "out")
    touch("in/b.png", "in/z/a.jpg")
    assert set(before) < set(plan_results(tmp_path / "in", tmp_path / "out"))


def test_hidden_files_and_results_inside_are_left_out(touch, tmp_path):
    touch("in/a.png", "in/.b.png", "in/.trash/c.png", "in/out/a.png", "in/out/sub/d.png")
    results = plan_results(tmp_path / "in", tmp_path / "in" / "out")
    assert relative([one.image for one in results], tmp_path / "in") == ["a.png"]


def test_a_hidden_folder_that_is_asked_for_is_taken(touch, tmp_path):
    touch(".in/a.png")
    assert len(plan_results(tmp_path / ".in", tmp_path / "out")) == 1


def test_no_folder_is_named(tmp_path, touch):
    touch("file.png")
    for origin in (tmp_path / "none", tmp_path / "file.png"):
        with pytest.raises(UserError) as caught:
            plan_results(origin, tmp_path / "out")
        assert str(caught.value) == (
            f"There is no folder {origin}. Set dir_origin_path to that of your images."
        )


def test_a_folder_without_images_is_named(tmp_path, touch):
    touch("in/notes.txt", "in/.hidden.png")
    with pytest.raises(UserError) as caught:
        plan_results(tmp_path / "in", tmp_path / "out")
    assert str(caught.value) == (
        f"There is no image in {tmp_path / 'in'}, nor in the folders in it."
    )


@pytest.mark.parametrize("save", ["in", "in/.", "", "in/../in"])
def test_results_among_the_images_are_refused(tmp_path, touch, save):
    touch("in/a.png")
    with pytest.raises(UserError) as caught:
        plan_results(tmp_path / "in", tmp_path / save)
    assert str(caught.value) == (
        f"dir_save_path {str(tmp_path / save)!r} holds the images themselves "
        f"({tmp_path / 'in'}); results could overwrite them. Choose another dir_save_path."
    )


def test_results_in_the_images_folder_by_another_name_are_refused(tmp_path, touch):
    touch("in/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(UserError, match="holds the images themselves"):
        plan_results(tmp_path / "in", tmp_path / "link")


def test_a_folder_that_can_t_be_listed_is_an_error(tmp_path, touch, monkeypatch):
    touch("in/a.png", "in/sub/b.png")
    listing = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="sub"):
        plan_results(tmp_path / "in", tmp_path / "out")
