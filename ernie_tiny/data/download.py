"""CLUE's official archives on disk: fetched with resume, checked, and unpacked below a data root."""

from __future__ import annotations

import errno
import hashlib
import http.client
import stat
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Optional

from tqdm import tqdm

from ernie_tiny.errors import InputError

CHUNK = 1 << 20
TIMEOUT_SECONDS = 30
LARGEST = 4 << 30  # bytes that an archive may unpack to; CLUE's largest has less than a tenth
# What zipfile lets through of a damaged file, a password and an unknown method, and of names that cannot be written.
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, LookupError, OSError)
BROKEN_NAMES = (errno.EINVAL, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
MD5_OF_TASK = {
    "afqmc": "3377b559bb4e61d03a35282550902ca0",
    "tnews": "38186ed0a751bc33e3ae0c1b59319777",
    "iflytek": "19e4b19947db126f69aae18db0da2b87",
    "cmnli": "e0e8caefd9b3491220c18b466233f2ff",
    "ocnli": "acb426f6f3345076c6ce79239e7bc307",
    "cluewsc2020": "2e387e20e93eeab0ffaded5b0d2dfd3d",
    "csl": "394a2ccbf6ddd7e331be4d5d7798f0f6",
}
TASKS_WITHOUT_MD5 = ("cmrc2018", "chid", "c3")


@dataclass(frozen=True)
class Archive:
    """A zip of one task: its name, its address and the md5 that PaddleNLP publishes for it, if any."""

    name: str
    url: str
    md5: Optional[str] = None

    @property
    def folder(self) -> str:
        """The folder that the archive is unpacked into, relative to the data root."""
        return f"clue/{PurePosixPath(self.name).stem}"


def _archive(task: str, folder: str) -> Archive:
    name = f"{task}_public.zip"
    return Archive(name, f"https://{folder}/datasets/{name}", MD5_OF_TASK.get(task))


ARCHIVES: Mapping[str, Archive] = MappingProxyType(
    {
        **{task: _archive(task, "bj.bcebos.com/paddlenlp") for task in MD5_OF_TASK},
        **{task: _archive(task, "paddlenlp.bj.bcebos.com") for task in TASKS_WITHOUT_MD5},
    }
)


def install(archive: Archive, root: Path, from_zip: Optional[Path] = None) -> str:
    """One line on what was done. Afterwards the archive's files lie in `root/clue/<task>_public/`.

    A folder that is there is left as it is. The zip is `from_zip`, or `root/zips/<name>`, which is fetched if
    absent. A checksum that differs from the published one is reported, not enforced: a whole archive that was
    packed anew is of use.

    Raises:
        InputError: the zip cannot be had, is damaged, or has members that would leave their folder.
    """
    folder = root / archive.folder
    if folder.exists():
        return f"{folder}: already there"
    source = from_zip or root / "zips" / archive.name
    if from_zip and not from_zip.is_file():
        raise InputError(f"{from_zip}: there is no such file to take {archive.name} from.")
    if not source.exists():
        fetch(archive, source)
    unpack(source, folder)
    return f"{folder}: unpacked from {source}, {_md5_report(source, archive.md5)}"


def fetch(archive: Archive, target: Path) -> None:
    """Downloads the archive to `target`, by way of `target` + ".part", which a later call continues.

    Raises:
        InputError: the server cannot be reached or stopped early; tells how to place the file by hand.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        _download(archive.url, part)
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f"{archive.name} cannot be fetched from {archive.url} ({error}). Run the command again to "
            f"continue, or fetch the file elsewhere and put it at {target}, or give it with --from-zip FILE."
        ) from error
    part.replace(target)


def unpack(source: Path, folder: Path) -> None:
    """Unpacks a zip into `folder`, which appears only when every file is in it.

    A single folder that holds everything in the zip is left out of the paths.

    Raises:
        InputError: the zip is damaged or empty, or has a member that would leave the folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as scratch:
        content = Path(scratch, "content")
        try:
            with zipfile.ZipFile(source) as archive:
                members = [info for info in archive.infolist() if not info.filename.startswith("__MACOSX/")]
                for member in members:
                    _refuse_escape(source, member)
                size = sum(member.file_size for member in members)
                if size > LARGEST:
                    raise InputError(
                        f"{source}: would unpack to {size:,} bytes; an archive of CLUE has less than "
                        f"{LARGEST:,}. Take it from its official address."
                    )
                archive.extractall(content, members)
        except BROKEN_ZIP as error:
            if isinstance(error, OSError) and error.errno not in BROKEN_NAMES:
                raise
            raise InputError(f"{source} is damaged ({error}). Delete it and fetch it again.") from error
        if not members:
            raise InputError(f"{source} holds no files. Delete it and fetch it again.")
        inner = list(content.iterdir())
        single = len(inner) == 1 and inner[0].is_dir()
        (inner[0] if single else content).rename(folder)


def _download(url: str, part: Path) -> None:
    """Reads `url` into `part`, from the byte on where `part` ends if the server can do so."""
    present = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={present}-"} if present else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        part.unlink()  # as long as the file or longer, so not a part that can be continued
        return _download(url, part)
    with response:
        begin = present if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        length = response.headers.get("Content-Length")
        total = begin + int(length) if length else None
        with (
            part.open("ab" if begin else "wb") as out,
            tqdm(desc=part.stem, total=total, initial=begin, unit="B", unit_scale=True, disable=None) as progress,
        ):
            for chunk in iter(lambda: response.read(CHUNK), b""):
                out.write(chunk)
                progress.update(len(chunk))
    received = part.stat().st_size
    if total is not None and received != total:
        raise ConnectionError(f"the connection ended after {received} of {total} bytes")


def _refuse_escape(source: Path, member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archive was made without Unix
    is_plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)  # neither a link nor a device
    if path.is_absolute() or ".." in path.parts or ":" in member.filename or not is_plain:
        raise InputError(
            f"{source}: member {member.filename!r} would leave the folder it is unpacked into, or is no plain file. "
            "Nothing was unpacked; take the archive from its official address."
        )


def _md5_report(source: Path, published: Optional[str]) -> str:
    digest = hashlib.md5()
    with source.open("rb") as content:
        for chunk in iter(lambda: content.read(CHUNK), b""):
            digest.update(chunk)
    found = digest.hexdigest()
    if published is None:
        return f"md5 {found} unchecked, none is published"
    if found == published:
        return f"md5 {found} as published"
    return f"md5 {found} differs from the published {published}"
