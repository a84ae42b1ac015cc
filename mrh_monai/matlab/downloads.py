"""Downloading a file that goes on where a broken connection stopped."""

from __future__ import annotations

import json
import re
import sys
from email.message import Message
from pathlib import Path
from typing import Any

from mrh_monai.errors import DownloadError
from mrh_monai.io import write_text

TIMEOUT_SECONDS = 60
BLOCK_BYTES = 1 << 16
# How files of these endings begin; a web page that asks to log in does not.
BEGINNINGS = {".mat": (b"MATLAB", b"\x89HDF"), ".zip": (b"PK",)}
ENDINGS = (".mat", ".zip", ".gz", ".tar", ".rar", ".7z", ".img", ".nii")


class ResumingDownload:
    """A downloader for pooch that keeps what has come when a connection breaks.

    The next call goes on from there if the server says by a validator (a strong ETag, or Last-Modified) that the file is still the same;
    where it gives none, the download begins anew.

    Args:
        name: What is fetched.
        url: From where.
        page: Where a browser finds it.
        folder: Where the part is kept.
        ending: Of the file's name; empty to take the server's.

    Attributes:
        ending: As given, or as the server names the file; empty if it names none of the usual ones.
    """

    def __init__(self, name: str, url: str, page: str, folder: Path, ending: str = ""):
        self.name, self.url, self.ending = name, url, ending
        self.part = folder / f".{name}.part"
        self.state = folder / f".{name}.part.json"
        self.by_hand = f"run the same command again, or download it by hand from {page}"

    def __call__(self, url: str, output_file: str, pooch: Any = None) -> None:
        """Download into ``output_file``.

        Raises:
            DownloadError: It did not succeed.
        """
        import requests

        try:
            with self._request(requests) as response:
                if response.status_code not in (200, 206):
                    raise self._error("the file from the server", f"the answer {response.status_code} {response.reason}")
                self._receive(response)
        except (requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL) as error:
            raise DownloadError(url, "an address that begins with https://", "none", "mend --url") from error
        except requests.RequestException as error:
            have = self.part.stat().st_size if self.part.is_file() else 0
            found = type(error).__name__ + (f", {have:,} bytes kept" if have else "")
            raise DownloadError(url, "a connection that lasts", found, f"check the network, then {self.by_hand}") from error
        self._check_content()
        self.part.replace(output_file)
        self.forget()

    def forget(self) -> None:
        """Remove the part."""
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)

    def _error(self, expected: str, found: str) -> DownloadError:
        return DownloadError(self.url, expected, found, self.by_hand)

    def _request(self, requests: Any) -> Any:
        options = {"stream": True, "timeout": TIMEOUT_SECONDS}
        headers = {"Accept-Encoding": "identity"}  # bytes are counted as they are
        state = self._read_state()
        if state:
            have = self.part.stat().st_size
            ranged = {**headers, "Range": f"bytes={have}-", "If-Range": state["validator"]}
            response = requests.get(self.url, headers=ranged, **options)
            expected = f"bytes {have}-{state['total'] - 1}/{state['total']}"
            if response.status_code == 200 or (response.status_code == 206 and response.headers.get("Content-Range") == expected):
                return response
            response.close()
        self.forget()
        response = requests.get(self.url, headers=headers, **options)
        if response.status_code == 206:
            response.close()
            raise self._error("the whole file from the server", "a part of it that was not asked for")
        return response

    def _read_state(self) -> dict[str, Any] | None:
        """Of a part that can be gone on with."""
        try:
            state = json.loads(self.state.read_text())
            usable = state["url"] == self.url and isinstance(state["validator"], str) and 0 < self.part.stat().st_size < state["total"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return state if usable else None

    def _receive(self, response: Any) -> None:
        from tqdm import tqdm

        headers, going_on = response.headers, response.status_code == 206
        have = self.part.stat().st_size if going_on else 0
        length = headers.get("Content-Length", "")
        total = have + int(length) if re.fullmatch(r"\d{1,15}", length) else None
        self.ending = self.ending or _ending(headers.get("Content-Disposition", ""))
        if headers.get("Content-Type", "").startswith("text/html"):
            raise self._error("a file", "a web page")
        if not going_on:
            tag = headers.get("ETag", "")
            validator = tag if tag.startswith('"') else headers.get("Last-Modified")
            write_text(self.state, json.dumps({"url": self.url, "total": total, "validator": validator}))
        size = "of unknown size" if total is None else f"{total / 1e6:.1f} MB"
        print(f"{self.name}: {size}" + (f", going on at {have / 1e6:.1f} MB" if have else ""), file=sys.stderr)
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=self.name, disable=None, leave=False)
        with open(self.part, "ab" if going_on else "wb") as part, bar:
            for block in response.iter_content(BLOCK_BYTES):
                part.write(block)
                part.flush()
                bar.update(len(block))
        found = self.part.stat().st_size
        if total is not None and found != total:
            raise self._error(f"{total:,} bytes", f"{found:,}")

    def _check_content(self) -> None:
        with open(self.part, "rb") as part:
            beginning = part.read(16)
        if not beginning or not beginning.startswith(BEGINNINGS.get(self.ending, (b"",))):
            self.forget()
            found = f"one that begins with {beginning!r}" if beginning else "an empty file"
            raise self._error(f"a file of the kind {self.ending or 'that was published'}", found)


def _ending(disposition: str) -> str:
    """The ending of the name that a Content-Disposition gives, if it is one of a data file."""
    message = Message()
    message["Content-Disposition"] = disposition
    name = (message.get_filename() or "").lower()
    return next((ending for ending in (".nii.gz", ".tar.gz", *ENDINGS) if name.endswith(ending)), "")
