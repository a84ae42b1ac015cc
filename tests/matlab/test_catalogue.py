"""The table of published files, and fetching them from a server on loopback."""

import http.server
import json
import re
import socket
import threading

import pytest

from helpers.paths import ROOT
from mrh_monai.errors import DownloadError, OptionError, OutputError
from mrh_monai.io.files import sha256
from mrh_monai.matlab.catalogue import DRYAD, PUBLISHED_FILES, RECORD, fetch_published

CONTENT = b"MATLAB 7.3" + bytes(range(256)) * 20_000
OSF = ["jnvg5", "eqzbp", "r5xwm", "z7s5n", "x3qne", "td4nu", "fk58t", "rw42b", "uv6ek", "sgbec", "29bcw"]


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `content`; breaks the connection after `breaks_after` bytes; `log` has every request's range."""

    content = CONTENT
    breaks_after: int | None = None
    tag: str | None = '"one"'
    status = 200
    ranges = True
    always_206 = False
    said_start: int | None = None
    length: str | None = None
    kind = "application/octet-stream"
    disposition = 'attachment; filename="../traindata.mat"'
    log: list[str] = []  # noqa: RUF012

    def do_GET(self):
        cls = type(self)
        wanted = self.headers.get("Range")
        cls.log.append(wanted or "")
        if cls.status != 200:
            self.send_error(cls.status)
            return
        start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted and cls.ranges else 0
        if wanted and self.headers.get("If-Range") not in (None, cls.tag):
            start = 0
        if start >= len(cls.content) and start:
            self.send_error(416)
            return
        body = cls.content[start:]
        self.send_response(206 if start or cls.always_206 else 200)
        if start:
            said = cls.said_start if cls.said_start is not None else start
            self.send_header("Content-Range", f"bytes {said}-{len(cls.content) - 1}/{len(cls.content)}")
        if cls.tag:
            self.send_header("ETag", cls.tag)
        self.send_header("Content-Length", cls.length or str(len(body)))
        self.send_header("Content-Type", cls.kind)
        self.send_header("Content-Disposition", cls.disposition)
        self.end_headers()
        self.wfile.write(body[: cls.breaks_after])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (Server,), {"log": []})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    handler.url = f"http://127.0.0.1:{running.server_address[1]}/file"
    yield handler
    running.shutdown()
    running.server_close()
    thread.join(10)


def test_downloads_names_and_records_the_file(server, tmp_path):
    path = fetch_published("patches-af", tmp_path / "new" / "folder", server.url)
    assert path == tmp_path / "new" / "folder" / "patches-af.mat"
    assert path.read_bytes() == CONTENT
    record = json.loads((path.parent / RECORD).read_text())["patches-af"]
    assert record == {"file": path.name, "sha256": sha256(path), "bytes": len(CONTENT), "url": server.url}
    assert sorted(file.name for file in path.parent.iterdir()) == [RECORD, path.name]


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    first = fetch_published("net-af-5", tmp_path, server.url)
    assert first.name == "net-af-5.mat"
    assert fetch_published("net-af-5", tmp_path, server.url) == first
    assert len(server.log) == 1


def test_what_was_damaged_is_fetched_again_and_compared_with_the_record(server, tmp_path):
    path = fetch_published("patches-af", tmp_path, server.url)
    path.write_bytes(b"damaged")
    assert fetch_published("patches-af", tmp_path, server.url).read_bytes() == CONTENT
    path.write_bytes(b"damaged")
    server.content = CONTENT + b"more"
    with pytest.raises(DownloadError, match=r"the file recorded at its first download \(SHA-256 [0-9a-f]{12}\), found another file"):
        fetch_published("patches-af", tmp_path, server.url)
    assert not list(tmp_path.glob(".*"))


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    server.breaks_after = 3_000_000
    with pytest.raises(DownloadError, match=r"expected an uninterrupted connection, found \w+, \d[\d,]+ bytes kept; check the network"):
        fetch_published("patches-af", tmp_path, server.url)
    kept = (tmp_path / ".patches-af.part").stat().st_size
    assert 0 < kept <= 3_000_000
    assert not (tmp_path / RECORD).exists()
    server.breaks_after = None
    assert fetch_published("patches-af", tmp_path, server.url).read_bytes() == CONTENT
    assert server.log == ["", f"bytes={kept}-"]
    assert not list(tmp_path.glob(".*"))


