"""Pictures from addresses: refused unless allowed, fetched once, every failure told. The network is this machine."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from nyala.errors import DataError, NetworkError, NyalaError
from nyala.recipes.cli import main
from nyala.vision import addresses
from nyala.vision.io import load_image
from PIL import Image

MODEL = Path(__file__).parents[1] / "goldens" / "vision" / "resnet_basic"
PIXELS = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)


class Server(ThreadingHTTPServer):
    """Has a picture, and says how often it was asked."""

    asked = 0


class Answers(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        buffer = io.BytesIO()
        Image.fromarray(PIXELS).save(buffer, "PNG")
        body = {"/cat.png": buffer.getvalue(), "/cut.png": buffer.getvalue(), "/page": b"<html>"}.get(self.path.partition("?")[0])
        if self.path == "/local":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
            return
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body or b"") + (9 if self.path == "/cut.png" else 0)))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("NYALA_OFFLINE", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server(("127.0.0.1", 0), Answers) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def at(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}{path}"


def test_a_picture_is_fetched_once_and_only_where_it_is_allowed(server: Server) -> None:
    url = at(server, "/cat.png")
    with addresses.urls_allowed():
        assert np.array_equal(np.asarray(load_image(url)), PIXELS)
        assert load_image(url).size == (40, 48) and server.asked == 1
    with pytest.raises(DataError, match=r"unless it is told to.*--allow-url"):
        load_image(url)
    assert server.asked == 1


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("/none.png", NetworkError, "none.png: HTTP 404"),
        ("/page", DataError, "page is not a picture"),
        ("/cut.png", NetworkError, "cut.png.* ended after|IncompleteRead"),
        ("/local", NetworkError, "local: HTTP 302"),
    ],
)
def test_what_fails_is_told(server: Server, path: str, kind: type[NyalaError], text: str) -> None:
    with addresses.urls_allowed(), pytest.raises(kind, match=text):
        load_image(at(server, path))


def test_too_large_no_machine_nobody_there_offline(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with addresses.urls_allowed():
        with pytest.raises(DataError, match="names no machine"):
            load_image("http:///cat.png")
        with pytest.raises(NetworkError, match="cannot be fetched"):
            load_image("http://127.0.0.1:1/cat.png")
        with monkeypatch.context() as patched:
            patched.setattr(addresses, "MAX_BYTES", 1 << 10)
            with pytest.raises(NetworkError, match="is larger than"):
                load_image(at(server, "/cat.png?again"))
        monkeypatch.setenv("NYALA_OFFLINE", "1")
        with pytest.raises(NetworkError, match="NYALA_OFFLINE"):
            load_image(at(server, "/cat.png"))


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_on_the_command_line(server: Server, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [command, str(MODEL), at(server, "/cat.png"), "--output", str(tmp_path / "out.png"), "--json"]
    assert main(given) == 2
    assert "--allow-url" in capsys.readouterr().err and server.asked == 0
    assert main([*given, "--allow-url"]) == 0
    assert json.loads(capsys.readouterr().out)["inputs"] == [given[2]]
    assert Image.open(tmp_path / "out.png").width > 40 and server.asked == 1
