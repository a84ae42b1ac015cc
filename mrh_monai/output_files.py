"""Files that a command writes: never one that it reads, and without `--overwrite` none that it did not write itself.

What was written is listed in ``.mrh-sha256`` beside it, a line ``SHA-256 kind name`` for each file. A file belongs to a command if the list
has it under the command's kind, and its content is still the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mrh_monai.errors import OutputError

LIST = ".mrh-sha256"


@contextlib.contextmanager
def writing(kind: str, outputs: Iterable[Path | str], inputs: Iterable[Path | str] = (), overwrite: bool = False) -> Iterator[None]:
    """Check the outputs of a block of code, and list the files that the block has written once it has ended well.

    Args:
        kind: What the files are, one word such as ``scores``; only a command of the same kind replaces them later.
        outputs: Files that the block writes.
        inputs: Files that the command reads.
        overwrite: Whether files of any other origin may be replaced.

    Raises:
        OutputError: An output is also an input, or is a file of another origin.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "scores.json"
        ...     for text in ("first", "second"):  # the second time it is the command's own file
        ...         with writing("scores", [path]):
        ...             _ = path.write_text(text)
        ...     _ = path.write_text("changed by hand")
        ...     with writing("scores", [path]):  # doctest: +ELLIPSIS
        ...         pass
        Traceback (most recent call last):
        mrh_monai.errors.OutputError: ...scores.json: expected ..., found another file, or one that was changed since; ...
    """
    files = [Path(path) for path in outputs]
    check_outputs(kind, files, inputs, overwrite)
    yield
    for path in files:
        if path.is_file():
            list_output(path, kind)


def check_outputs(
    kind: str,
    outputs: Iterable[Path | str],
    inputs: Iterable[Path | str] = (),
    overwrite: bool = False,
    is_own: Callable[[Path], bool] | None = None,
) -> None:
    """Refuse outputs that would replace a file which the command reads, or a file of another origin. Call this before any work is done.

    Two paths are the same file if they lead to it through links, or if one is a hard link of the other.

    Args:
        kind: What the files are, see `writing`.
        outputs: Files that will be written.
        inputs: Files that the command reads, of a pair ``.hdr`` and ``.img`` either; those that do not exist are ignored.
        overwrite: Whether files of any other origin may be replaced. Inputs are never replaced.
        is_own: Function that tells whether an existing file is the command's own; None to look at the list beside the file.

    Raises:
        OutputError: There is such an output.
    """
    read = {identity for path in inputs for file in _with_partner(Path(path)) for identity in _identities(file)}
    for path in map(Path, outputs):
        if not path.exists():
            continue
        if read & _identities(path):
            raise OutputError(path, "an output that is not an input too", "a file that this command reads", "name another output")
        if overwrite or not path.is_file() or (is_listed(path, kind) if is_own is None else is_own(path)):
            continue
        found = "another file, or one that was changed since"
        remedy = "name another output, or replace it with --overwrite"
        raise OutputError(path, "a free name, or a file that the same command wrote", found, remedy)


@dataclass(frozen=True)
class ResultFiles:
    """The files that a command writes into the folder of its results.

    Attributes:
        kind: What they are, see `writing`.
        names: Every name that can be written.
    """

    kind: str
    names: tuple[str, ...]

    def check(self, folder: Path | str, inputs: Iterable[Path | str] = (), overwrite: bool = False) -> None:
        """Refuse a folder in which one of the files would replace an input or a file of another origin, see `check_outputs`.

        Raises:
            OutputError: There is such a file.
        """
        check_outputs(self.kind, [Path(folder) / name for name in self.names], inputs, overwrite)


def list_output(path: Path, kind: str) -> None:
    """List a file that was written, see `writing`.

    Args:
        path: The file.
        kind: What it is, one word.
    """
    line = f"{_digest(path)} {kind} {path.name}"
    # Where the list cannot be written, the next run asks for --overwrite.
    with contextlib.suppress(OSError), open(path.parent / LIST, "a", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(line + "\n")


def is_listed(path: Path, kind: str) -> bool:
    """Return whether a file was written by a command of a kind, and is unchanged since.

    Args:
        path: A file that exists.
        kind: What it is, one word.
    """
    # The last line of a file counts: lines are only ever added, because several processes can write into one folder.
    lines = [line for line in _listed(path.parent) if line.partition(" ")[2].partition(" ")[2] == path.name]
    return bool(lines) and lines[-1] == f"{_digest(path)} {kind} {path.name}"


def _with_partner(path: Path) -> list[Path]:
    """Return a file, and the other file of a pair ``.hdr`` and ``.img``, whose endings may be in upper case."""
    endings = (".hdr", ".img", ".HDR", ".IMG")
    return [path.with_suffix(ending) for ending in endings] if path.suffix in endings else [path]


def _identities(path: Path) -> set[object]:
    """Return the resolved path, and the numbers by which the file system knows an existing file."""
    found: set[object] = {os.path.realpath(path)}
    with contextlib.suppress(OSError):
        state = path.stat()
        found.add((state.st_dev, state.st_ino))
    return found


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _listed(folder: Path) -> list[str]:
    try:
        return (folder / LIST).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
