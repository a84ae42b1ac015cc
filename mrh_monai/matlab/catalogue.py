"""What was published with MRH-Net, by name, and fetching it."""

from __future__ import annotations

import difflib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrh_monai.errors import DownloadError, OptionError, OutputError
from mrh_monai.io import sha256, writable_folder, write_text
from mrh_monai.matlab.downloads import ResumingDownload
from mrh_monai.optional_imports import need

CITATION = (
    "Liang Z, Lee CH, Arefin TM, Dong Z, Walczak P, Shi SH, Knoll F, Ge Y, Ying L, Zhang J. Virtual mouse brain histology from "
    "multi-contrast MRI via deep learning. eLife 2022;11:e72331. doi:10.7554/eLife.72331"
)
REPOSITORY = "https://github.com/liangzifei/MRH-Net"
DRYAD = "doi:10.5061/dryad.1vhhmgqv8"
RECORD = "fetched.json"


@dataclass(frozen=True)
class Published:
    """One published file or data set.

    Attributes:
        name: What it is called here.
        identifier: ``osf:jnvg5``, a DOI, or its path in the MRH-Net repository.
        holds: What is in it.
        stored_as: Ending of its file where the identifier has none; empty where only the server knows.
    """

    @property
    def ending(self) -> str:
        """Of its file; empty if unknown."""
        return self.stored_as or ("" if ":" in self.identifier else Path(self.identifier).suffix)

    name: str
    identifier: str
    holds: str
    stored_as: str = ""

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
        Published("patches-af", "osf:fk58t", "traindata.mat: 40,000 patches of MRI and AF", ".mat"),
        Published("patches-mbp", "osf:rw42b", "about 40,000 patches of MRI and MBP", ".mat"),
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
    record = _read_record(folder / RECORD)
    known = record.get(name)
    address, kept_as, expected_hash = url or item.url, known["file"] if known else name, known["sha256"] if known else None
    download = ResumingDownload(name, address, item.page, folder, item.ending)
    try:
        path = Path(pooch.retrieve(address, expected_hash, kept_as, str(folder), downloader=download))
    except ValueError as error:
        if known is None:
            raise
        download.forget()
        expected = f"the file recorded at its first download (SHA-256 {known['sha256'][:12]})"
        remedy = f"compare with {item.page}; if it was replaced there on purpose, delete {name} from {folder / RECORD}"
        raise DownloadError(address, expected, "another one", remedy) from error
    except OSError as error:
        raise OutputError(folder, "room for the file", str(error.strerror or error), "free the disk or name another folder") from error
    if known is None:
        path = path.replace(path.with_name(name + download.ending))
        record[name] = {"file": path.name, "sha256": sha256(path), "bytes": path.stat().st_size, "url": address}
        write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
    return path


def _read_record(path: Path) -> dict[str, Any]:
    """What was fetched into a folder; each entry with the name of a file in it and its SHA-256."""
    try:
        content = json.loads(path.read_text())
        entries = [(entry["file"], entry["sha256"]) for entry in content.values()]
        sound = all(re.fullmatch(r"[\w-]+(\.\w+)*", file) and re.fullmatch("[0-9a-f]{64}", digest) for file, digest in entries)
        found = "file names or hashes that are none"
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        sound, found = False, f"something else ({type(error).__name__})"
    if not sound:
        raise DownloadError(path, "the record of what was fetched", found, "delete it, and what was fetched, to begin anew")
    return content
