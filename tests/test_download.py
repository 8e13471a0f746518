"""Downloads, against a server on loopback that behaves well or badly."""

import gzip
import hashlib
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from iwae_cli.core import progress
from iwae_cli.core.errors import DataError
from iwae_cli.data import download
from iwae_cli.data.download_progress import DownloadProgress
from iwae_cli.data.registry import find

CONTENT = bytes(range(256)) * 1000
GZIPPED = gzip.compress(CONTENT)
FILE = download.File(
    name="pictures",
    folder="PICTURES",
    digests=(f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",),
    urls=("http://mirror.invalid/some/where/pictures.gz",),
)
URL_PATH = "/pictures.gz"


class Handler(BaseHTTPRequestHandler):
    """Serves `bodies`: path -> what is sent, and the length that is announced."""

    bodies: dict[str, tuple[bytes, int]]
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path not in self.bodies:
            self.send_error(404)
            return
        body, length = self.bodies[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(download, "cache_folder", lambda: folder)
    monkeypatch.delenv("IWAE_DATA_DIR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


@pytest.fixture
def server(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Handler]]:
    class Fresh(Handler):
        bodies: dict[str, tuple[bytes, int]] = {}
        requests: list[str] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Fresh) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("IWAE_DATA_MIRROR", f"http://127.0.0.1:{http.server_port}/")
        yield Fresh
        http.shutdown()
        thread.join()


def everything_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def failure() -> str:
    with pytest.raises(DataError) as caught:
        download.read(FILE)
    message = "; ".join([str(caught.value), *caught.value.advice])
    assert "\n" not in message
    return message


@pytest.mark.parametrize("body", [CONTENT, GZIPPED, gzip.compress(CONTENT, 1)])
def test_a_good_download_is_kept_whatever_its_wrapper_and_not_asked_for_again(
    server: type[Handler], cache: Path, body: bytes
) -> None:
    server.bodies[URL_PATH] = (body, len(body))
    assert download.read(FILE).data == CONTENT
    assert download.read(FILE).data == CONTENT
    assert server.requests == [URL_PATH]
    name = "pictures" if body == CONTENT else "pictures.gz"
    assert everything_in(cache) == [cache / name]
    assert (cache / name).read_bytes() == body


@pytest.mark.parametrize(
    ("body", "length", "part"),
    [
        (gzip.compress(CONTENT[:-1] + b"!"), None, "expected sha256:"),
        (b"<html>not what you wanted</html>", None, "expected sha256:"),
        (GZIPPED[:20] + b"!!!!" + GZIPPED[24:], None, "damaged gzip"),
        (GZIPPED[:-100], None, "truncated or damaged gzip"),
        (GZIPPED[:-100], len(GZIPPED), "broke off"),
        (b"", None, "expected sha256:"),
    ],
)
@pytest.mark.parametrize("terminal", [False, True])
def test_a_bad_download_leaves_nothing_behind(
    server: type[Handler],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    body: bytes,
    length: int | None,
    part: str,
    terminal: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    server.bodies[URL_PATH] = (body, len(body) if length is None else length)
    assert part in failure()
    assert everything_in(cache) == []


def test_a_file_that_no_mirror_has_is_a_line_that_says_what_to_do(
    server: type[Handler], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    monkeypatch.setenv("IWAE_DATA_DIR", str(own))
    message = failure()
    for part in (
        "HTTP status 404 at 127.0.0.1",
        f"set IWAE_DATA_DIR to a folder with pictures or pictures.gz (it is {own}",
        "dataset=digits",
    ):
        assert part in message
    assert everything_in(cache) == []


def test_no_network_is_a_line_that_says_what_to_do(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("IWAE_DATA_MIRROR", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(DataError) as caught:
            find({"name": "mnist"}).load()
    message = "; ".join([str(caught.value), *caught.value.advice])
    assert "\n" not in message
    for part in (
        "train-images-idx3-ubyte is missing",
        "no connection at 127.0.0.1",
        "IWAE_DATA_DIR",
        "dataset=digits",
    ):
        assert part in message
    assert everything_in(cache) == []


def test_the_next_mirror_is_tried_where_one_fails(
    server: type[Handler], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = download._urls(FILE)[0].removesuffix(URL_PATH)
    monkeypatch.delenv("IWAE_DATA_MIRROR")
    urls = (f"{base}/gone.gz", f"{base}/bad.gz", f"{base}/good.gz")
    server.bodies |= {"/bad.gz": (b"bad", 3), "/good.gz": (GZIPPED, len(GZIPPED))}
    file = download.File(FILE.name, FILE.folder, FILE.digests, urls)
    assert download.read(file).data == CONTENT
    assert server.requests == ["/gone.gz", "/bad.gz", "/good.gz"]


def test_a_damaged_file_in_the_cache_is_replaced(server: type[Handler], cache: Path) -> None:
    server.bodies[URL_PATH] = (GZIPPED, len(GZIPPED))
    cache.mkdir()
    (cache / "pictures").write_bytes(CONTENT[:-1])
    assert download.read(FILE).data == CONTENT
    assert everything_in(cache) == [cache / "pictures.gz"]


def test_a_download_that_need_not_be_known_on_disk_must_be_from_the_network(
    server: type[Handler], cache: Path
) -> None:
    server.bodies[URL_PATH] = (b"other", 5)
    with pytest.raises(DataError, match="expected sha256:"):
        download.read(FILE, strict=False)
    cache.mkdir(exist_ok=True)
    (cache / "pictures").write_bytes(b"other")
    assert download.read(FILE, strict=False).digest is None


def test_the_users_own_folder_is_read_first_and_never_written(
    server: type[Handler], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    (own / "PICTURES").mkdir(parents=True)
    monkeypatch.setenv("IWAE_DATA_DIR", str(own))
    server.bodies[URL_PATH] = (GZIPPED, len(GZIPPED))
    download.read(FILE)
    assert everything_in(own) == [own / "PICTURES"]
    (own / "PICTURES" / "pictures.gz").write_bytes(GZIPPED)
    assert download.read(FILE).origin == str(own / "PICTURES" / "pictures.gz")


def test_many_downloads_at_once_all_get_the_file(server: type[Handler], cache: Path) -> None:
    server.bodies[URL_PATH] = (GZIPPED, len(GZIPPED))
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.append(download.read(FILE).data)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [CONTENT] * 6
    assert everything_in(cache) == [cache / "pictures.gz"]


def test_a_cache_folder_that_cannot_be_made_is_a_line_that_says_what_to_do(
    server: type[Handler], cache: Path
) -> None:
    cache.write_text("a file where the folder should be")
    assert "set IWAE_DATA_DIR" in failure()


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_shown_on_a_terminal_alone(
    server: type[Handler],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
) -> None:
    server.bodies[URL_PATH] = (GZIPPED, len(GZIPPED))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    download.read(FILE)
    assert ("MB" in capsys.readouterr().err) == terminal


def test_the_progress_of_a_download_of_unknown_size_has_no_time_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    shown = DownloadProgress("a.gz")
    with caplog.at_level("INFO", logger="iwae"):
        shown.update(2_000_000)
        shown.total = 8_000_000
    assert "a.gz  2.0 MB" in caplog.text
    assert "left" not in caplog.text
    shown.close()
