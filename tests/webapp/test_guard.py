"""What the page's server refuses, with a stand-in behind it."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("gradio", reason="Gradio is not installed")

from webapp.guard import Guard


def ask(path, folder, body=b"", method="GET"):
    """Asks a guarded application that answers 200 with the body that it got."""

    async def application(scope, receive, send):
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})

    parts = [body[start : start + 2**20] for start in range(0, len(body), 2**20)] or [b""]
    messages = [
        {"type": "http.request", "body": part, "more_body": number < len(parts)}
        for number, part in enumerate(parts, 1)
    ]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "method": method, "headers": []}
    with ThreadPoolExecutor(1) as pool:  # in this thread, browsers of other tests have a loop
        pool.submit(asyncio.run, Guard(application, folder)(scope, receive, send)).result()
    return sent[0]["status"], b"".join(one.get("body", b"") for one in sent)


@pytest.mark.parametrize(
    "path",
    [
        "/", "/config", "/theme.css", "/assets/index-1.js", "/gradio_api/upload",
        "/gradio_api/queue/data", "/gradio_api/heartbeat/a1b2",
    ],
)  # fmt: skip
def test_what_the_page_asks_for_is_open(tmp_path, path):
    assert ask(path, tmp_path)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/monitoring", "/gradio_api/proxy=http://a.b/c", "/gradio_api/file=http://a.b/c",
        "/gradio_api/run/predict", "/gradio_api/call/predict", "/gradio_api/runs", "/docs",
        "/gradio_api/vibe-code/", "/gradio_api/process_recording", "/gradio_api/openapi.json",
        "/gradio_api/info",
        "/gradio_api/component_server", "/gradio_api/file/etc/passwd", "/gradio_api/file=",
        "/login",
    ],
)  # fmt: skip
def test_all_else_is_closed(tmp_path, path):
    assert ask(path, tmp_path)[0] == 403


def test_files_are_served_of_one_folder(tmp_path):
    own, other = tmp_path / "own", tmp_path / "own2"
    own.mkdir()
    other.mkdir()
    (own / "link").symlink_to(other)
    assert ask(f"/gradio_api/file={own}/a.png", own)[0] == 200
    for path in (
        "/etc/passwd", f"{other}/a.png", f"{own}/../own2/a.png", f"{own}/link/a.png", f"{own}",
        "own/a.png", "outside.txt",
    ):  # fmt: skip
        assert ask(f"/gradio_api/file={path}", own)[0] == 403


@pytest.mark.parametrize("address", ["http://a.b/c.png", "https://a.b", " HTTP://a.b", "ftp://a.b"])
def test_an_event_names_no_file_by_an_address(tmp_path, address):
    body = json.dumps({"data": [[{"path": address, "meta": {"_type": "gradio.FileData"}}]]})
    escaped = body.replace("h", "\\u0068")  # the same JSON
    for text in (body, escaped):
        assert ask("/gradio_api/queue/join", tmp_path, text.encode(), "POST")[0] == 400


def test_an_event_arrives_whole(tmp_path):
    value = {"data": [{"path": "/tmp/a.png", "url": "http://127.0.0.1/a.png"}, "x" * 3_000_000]}
    body = json.dumps(value).encode()
    assert ask("/gradio_api/queue/join", tmp_path, body, "POST") == (200, body)


@pytest.mark.parametrize("body", [b"no JSON", b"[" * 100_000, b"\xff\xfe", b"x" * (2**24 + 1)])
def test_what_is_no_event_is_refused(tmp_path, body):
    assert ask("/gradio_api/queue/join", tmp_path, body, "POST")[0] == 400
