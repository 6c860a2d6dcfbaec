"""Probabilities as files: read back by NumPy and by tifffile."""

import numpy as np
import pytest
import tifffile

from utils.prediction.probability_files import write_probabilities

NAMES = ("background", "cell", "細胞核")


@pytest.fixture
def probabilities(rng):
    return rng.dirichlet(np.ones(3), (20, 31)).astype(np.float16)


def test_an_archive_of_numpy(tmp_path, probabilities):
    path = tmp_path / "out" / "a_probabilities.npz"
    write_probabilities(path, probabilities, NAMES)
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive) == {"probabilities", "name_classes"}
        assert archive["probabilities"].dtype == np.float16
        np.testing.assert_array_equal(archive["probabilities"], probabilities)
        assert archive["name_classes"].tolist() == list(NAMES)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("classes", [2, 3, 30])
def test_a_tiff_has_a_named_page_for_each_class(tmp_path, rng, classes):
    probabilities = rng.random((20, 31, classes)).astype(np.float32)
    names = NAMES[:classes] + tuple(f"class {index}" for index in range(3, classes))
    path = tmp_path / "a_probabilities.tif"
    write_probabilities(path, probabilities, names)
    with tifffile.TiffFile(path) as file:
        assert (len(file.pages), file.series[0].axes) == (classes, "CYX")
        assert file.imagej_metadata["Labels"] == list(names)
        found = file.asarray()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.moveaxis(found, 0, -1), probabilities)


@pytest.mark.parametrize(
    ("kind", "writer"), [("npz", "numpy.savez_compressed"), ("tif", "tifffile.imwrite")]
)
def test_a_full_disk_leaves_no_file(tmp_path, probabilities, monkeypatch, kind, writer):
    def fail(file, *_, **__):
        (file.write if kind == "npz" else file.write_bytes)(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(writer, fail)
    with pytest.raises(OSError, match="no space left"):
        write_probabilities(tmp_path / f"a.{kind}", probabilities, NAMES)
    assert list(tmp_path.iterdir()) == []
