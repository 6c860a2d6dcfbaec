"""The page's server, asked without a browser."""

import os
import socket
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="Gradio is not installed")

from fastapi.testclient import TestClient

from errors import UserError
from webapp.page import LOOK, build_page
from webapp.private import private_files
from webapp.served import Served
from webapp.serving import Address, make_app, serve

SESSION = "abcdefghij"


@pytest.fixture(scope="module")
def client(site):
    """A client of the page, which is served from `site`."""
    former = Path.cwd()
    os.chdir(site)
    try:
        with private_files() as folder:
            page = build_page(Served((Path("logs"),), 10**6))
            address = Address("127.0.0.1", 7860)
            with TestClient(
                make_app(page, address, folder, 1, LOOK), base_url="http://127.0.0.1:7860"
            ) as client:
                client.folder = folder
                yield client
    finally:
        os.chdir(former)


def upload(client, name, content):
    return client.post("/gradio_api/upload", files={"files": (name, content)})


def event_of(client, name):
    """The number of the event whose function has this name, and its inputs' count."""
    for event in client.get("/config").json()["dependencies"]:
        if event["api_name"] == name:
            return event["id"], len(event["inputs"])
    raise AssertionError(f"no event {name}")


def call(client, name, data, session=SESSION):
    """Sends an event as the page does; returns the last message that comes back."""
    number, _ = event_of(client, name)
    body = {"data": data, "fn_index": number, "session_hash": session}
    joined = client.post("/gradio_api/queue/join", json=body)
    assert joined.status_code == 200, joined.text
    with client.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
        for line in stream.iter_lines():
            if "process_completed" in line:
                return line
    raise AssertionError("the event did not end")


def as_file(path):
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}, "orig_name": "a.png"}


def test_the_page_is_served(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert "unet-keras" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "outside.txt", "logs/secret.txt", "../site0/outside.txt", "app.log",
        "{cwd}/logs/secret.txt", "{cwd}/outside.txt", "{folder}/../../../../etc/passwd",
        "{folder}", "http://127.0.0.1:1/", ".gradio/cached_examples/1/a.png",
    ],
)  # fmt: skip
def test_no_file_outside_is_served(client, path):
    path = path.format(cwd=Path.cwd(), folder=client.folder)
    for quoted in (path, path.replace("/", "%2f"), path.replace(".", "%2e")):
        answer = client.get(f"/gradio_api/file={quoted}")
        assert answer.status_code in (403, 404)
        assert "secret" not in answer.text and "root:" not in answer.text


def test_an_upload_lies_in_the_private_folder_and_is_given_back(client):
    (path,) = upload(client, "../../a.png", b"12").json()
    assert Path(path).is_relative_to(client.folder)
    assert Path(path).name == "a.png"
    assert client.get(f"/gradio_api/file={path}").content == b"12"
    assert os.stat(client.folder).st_mode & 0o077 == 0


def test_an_upload_may_have_so_many_megabytes(client):
    assert upload(client, "a.png", bytes(2**20)).status_code == 200
    assert upload(client, "b.png", bytes(2**20 + 1)).status_code == 413


@pytest.mark.parametrize("path", ["/etc/passwd", "{cwd}/logs/secret.txt", "outside.txt"])
def test_an_event_reads_no_file_that_was_not_uploaded(client, path):
    path = path.format(cwd=Path.cwd())
    before = {one for one in client.folder.rglob("*") if one.is_file()}
    data = [[as_file(path)], "logs/made/best_epoch_weights.weights.h5", "none", "auto"]
    answer = call(client, "segment", [*data, "Classes", 70, False])
    assert '"success":false' in answer.replace(" ", "")
    assert "secret" not in answer.replace("secret.txt", "")
    assert {one for one in client.folder.rglob("*") if one.is_file()} == before


@pytest.mark.parametrize("weights", ["../outside.txt", "/etc/passwd", "model_data/x.weights.h5"])
def test_weights_lie_in_the_served_folders(client, weights):
    answer = call(client, "describe", [weights])
    assert "lies outside" in answer or '"success":false' in answer.replace(" ", "")


def test_a_page_of_another_name_is_refused(client):
    assert client.get("/", headers={"host": "elsewhere.example"}).status_code == 400
    assert client.get("/", headers={"host": "localhost:7860"}).status_code == 200


def test_the_private_folder_goes(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    with pytest.raises(KeyboardInterrupt), private_files() as folder:
        (folder / "mask.png").write_bytes(b"1")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    assert "GRADIO_TEMP_DIR" not in os.environ


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port}: .*in use.* Set --port, such as"):
            serve(None, Address("127.0.0.1", port), None, 1, {})


def test_a_host_that_there_is_not():
    with pytest.raises(UserError, match=r"Nothing can be served at 203\.0\.113\.1, port 7860: "):
        serve(None, Address("203.0.113.1", 7860), None, 1, {})
