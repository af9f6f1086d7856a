"""The official archives: fetched, resumed, checked and unpacked from a server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ernie_tiny.data.clue import CLUE
from ernie_tiny.data.download import ARCHIVES, Archive, fetch, install, unpack
from ernie_tiny.errors import InputError


def make_zip(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


FLAT = make_zip({"train.json": '{"id": 0}\n' * 500, "dev.json": "{}\n"})


@dataclass
class Server:
    """A web server with one file; `ranges` holds the Range header of each request."""

    address: str = ""
    content: bytes = FLAT
    serves_ranges: bool = True
    sent_bytes: int | None = None  # the connection ends after so many
    ranges: list = field(default_factory=list)

    def archive(self) -> Archive:
        md5 = hashlib.md5(self.content).hexdigest()
        return Archive("tnews_public.zip", f"{self.address}/tnews_public.zip", md5)

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        begin = int(asked.split("=")[1].rstrip("-")) if asked and self.serves_ranges else 0
        if begin >= len(self.content):
            handler.send_error(416)
            return
        body = self.content[begin:]
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.sent_bytes])


@pytest.fixture
def server(monkeypatch):
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.answer(self)

        def log_message(self, *arguments):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    listening.shutdown()
    thread.join()
    listening.server_close()


def test_archives_are_those_of_the_ten_tasks_and_unpack_where_their_files_are_read():
    assert set(ARCHIVES) == set(CLUE)
    for name, task in CLUE.items():
        files = [file for split in task.files.values() for file in split]
        assert {Path(file).parent.as_posix() for file in files} == {ARCHIVES[name].folder}


def test_install_fetches_checks_and_unpacks(server, tmp_path):
    line = install(server.archive(), tmp_path)
    assert "as published" in line
    assert (tmp_path / "clue/tnews_public/dev.json").read_text() == "{}\n"
    assert [path.name for path in (tmp_path / "clue").iterdir()] == ["tnews_public"]
    assert [path.name for path in (tmp_path / "zips").iterdir()] == ["tnews_public.zip"]


def test_install_leaves_what_is_there(server, tmp_path):
    (tmp_path / "clue/tnews_public").mkdir(parents=True)
    assert "already there" in install(server.archive(), tmp_path)
    assert server.ranges == []


def test_install_takes_a_zip_placed_by_hand(server, tmp_path):
    (tmp_path / "zips").mkdir()
    (tmp_path / "zips/tnews_public.zip").write_bytes(FLAT)
    install(server.archive(), tmp_path)
    assert server.ranges == []
    assert (tmp_path / "clue/tnews_public/train.json").exists()


def test_install_takes_a_named_zip(server, tmp_path):
    (tmp_path / "mine.zip").write_bytes(FLAT)
    install(server.archive(), tmp_path, from_zip=tmp_path / "mine.zip")
    assert server.ranges == []
    assert (tmp_path / "clue/tnews_public/train.json").exists()
    with pytest.raises(InputError, match="absent.zip"):
        install(replace(server.archive(), name="other.zip"), tmp_path, from_zip=tmp_path / "absent.zip")


def test_checksum_that_differs_is_reported_and_the_data_kept(server, tmp_path):
    line = install(replace(server.archive(), md5="0" * 32), tmp_path)
    assert hashlib.md5(FLAT).hexdigest() in line and "differs from the published " + "0" * 32 in line
    assert (tmp_path / "clue/tnews_public/train.json").exists()


def test_checksum_that_nobody_published_is_reported_as_unchecked(server, tmp_path):
    assert "unchecked" in install(replace(server.archive(), md5=None), tmp_path)


def test_fetch_continues_where_a_broken_connection_ended(server, tmp_path):
    target = tmp_path / "tnews_public.zip"
    server.sent_bytes = 100
    with pytest.raises(InputError, match="Run the command again"):
        fetch(server.archive(), target)
    assert not target.exists()
    server.sent_bytes = None
    fetch(server.archive(), target)
    assert target.read_bytes() == FLAT
    assert server.ranges == [None, "bytes=100-"]
    assert not target.with_name("tnews_public.zip.part").exists()


def test_fetch_begins_anew_where_the_server_knows_no_ranges(server, tmp_path):
    server.serves_ranges = False
    (tmp_path / "tnews_public.zip.part").write_bytes(FLAT[:100])
    fetch(server.archive(), tmp_path / "tnews_public.zip")
    assert (tmp_path / "tnews_public.zip").read_bytes() == FLAT


def test_fetch_begins_anew_where_the_part_is_longer_than_the_file(server, tmp_path):
    (tmp_path / "tnews_public.zip.part").write_bytes(b"x" * (len(FLAT) + 1))
    fetch(server.archive(), tmp_path / "tnews_public.zip")
    assert (tmp_path / "tnews_public.zip").read_bytes() == FLAT


def test_offline_names_file_address_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as closed:
        address = f"http://127.0.0.1:{closed.server_address[1]}/tnews_public.zip"
    with pytest.raises(InputError) as error:
        install(Archive("tnews_public.zip", address), tmp_path)
    for part in ("tnews_public.zip", address, str(tmp_path / "zips/tnews_public.zip"), "--from-zip"):
        assert part in str(error.value)
    assert not (tmp_path / "clue").exists()


def test_unpack_leaves_out_a_single_top_folder_and_finder_files(tmp_path):
    (tmp_path / "a.zip").write_bytes(make_zip({"tnews/dev.json": "{}", "__MACOSX/tnews/._dev.json": "x"}))
    unpack(tmp_path / "a.zip", tmp_path / "clue/tnews_public")
    assert [path.name for path in (tmp_path / "clue/tnews_public").iterdir()] == ["dev.json"]


def corrupted(content: bytes) -> bytes:
    at = content.index(b'{"id"')
    return content[:at] + b"#" + content[at + 1 :]


@pytest.mark.parametrize("content", [b"<html>not found</html>", corrupted(FLAT)], ids=["a page", "corrupted"])
def test_unpack_leaves_nothing_of_a_damaged_zip(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip is damaged"):
        unpack(tmp_path / "a.zip", tmp_path / "clue/tnews_public")
    assert list((tmp_path / "clue").iterdir()) == []


def test_unpack_refuses_an_empty_zip(tmp_path):
    (tmp_path / "a.zip").write_bytes(make_zip({}))
    with pytest.raises(InputError, match="holds no files"):
        unpack(tmp_path / "a.zip", tmp_path / "folder")
