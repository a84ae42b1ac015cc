"""What was published with MRH-Net, by name, and fetching it."""

from __future__ import annotations

import difflib
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrh_monai.errors import DownloadError, OptionError
from mrh_monai.extras import need
from mrh_monai.files import sha256, writable_folder, write_text

CITATION = (
    "Liang Z, Lee CH, Arefin TM, Dong Z, Walczak P, Shi SH, Knoll F, Ge Y, Ying L, Zhang J. Virtual mouse brain histology from "
    "multi-contrast MRI via deep learning. eLife 2022;11:e72331. doi:10.7554/eLife.72331"
)
REPOSITORY = "https://github.com/liangzifei/MRH-Net"
DRYAD = "doi:10.5061/dryad.1vhhmgqv8"
RECORD = "fetched.json"
TIMEOUT_SECONDS = 60
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Published:
    """One published file or data set.

    Attributes:
        name: What it is called here.
        identifier: ``osf:jnvg5``, a DOI, or its path in the MRH-Net repository.
        holds: What is in it.
    """

    name: str
    identifier: str
    holds: str

    @property
    def page(self) -> str:
        """Where a browser finds it."""
        if self.identifier.startswith("osf:"):
            return f"https://osf.io/{self.identifier[4:]}/"
        return (
            f"https://doi.org/{self.identifier[4:]}" if self.identifier.startswith("doi:") else f"{REPOSITORY}/blob/main/{self.identifier}"
        )

    @property
    def url(self) -> str:
        """Where it is downloaded from."""
        if self.identifier.startswith("osf:"):
            return f"https://osf.io/download/{self.identifier[4:]}/"
        if self.identifier.startswith("doi:"):
            encoded = self.identifier.replace(":", "%3A").replace("/", "%2F")
            return f"https://datadryad.org/api/v2/datasets/{encoded}/download"
        return f"{REPOSITORY}/raw/main/{self.identifier}"


PUBLISHED: Mapping[str, Published] = {
    item.name: item
    for item in (
        Published("net-af-30", "network/net_30layerV3Res_HRJG_allMRIs_Fluo.mat", "AF network, 30 residual blocks"),
        Published("net-mbp-30", "network/net_30layerV3Res_HRJG_allmri_myelin_TransferLearn.mat", "MBP network, 30 blocks, by transfer"),
        Published("net-af-10", "network/net_10layerV3Res_HRJG_allMRIs_Fluo.mat", "AF network, 10 residual blocks"),
        Published("net-af-5", "network/net_5layerV3Res_HRJG_allMRIs_Fluo.mat", "AF network, 5 residual blocks"),
        Published("train-mri", "osf:jnvg5", "MRI of 4 of the 6 mice that trained AF, NF and MBP, 67 images each"),
        Published("train-mri-nissl", "osf:eqzbp", "MRI of 4 of the 6 mice that trained Nissl"),
        Published("target-af", "osf:r5xwm", "AF histology of 10 brains"),
        Published("target-nf", "osf:z7s5n", "NF histology"),
        Published("target-mbp", "osf:x3qne", "MBP histology"),
        Published("target-nissl", "osf:td4nu", "Nissl histology"),
        Published("patches-af", "osf:fk58t", "traindata.mat: 40,000 patches of MRI and AF"),
        Published("patches-mbp", "osf:rw42b", "about 40,000 patches of MRI and MBP"),
        Published("test-mri", "osf:uv6ek", "MRI of a healthy test mouse"),
        Published("test-mri-shiverer", "osf:sgbec", "MRI of a shiverer mouse, without myelin"),
        Published("test-mri-sas4", "osf:29bcw", "MRI of a Sas4 mutant, for Nissl"),
        Published("output-af", "Output/MRH_autofluo_output.zip", "virtual AF of one brain"),
        Published("output-nf", "Output/MRH_axon_output.zip", "virtual NF of two brains"),
        Published("output-nissl", "Output/MRH_nissl_output.zip", "virtual Nissl of one brain"),
        Published("ypred-af", "Output/YPred_auto.mat", "virtual AF of coronal slice 140, as patches"),
        Published("dryad", DRYAD, "the data set of the paper: MRI, histology and acquisition parameters"),
    )
}


