"""A service on a free port, and requests to it, for tests."""

import contextlib
import http.client
import json
import threading
import time
from typing import NamedTuple

import uvicorn

from webapp.address import listen
from webapp.service import Limits, make_service

PATIENCE = 300  # seconds that a slow machine may take


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]


@contextlib.contextmanager
def serving(batches, max_bytes=2**20, max_wait=60.0):
    """Runs a service of a `Batches`; gives its port."""
    app = make_service(batches, Limits(max_bytes, max_wait))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_for(lambda: server.started)
            yield port
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


def wait_for(condition, patience=PATIENCE):
    """Waits until a callable returns something true; returns it."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")


def wait_until_ready(port):
    wait_for(lambda: get(port, "/health").status == 200)


def get(port, path):
    return send(port, "GET", path)


def post(port, body, query="", headers=None):
    headers = {"Content-Type": "application/octet-stream"} | (headers or {})
    return send(port, "POST", f"/predict{query}", body, headers)


def send(port, method, path, body=None, headers=None):
    """A Reply; a `body` that is an iterator goes in chunks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, names, answer.read())


def form(content, name="image", filename='filename="street.jpg"'):
    """(body, headers) of a form with one file."""
    body = (
        f'--edge\r\nContent-Disposition: form-data; name="{name}"; {filename}\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    return body + content + b"\r\n--edge--\r\n", headers
