"""A folder on Ray: every image's result is there, once, whoever is killed."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_networks import segment_folder
from stand_ins import FolderUnet, MortalUnet, files_in, write_blocks

import predict
from errors import RunError, UserError
from predict import PredictConfig
from utils.config import run_script, take
from utils.files import TEMPORARY
from utils.images.foreign import is_installed
from utils.messages import note
from utils.prediction.folder import Job
from utils.prediction.on_ray import Worker, divide, wait_for
from utils.prediction.output_paths import plan_results
from utils.prediction.outputs import Wanted
from utils.prediction.ray_cluster import plan_workers

ROOT = Path(predict.__file__).parent
needs_ray = pytest.mark.skipif(not is_installed("ray"), reason="Ray is not installed")

# Settings


def results_in(folder):
    """`files_in`, without what a killed process was writing, which has a hidden name."""
    return {
        name: content
        for name, content in files_in(folder).items()
        if not TEMPORARY.fullmatch(name.rpartition("/")[2])
    }


def error_of(capsys, **settings):
    """What is said of a run of a folder that is refused; status 2."""
    with pytest.raises(SystemExit) as caught:
        run_script(lambda: predict.main(PredictConfig(**settings)))
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_ray_is_of_folders(capsys):
    assert error_of(capsys, ray="local") == (
        "error: ray is of a folder: mode must be dir_predict; got 'predict'.\n"
    )


def test_workers_are_not_negative(capsys):
    said = error_of(capsys, mode="dir_predict", ray="local", ray_workers=-1)
    assert said == "error: ray_workers must be at least 0; got -1.\n"


def test_without_ray_one_sentence_says_how_to_get_it(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("utils.prediction.ray_cluster.is_installed", lambda package: False)
    said = error_of(capsys, mode="dir_predict", dir_origin_path=str(tmp_path), ray="local")
    assert said == "error: Ray is not installed: pip install -r requirements-ray.txt\n"


@pytest.mark.parametrize(
    ("settings", "engine"),
    [({"ray": "local"}, "keras"), ({}, "auto")],
)
def test_workers_do_not_measure_engines_side_by_side(settings, engine):
    config = PredictConfig(mode="dir_predict", **settings)
    assert predict.loader_of(config).keywords["engine"] == engine


# Plans


@given(st.integers(0, 3000), st.integers(1, 40), st.sampled_from([1, 3, 4, 16]))
def test_chunks_are_full_batches_and_hold_each_image_once(count, workers, batch_size):
    images = list(range(count))
    chunks = divide(images, workers, batch_size)
    assert list(itertools.chain(*chunks)) == images
    assert all(len(chunk) % batch_size == 0 for chunk in chunks[:-1])
    assert len(chunks) < 2 or all(batch_size <= len(one) < 17 * batch_size for one in chunks)
    if count >= 4 * workers * batch_size:
        assert len(chunks) >= 4 * workers


@pytest.mark.parametrize(
    ("count", "machines", "expected"),
    [
        (0, [{"CPU": 16.0}], (4, {"num_cpus": 4})),
        (0, [{"CPU": 2.0}], (1, {"num_cpus": 2})),
        (2, [{"CPU": 2.0}], (2, {"num_cpus": 1})),
        (3, [{"CPU": 2.0}], (3, {"num_cpus": 1})),
        (0, [{"CPU": 8.0}, {"CPU": 8.0}], (4, {"num_cpus": 4})),
        (2, [{"CPU": 12.0}, {"CPU": 4.0}], (2, {"num_cpus": 4})),
        (0, [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}], (2, {"num_cpus": 1, "num_gpus": 1})),
        (5, [{"CPU": 8.0, "GPU": 2.0}], (5, {"num_cpus": 1, "num_gpus": 1})),
        (0, [{"memory": 1.0}, {"CPU": 4.0}], (1, {"num_cpus": 4})),
        (0, [{"memory": 1.0}], (1, {"num_cpus": 1})),
    ],
)
def test_workers_claim_what_machines_have(count, machines, expected):
    nodes = [{"Alive": True, "Resources": one} for one in machines]
    gone = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
    assert plan_workers(count, [*nodes, gone]) == expected


# A worker, without Ray


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with six images in `in`, the current one, in which the network is a stand-in."""
    monkeypatch.setattr("unet.Unet", FolderUnet)
    monkeypatch.chdir(tmp_path)
    write_blocks(tmp_path / "in", 6)
    return tmp_path


def job_of(**settings):
    config = PredictConfig(
        mode="dir_predict", dir_origin_path="in", dir_save_path="out", **settings
    )
    return take(Job, config, wanted=take(Wanted, config))


def test_a_worker_writes_what_a_run_without_it_writes(folder):
    settings = {"confidence": True, "annotations": "labelme"}
    assert segment_folder(folder, **settings) == 0
    expected = files_in(folder / "out")
    shutil.rmtree("out")
    worker = Worker(FolderUnet, job_of(**settings), str(folder))
    assert worker.start().facts == ([], FolderUnet.description.name_classes, None)
    results = plan_results("in", "out")
    for _ in range(2):  # as one that was killed, or whose answer was lost, does it again
        for some in (results[:4], results[4:]):
            assert worker.segment(some).failed == {}
        assert files_in(folder / "out") == expected


def test_a_worker_tells_what_fails_and_what_is_to_be_said(folder):
    (folder / "in" / "002.png").write_bytes(b"no image")
    worker = Worker(FolderUnet, job_of(), str(folder))
    worker.start()
    note("the engine is another one")
    results = plan_results("in", "out")
    reply = worker.segment(results)
    assert list(reply.failed) == [results[2]]
    assert "002.png can't be read" in reply.failed[results[2]]
    assert list(reply.notes) == ["the engine is another one"]
    assert list(worker.segment(results).notes) == []