def fetch_published(name: str, folder: Path | str, url: str | None = None) -> Path:
    """Download a published file, or check that the one already there is still whole.

    The SHA-256 of the first download is written into `fetched.json` beside it; later calls compare with it, and download anew what has
    been damaged since. The publishers state no hashes.

    Args:
        name: One of `PUBLISHED`.
        folder: Where to put it.
        url: Another place to download from.

    Returns:
        The file.

    Raises:
        OptionError: There is no such name.
        DownloadError: The server cannot be reached or refuses, or what it sends is not what was recorded.
    """
    if name not in PUBLISHED:
        nearest = difflib.get_close_matches(name, PUBLISHED, n=1, cutoff=0.4)
        remedy = f"did you mean {nearest[0]}" if nearest else "run `mrh fetch` for the list"
        raise OptionError(name, "the name of a published file", "none", remedy)
    item, folder = PUBLISHED[name], writable_folder(folder)
    pooch = need("pooch", "fetch")
    pooch.get_logger().setLevel(logging.WARNING)
    record = _read_record(folder / RECORD, strict=True)
    known = record.get(name, {})
    download = ResumingDownload(item, folder)
    file_name = known.get("file", name)
    try:
        path = Path(pooch.retrieve(url or item.url, known.get("sha256"), file_name, str(folder), downloader=download))
    except ValueError as error:  # pooch's, where hashes differ
        download.forget()
        expected = f"the file recorded at its first download (SHA-256 {known.get('sha256', '')[:12]})"
        remedy = f"compare with {item.page}; if it was replaced there on purpose, delete {name} from {folder / RECORD}"
        raise DownloadError(url or item.url, expected, "another one", remedy) from error
    if "sha256" not in known:
        if download.ending and not path.suffix:
            path = path.replace(path.with_name(path.name + download.ending))
        record[name] = {"file": path.name, "sha256": sha256(path), "bytes": path.stat().st_size, "url": url or item.url}
        write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
    return path


class ResumingDownload:
    """A downloader for pooch that keeps what has come when a connection breaks, and goes on from there.

    Args:
        item: What is fetched.
        folder: Where its part is kept.

    Attributes:
        ending: Of the file's name as the server gives it; empty if it gives none.
    """

    def __init__(self, item: Published, folder: Path):
        self.item, self.ending = item, Path(item.identifier).suffix if ":" not in item.identifier else ""
        self.part = folder / f".{item.name}.part"
        self.state = self.part.with_suffix(".json")

    def __call__(self, url: str, output_file: str, pooch: Any = None) -> None:
        """Download into ``output_file``, going on where an earlier call stopped if the file on the server is still the same.

        Raises:
            DownloadError: It did not succeed; the next call goes on from what there is.
        """
        import requests

        by_hand = f"run the same command again, or download it by hand from {self.item.page}"
        try:
            with self._request(requests, url) as response:
                if response.status_code not in (200, 206):
                    answer = f"{response.status_code} {response.reason}"
                    raise DownloadError(url, f"{self.item.name} from the server", f"the answer {answer}", by_hand)
                self._receive(response, url, output_file)
        except requests.RequestException as error:
            have = self.part.stat().st_size if self.part.is_file() else 0
            kept = f", {have:,} bytes kept" if have else ""
            found = f"{type(error).__name__}{kept}"
            raise DownloadError(url, "a connection that lasts", found, f"check the network, then {by_hand}") from error

    def forget(self) -> None:
        """Remove the part."""
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)

    def _request(self, requests: Any, url: str) -> Any:
        have, state = (self.part.stat().st_size, _read_record(self.state)) if self.part.is_file() else (0, {})
        options = {"stream": True, "timeout": TIMEOUT_SECONDS}
        plain = {"Accept-Encoding": "identity"}  # bytes are counted as they are
        if have and state.get("url") == url:
            validator = {"If-Range": state["validator"]} if state.get("validator") else {}
            response = requests.get(url, headers={**plain, "Range": f"bytes={have}-", **validator}, **options)
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if response.status_code == 200 or (response.status_code == 206 and total == str(state.get("total"))):
                return response
            response.close()
        self.forget()
        return requests.get(url, headers=plain, **options)

    def _receive(self, response: Any, url: str, output_file: str) -> None:
        from tqdm import tqdm

        going_on = response.status_code == 206
        have = self.part.stat().st_size if going_on else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        disposition = response.headers.get("Content-Disposition", "")
        named = disposition.rpartition("filename=")[2].split(";")[0].strip('" ')
        self.ending = self.ending or Path(named).suffix
        if not going_on:
            strong = response.headers.get("ETag", "")
            validator = strong if strong and not strong.startswith("W/") else response.headers.get("Last-Modified")
            write_text(self.state, json.dumps({"url": url, "total": total, "validator": validator}))
        size = f"{total / 1e6:.1f} MB" if total else "of unknown size"
        print(f"{self.item.name}: {size}" + (f", going on at {have / 1e6:.1f} MB" if have else ""), file=sys.stderr)
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=self.item.name, disable=None, leave=False)
        with open(self.part, "ab" if going_on else "wb") as part, bar:
            for block in response.iter_content(BLOCK_BYTES):
                part.write(block)
                bar.update(len(block))
        found = self.part.stat().st_size
        if total is not None and found != total:
            raise DownloadError(url, f"{total:,} bytes", f"{found:,}", "run the same command again; it goes on from there")
        self.part.replace(output_file)
        self.state.unlink(missing_ok=True)


def _read_record(path: Path, strict: bool = False) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
        if isinstance(content, dict):
            return content
        found = f"a {type(content).__name__}"
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        found = type(error).__name__
    if strict:
        raise DownloadError(path, "the record of what was fetched", found, "delete it, and what was fetched, to begin anew")
    return {}