OTHER = b"MATLAB 7.3" + bytes(255 - value for value in CONTENT[10:])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"content": OTHER, "tag": '"two"'}),
        ({}, {"content": OTHER, "ranges": False}),
        ({}, {"content": CONTENT + b"more"}),
        ({}, {"said_start": 0}),
        ({"tag": None}, {"content": OTHER, "tag": None}),
        ({"tag": 'W/"one"'}, {"content": OTHER, "tag": 'W/"two"'}),
    ],
)
def test_a_part_of_another_file_is_not_gone_on_with(server, tmp_path, before, after):
    def be(**settings):
        for key, value in settings.items():
            setattr(server, key, value)

    be(breaks_after=3_000_000, **before)
    with pytest.raises(DownloadError):
        fetch_published("patches-af", tmp_path, server.url)
    be(breaks_after=None, **after)
    assert fetch_published("patches-af", tmp_path, server.url).read_bytes() == server.content


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "text/html; charset=utf-8"}, "expected a file, found a web page"),
        ({"content": b"<html>log in</html>"}, "expected a .mat file, found a file that begins with b'<html>"),
        ({"content": b""}, "expected a .mat file, found an empty file"),
        ({"always_206": True}, "expected the whole file from the server, found only a part of the file"),
    ],
)
def test_what_is_no_such_file_is_not_kept(server, tmp_path, settings, message):
    for key, value in settings.items():
        setattr(server, key, value)
    with pytest.raises(DownloadError, match=message):
        fetch_published("patches-af", tmp_path, server.url)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


def test_a_length_that_is_none_is_lived_with(server, tmp_path):
    server.length = "many"
    assert fetch_published("patches-af", tmp_path, server.url).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("attachment; filename*=UTF-8''brains.zip", "test-mri.zip"),
        ('attachment; filename="a.nii.gz"', "test-mri.nii.gz"),
        ('attachment; filename="evil.sh"', "test-mri"),
        ("attachment", "test-mri"),
        ("\u00e9", "test-mri"),
    ],
)
def test_the_ending_is_the_servers_where_it_is_one_of_data(server, tmp_path, disposition, name):
    server.disposition, server.content = disposition, b"PK" + CONTENT
    assert fetch_published("test-mri", tmp_path, server.url).name == name


def test_a_full_disk_is_one_sentence(server, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mrh_monai.matlab.downloads.ResumingDownload._receive", full)
    with pytest.raises(OutputError, match="expected space for the file, found No space left on device"):
        fetch_published("patches-af", tmp_path, server.url)


def test_a_refusing_server_and_no_network_are_one_sentence(server, tmp_path):
    server.status = 404
    with pytest.raises(
        DownloadError,
        match=r"expected the file from the server, found the answer 404 .* download the file with a browser from https://osf.io/fk58t/",
    ):
        fetch_published("patches-af", tmp_path, server.url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match="an uninterrupted connection, found ConnectionError; check the network, then run the same"):
        fetch_published("patches-af", tmp_path, f"http://127.0.0.1:{port}/file")
    assert list(tmp_path.iterdir()) == []


def test_wrong_names_and_records(server, tmp_path):
    with pytest.raises(
        OptionError, match="patches-at: expected the name of a published file, found an unknown name; did you mean patches-af"
    ):
        fetch_published("patches-at", tmp_path, server.url)
    with pytest.raises(OptionError, match="run `mrh fetch` for the list"):
        fetch_published("qqqq", tmp_path, server.url)
    entry = {"file": "../../x.mat", "sha256": 64 * "0"}
    for content in ("{", "[]", '{"patches-af": 3}', json.dumps({"patches-af": entry}), json.dumps({"other": {"file": "x", "sha256": "?"}})):
        (tmp_path / RECORD).write_text(content)
        with pytest.raises(DownloadError, match="expected the record of the downloads"):
            fetch_published("patches-af", tmp_path, server.url)
    with pytest.raises(DownloadError, match="expected an address that begins with https://"):
        fetch_published("patches-af", tmp_path / "new", "no address")
    assert server.log == []


def test_missing_library_is_a_pip_hint(tmp_path, monkeypatch):
    def without(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("importlib.import_module", without)
    with pytest.raises(OptionError, match=r"pip install 'mrh-monai\[fetch\]'"):
        fetch_published("patches-af", tmp_path)


def test_every_published_identifier_is_known_and_in_the_table():
    identifiers = {item.identifier for item in PUBLISHED_FILES.values()}
    assert {f"osf:{name}" for name in OSF} | {DRYAD} <= identifiers
    assert PUBLISHED_FILES["patches-af"].url == "https://osf.io/download/fk58t/"
    assert PUBLISHED_FILES["dryad"].url.startswith("https://datadryad.org/")
    assert PUBLISHED_FILES["dryad"].page == "https://doi.org/10.5061/dryad.1vhhmgqv8"
    table = (ROOT / "docs" / "published.md").read_text()
    for item in PUBLISHED_FILES.values():
        assert f"| `{item.name}` |" in table
        assert item.identifier.removeprefix("osf:") in table
