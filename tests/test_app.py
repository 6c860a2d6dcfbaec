"""app.py as users start it."""

import subprocess
import sys

import pytest
from browser import ROOT, free_port, running_app, stop_app

import app
from app import AppConfig
from errors import UserError


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_is_1_to_65535(port):
    with pytest.raises(UserError, match="port must be at "):
        AppConfig(port=port)


@pytest.mark.parametrize("name", ["max_pixels", "max_upload_mb"])
def test_limits_are_at_least_1(name):
    with pytest.raises(UserError, match=f"{name} must be at least 1; got 0"):
        AppConfig(**{name: 0})


def test_without_gradio(monkeypatch):
    for name in [one for one in sys.modules if one.startswith("webapp")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"needs Gradio.*pip install -r requirements-app\.txt"):
        app.main(AppConfig())


@pytest.mark.slow
def test_a_taken_port_is_one_sentence_and_status_2(tmp_path):
    pytest.importorskip("gradio", reason="Gradio is not installed")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        done = subprocess.run(
            [
                sys.executable, str(ROOT / "app.py"), "--no-browser",
                f"--port={other.getsockname()[1]}",
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: Nothing can be served at 127.0.0.1, port ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_ctrl_c_ends_it_and_nothing_stays(tmp_path, monkeypatch):
    pytest.importorskip("gradio", reason="Gradio is not installed")
    private = tmp_path / "tmp"
    private.mkdir()
    monkeypatch.setenv("TMPDIR", str(private))
    site = tmp_path / "site"
    site.mkdir()
    with running_app(site) as running:
        assert list(private.iterdir())
        assert stop_app(running) == 130
        printed = running.printed()
    assert printed.splitlines() == [f"The page is at {running.url}. Ctrl-C ends it.", "stopped."]
    assert list(private.iterdir()) == []
    assert [path.name for path in site.iterdir()] == ["app.log"]
    assert free_port()