def test_a_machine_that_does_not_share_the_folder_is_named(folder):
    worker = Worker(FolderUnet, job_of(), str(folder / "none"))
    with pytest.raises(UserError) as caught:
        worker.start()
    assert str(caught.value).endswith(
        f" can't open {folder / 'none'} (No such file or directory). On Ray, all machines share "
        "the folders of the program, the images and the results, under the same paths."
    )


def test_results_that_are_not_seen_here_are_an_error(folder, monkeypatch):
    monkeypatch.setattr("utils.prediction.on_ray._PATIENCE", 0)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    results, outputs = plan_results("in", "out"), job_of().open_outputs()
    with pytest.raises(RunError) as caught:
        wait_for(results, outputs)
    assert str(caught.value).startswith(
        f"6 images are segmented, but their results are not here, such as {Path('out/000.png')}. On"
    )


def test_results_may_be_seen_a_little_later(folder, monkeypatch):
    results = plan_results("in", "out")
    late = iter(path for one in results for path in (one.drawn, one.mask))

    def write_next(seconds):
        path = next(late)
        path.parent.mkdir(exist_ok=True)
        path.touch()

    monkeypatch.setattr(time, "sleep", write_next)
    wait_for(results, job_of().open_outputs())
    assert next(late, None) is None


# Ray


@pytest.fixture
def on_ray(tmp_path, monkeypatch):
    """on_ray(**settings): segments the folder `in` with two workers; returns the status."""
    # Where workers find the stand-ins.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    return partial(segment_folder, tmp_path, ray="local", ray_workers=2)


@needs_ray
@pytest.mark.slow
def test_killed_workers_lose_nothing_but_what_kills_them(tmp_path, monkeypatch, on_ray, capsys):
    write_blocks(tmp_path / "in", 60)
    for number, name in ((5, "once"), (40, "fatal")):
        (tmp_path / "in" / f"{number:03d}.png").rename(tmp_path / "in" / f"{number:03d}_{name}.png")
    monkeypatch.setattr("unet.Unet", FolderUnet)
    assert segment_folder(tmp_path, count=True) == 0
    expected = files_in(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr("unet.Unet", MortalUnet)
    capsys.readouterr()
    assert on_ray(count=True) == 1
    assert (tmp_path / "killed").exists()
    printed = capsys.readouterr()
    assert "Ray: 2 workers with 1 processor each." in printed.out
    assert f"56 images are segmented; {tmp_path / 'out'} holds them." in printed.out
    failures = printed.err.splitlines()
    assert failures[0] == "error: 4 of 60 images failed:"
    fatal = f"  The image {tmp_path / 'in' / '040_fatal.png'} was not finished: the worker that"
    assert any(line.startswith(fatal) for line in failures)
    monkeypatch.setattr("unet.Unet", FolderUnet)
    assert on_ray(count=True, resume=True) == 0
    assert results_in(tmp_path / "out") == expected


@needs_ray
@pytest.mark.slow
def test_where_there_is_no_cluster_one_sentence_says_so(folder, capsys):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    said = error_of(capsys, mode="dir_predict", dir_origin_path="in", ray=address)
    assert said == (
        f"error: Ray can't be used at '{address}' ([Errno 111] Connection refused). Start a "
        "cluster (ray start --head) and give its HOST:PORT, or give local.\n"
    )


@needs_ray
@pytest.mark.slow
def test_a_mistake_that_workers_find_is_one_sentence(tmp_path, on_ray, capsys):
    write_blocks(tmp_path / "in", 3)
    weights = tmp_path / "none.weights.h5"
    with pytest.raises(SystemExit) as caught:
        run_script(lambda: on_ray(model_path=(str(weights),)))
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: No weights file {weights}. Train first")
    assert not (tmp_path / "out").exists()


@needs_ray
@pytest.mark.slow
def test_a_real_network_and_a_killed_worker(tmp_path, start_weights):
    """As users run it; the bytes are those of a run without Ray."""
    write_blocks(tmp_path / "in", 200)
    shared = [
        sys.executable, "predict.py", "--mode", "dir_predict", "--model_path", start_weights(),
        "--dir_origin_path", str(tmp_path / "in"), "--count", "--confidence",
        "--annotations", "coco", "--dir_save_path",
    ]  # fmt: skip
    subprocess.run([*shared, tmp_path / "without"], cwd=ROOT, check=True, timeout=600)
    process = subprocess.Popen(
        [*shared, tmp_path / "with", "--ray", "local", "--ray_workers", "2"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(
            lambda: any((tmp_path / "with").glob("*_mask.png")) or process.poll() is not None
        )
        assert process.poll() is None, process.communicate()
        workers = workers_of(process.pid)
        busy = next((one for one in workers if ".segment" in workers[one]), min(workers))
        os.kill(busy, signal.SIGKILL)
        assert len(list((tmp_path / "with").glob("*_mask.png"))) < 200
        assert len(workers) == 2
        printed, errors = process.communicate(timeout=600)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")
    assert f"200 images are segmented; {tmp_path / 'with'} holds them." in printed
    found = results_in(tmp_path / "with")
    assert len(found) == 200 * 4 + 3  # the joined table, COCO's file, and its classes
    assert found == files_in(tmp_path / "without")


def wait_until(condition, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def workers_of(process):
    """{id: name} of the processes below one that are workers with a network."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            names[int(folder.name)] = (folder / "cmdline").read_text().rstrip("\0")
        except OSError:  # it has ended
            continue
        parents[int(folder.name)] = int(stat[1])

    def is_below(one):
        while one and one != process:
            one = parents.get(one)
        return one == process

    workers = {one: name for one, name in names.items() if name.startswith("ray::Worker")}
    return {one: name for one, name in workers.items() if is_below(one)}
