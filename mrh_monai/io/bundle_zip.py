"""Zips of bundles: the same content always gives the same bytes, and every zip is read as if a stranger had made it to do harm."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from mrh_monai.errors import BundleError
from mrh_monai.io.files import replacing

LARGEST_FILE = 1 << 30
LARGEST_ZIP = 2 << 30
MOST_FILES = 1000
# The earliest time that a zip can hold.
NO_TIME = (1980, 1, 1, 0, 0, 0)
LONGEST_NAME = 200
# Hidden files, names that Windows does not allow, and names that Windows reserves for devices.
UNSAFE = re.compile(r"^\.|[\\:*?\"<>|]|[. ]$|^(?:con|prn|aux|nul|(?:com|lpt)[\d¹²³])(?:\.|$)", re.I)
ASK_SENDER_AGAIN = "ask the sender for the zip again"


class BundleZip:
    """Open zip of one bundle. Every name in it is checked before a byte is unpacked. Use it as a context manager.

    Args:
        path: The zip.

    Attributes:
        name: Name of the bundle, which is the name of the only folder at the top of the zip; empty where the files themselves lie at the
            top.
        files: Paths inside the bundle, such as ``models/model.pt``, sorted.

    Raises:
        BundleError: The file is not a zip, is damaged, or holds something that a bundle never holds: paths that lead out of it, links, two
            files of the same name, too many files or too large ones.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_bundle_zip(f"{folder}/af.zip", "mrh_af", {"LICENSE": b"Apache", "configs/train.yaml": b"epochs: 5"})
        ...     with BundleZip(f"{folder}/af.zip") as found:
        ...         print(found.name, found.files, found.read("LICENSE"))
        mrh_af ['LICENSE', 'configs/train.yaml'] b'Apache'
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if not self.path.is_file():
            raise BundleError(self.path, "a bundle zip", "a folder" if self.path.is_dir() else "no such file", "check the path")
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise BundleError(self.path, "a bundle zip", f"a damaged zip, or another kind of file ({error})", ASK_SENDER_AGAIN) from error
        try:
            members = self._members()
        except BundleError:
            self._zip.close()
            raise
        tops = {name.split("/")[0] for name in members}
        self.name = tops.pop() if len(tops) == 1 and all("/" in name for name in members) else ""
        start = len(self.name) + 1 if self.name else 0
        self._infos = {name[start:]: info for name, info in sorted(members.items())}
        self.files = list(self._infos)

    def __enter__(self) -> BundleZip:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def read(self, name: str) -> bytes:
        """Return the content of one of the files.

        Raises:
            BundleError: The file is damaged, or its length differs from that in the zip's directory.
        """
        info, blocks = self._infos[name], []
        with open(self.path, "rb") as stream:
            stream.seek(info.header_offset + 14)
            checksum = int.from_bytes(stream.read(4), "little")
        # Other programs read the checksum before the file, zipfile that in the directory. Zips that were written as a stream have it after.
        if not info.flag_bits & 8 and checksum != info.CRC:
            raise BundleError(f"{self.path}, {name}", "a bundle zip", "a damaged zip (two different checksums)", ASK_SENDER_AGAIN)
        try:
            with self._zip.open(info) as stream:
                while block := stream.read(1 << 20):  # Read at once, a file could be unpacked far beyond its stated length.
                    blocks.append(block)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError) as error:
            raise BundleError(f"{self.path}, {name}", "a bundle zip", f"a damaged zip ({error})", ASK_SENDER_AGAIN) from error
        content = b"".join(blocks)
        if len(content) != info.file_size:
            raise BundleError(f"{self.path}, {name}", f"{info.file_size} bytes", f"{len(content)}", ASK_SENDER_AGAIN)
        return content

    def unpack(self, folder: Path) -> None:
        """Write all files below a folder. Only their paths and contents come from the zip, not their rights, owners and times."""
        for name in self.files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(name))

    def _members(self) -> dict[str, zipfile.ZipInfo]:
        """Return the files of the zip by name, after a check of all of them."""
        infos = self._zip.infolist()
        if len(infos) > MOST_FILES:
            raise BundleError(
                self.path, f"at most {MOST_FILES} files", f"{len(infos)}", "a bundle has about 12 files; do not unpack this zip"
            )
        members: dict[str, zipfile.ZipInfo] = {}
        folders: set[str] = set()
        known: set[str] = set()
        for info in infos:
            self._check(info)
            if info.filename.endswith("/"):
                continue
            parts = info.filename.casefold().split("/")
            folders |= {"/".join(parts[:depth]) for depth in range(1, len(parts))}
            if "/".join(parts) in known:
                raise BundleError(f"{self.path}, {info.filename}", "one file of this name", "two", ASK_SENDER_AGAIN)
            known.add("/".join(parts))
            members[info.filename] = info
        if known & folders:
            raise BundleError(f"{self.path}, {min(known & folders)}", "a file or a folder", "both", ASK_SENDER_AGAIN)
        if not members:
            raise BundleError(self.path, "a bundle zip", "an empty zip", ASK_SENDER_AGAIN)
        if min(info.header_offset for info in infos) != 0:
            raise BundleError(self.path, "a zip from the first byte on", "other data in front of it", "do not unpack this zip")
        total = sum(info.file_size for info in members.values())
        if total > LARGEST_ZIP:
            found = f"{total / 2**30:.3g} GiB from a zip of {self.path.stat().st_size / 2**20:.3g} MiB"
            raise BundleError(self.path, f"at most {LARGEST_ZIP >> 30} GiB once unpacked", found, "do not unpack this zip")
        return members

    def _check(self, info: zipfile.ZipInfo) -> None:
        """Refuse a file that a bundle never holds."""
        name = info.filename
        shown = f"{self.path}, {name!r}"
        # The library zipfile cuts names at a zero byte, and turns backslashes into slashes.
        if info.orig_filename != name or not is_safe_path(name.removesuffix("/")):
            found = "a path that leads out of it, or that some systems cannot store or show"
            raise BundleError(shown, "a path inside the bundle", found, "do not unpack this zip")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise BundleError(shown, "a plain file", "a link" if kind == stat.S_IFLNK else "a special file", "do not unpack this zip")
        if info.flag_bits & 1:
            raise BundleError(shown, "a file without a password", "an encrypted file", "ask the sender for a zip without a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleError(shown, "a file that is stored or deflated", f"compression {info.compress_type}", ASK_SENDER_AGAIN)
        if info.file_size > LARGEST_FILE:
            found = f"{info.file_size / 2**30:.3g} GiB"
            raise BundleError(shown, f"at most {LARGEST_FILE >> 30} GiB once unpacked", found, "do not unpack this zip")


def is_safe_path(path: str) -> bool:
    """Return whether a path leads to the same place below a folder on every system.

    Example:
        >>> is_safe_path("models/model.pt"), is_safe_path("../model.pt"), is_safe_path("models/aux.json")
        (True, False, False)
    """
    parts = path.split("/")
    return len(path) <= LONGEST_NAME and path.isprintable() and all(part and not UNSAFE.search(part) for part in parts)


def write_bundle_zip(path: Path | str, name: str, files: Mapping[str, bytes]) -> None:
    """Write a zip whose bytes depend only on the names and contents of its files.

    The files are sorted, and have neither times nor rights of their own. They are not compressed, because compressors differ between
    machines, and weights hardly shrink.

    Args:
        path: The zip to write or replace, whole or not at all.
        name: Name of the bundle, which becomes the folder in the zip.
        files: Contents by path inside the bundle.

    Raises:
        OutputError: The zip cannot be written.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(files):
            info = zipfile.ZipInfo(f"{name}/{file}", NO_TIME)
            info.create_system = 3  # Unix, on every machine
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, files[file])
