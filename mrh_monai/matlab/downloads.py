"""Downloads that continue at the byte where a broken connection stopped."""

from __future__ import annotations

import json
import re
import sys
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any

from mrh_monai.errors import DownloadError
from mrh_monai.io import write_text

TIMEOUT_SECONDS = 60
BLOCK_BYTES = 1 << 16
# First bytes of the files with these endings. A web page that asks for a login begins differently.
BEGINNINGS = {".mat": (b"MATLAB", b"\x89HDF"), ".zip": (b"PK",)}
ENDINGS = (".mat", ".zip", ".gz", ".tar", ".rar", ".7z", ".img", ".nii")


class ResumingDownload:
    """Downloader for pooch that keeps the received part of a file when a connection breaks.

    The next call continues from there, if a validator from the server (a strong ETag, or Last-Modified) says that the file is still the
    same. Without a validator, the download begins again.

    Args:
        name: Name of the file in the catalogue.
        url: Address to download from.
        page: Address of the page about the file, which errors name.
        folder: Folder in which the received part is kept.
        ending: Ending of the file name; empty to take it from the server.

    Attributes:
        ending: The given ending, or the ending of the server's file name; empty if both are unknown.
    """

    def __init__(self, name: str, url: str, page: str, folder: Path, ending: str = ""):
        self.name, self.url, self.ending = name, url, ending
        self.part = folder / f".{name}.part"
        self.state = folder / f".{name}.part.json"
        self.remedy = f"run the same command again, or download the file with a browser from {page}"

    def __call__(self, url: str, output_file: str, pooch: Any = None) -> None:
        """Download the file; pooch calls this method.

        Args:
            url: Address of the file, which is that of this object.
            output_file: File to write.
            pooch: Not used.

        Raises:
            DownloadError: The download did not succeed.
        """
        import requests

        try:
            with self._request(requests) as response:
                if response.status_code not in (200, 206):
                    raise self._error("the file from the server", f"the answer {response.status_code} {response.reason}")
                self._receive(response)
        except (requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL) as error:
            raise DownloadError(
                url, "an address that begins with https://", "another text", "correct the address that --url gives"
            ) from error
        except requests.RequestException as error:
            have = self.part.stat().st_size if self.part.is_file() else 0
            found = type(error).__name__ + (f", {have:,} bytes kept" if have else "")
            raise DownloadError(url, "an uninterrupted connection", found, f"check the network, then {self.remedy}") from error
        self._check_content()
        self.part.replace(output_file)
        self.forget()

    def forget(self) -> None:
        """Remove the received part of the file."""
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)

    def _error(self, expected: str, found: str) -> DownloadError:
        return DownloadError(self.url, expected, found, self.remedy)

    def _request(self, requests: ModuleType) -> Any:
        """Return the server's response with the rest of the file, or with the whole file where the server cannot send only the rest."""
        options = {"stream": True, "timeout": TIMEOUT_SECONDS}
        headers = {"Accept-Encoding": "identity"}  # The server must not compress the file, because its bytes are counted.
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
            raise self._error("the whole file from the server", "only a part of the file")
        return response

    def _read_state(self) -> dict[str, Any] | None:
        """Return the record of the received part: its address, total length and validator; None where the download cannot continue."""
        try:
            state: dict[str, Any] = json.loads(self.state.read_text(encoding="utf-8-sig"))
            usable = state["url"] == self.url and isinstance(state["validator"], str) and 0 < self.part.stat().st_size < state["total"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return state if usable else None

    def _receive(self, response: Any) -> None:
        """Append the body of a response to the received part."""
        from tqdm import tqdm

        headers, continues = response.headers, response.status_code == 206
        have = self.part.stat().st_size if continues else 0
        length = headers.get("Content-Length", "")
        total = have + int(length) if re.fullmatch(r"\d{1,15}", length) else None
        self.ending = self.ending or _ending_from_server(headers.get("Content-Disposition", ""))
        if headers.get("Content-Type", "").startswith("text/html"):
            raise self._error("a file", "a web page")
        if not continues:
            tag = headers.get("ETag", "")
            validator = tag if tag.startswith('"') else headers.get("Last-Modified")
            write_text(self.state, json.dumps({"url": self.url, "total": total, "validator": validator}))
        size = "of unknown size" if total is None else f"{total / 1e6:.1f} MB"
        print(f"{self.name}: {size}" + (f", continued at {have / 1e6:.1f} MB" if have else ""), file=sys.stderr)
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=self.name, disable=None, leave=False)
        with open(self.part, "ab" if continues else "wb") as part, bar:
            for block in response.iter_content(BLOCK_BYTES):
                part.write(block)
                part.flush()
                bar.update(len(block))
        found = self.part.stat().st_size
        if total is not None and found != total:
            raise self._error(f"{total:,} bytes", f"{found:,}")

    def _check_content(self) -> None:
        """Compare the first bytes of the file with its ending."""
        with open(self.part, "rb") as part:
            beginning = part.read(16)
        if not beginning or not beginning.startswith(BEGINNINGS.get(self.ending, (b"",))):
            self.forget()
            found = f"a file that begins with {beginning!r}" if beginning else "an empty file"
            raise self._error(f"a {self.ending or 'published'} file", found)


def _ending_from_server(disposition: str) -> str:
    """Return the ending of the file name in a Content-Disposition, or an empty text if it is not the ending of a data file."""
    message = Message()
    message["Content-Disposition"] = disposition
    name = (message.get_filename() or "").lower()
    return next((ending for ending in (".nii.gz", ".tar.gz", *ENDINGS) if name.endswith(ending)), "")
