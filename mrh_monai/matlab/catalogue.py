"""Catalogue of the files that were published with MRH-Net, and downloading them."""

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
from mrh_monai.optional_imports import import_optional
from mrh_monai.output_files import check_outputs

CITATION = (
    "Liang Z, Lee CH, Arefin TM, Dong Z, Walczak P, Shi SH, Knoll F, Ge Y, Ying L, Zhang J. Virtual mouse brain histology from "
    "multi-contrast MRI via deep learning. eLife 2022;11:e72331. doi:10.7554/eLife.72331"
)
REPOSITORY = "https://github.com/liangzifei/MRH-Net"
DRYAD = "doi:10.5061/dryad.1vhhmgqv8"
RECORD = "fetched.json"


@dataclass(frozen=True)
class PublishedFile:
    """One published file or data set.

    Attributes:
        name: Name in this catalogue, such as ``net-af-5``.
        identifier: Where the file is published: an OSF identifier such as ``osf:jnvg5``, a DOI, or the path in the repository of MRH-Net.
        holds: Description of the content.
        stored_as: Ending of the file name if the identifier has no ending; empty where only the server knows the ending.

    Example:
        >>> PUBLISHED_FILES["target-af"].url, PUBLISHED_FILES["net-af-5"].ending
        ('https://osf.io/download/r5xwm/', '.mat')
    """

    name: str
    identifier: str
    holds: str
    stored_as: str = ""

    @property
    def ending(self) -> str:
        """Ending of the file name; empty where only the server knows it."""
        return self.stored_as or ("" if ":" in self.identifier else Path(self.identifier).suffix)

    @property
    def page(self) -> str:
        """Address of the page about the file, for a browser."""
        if self.identifier.startswith("osf:"):
            return f"https://osf.io/{self.identifier[4:]}/"
        return (
            f"https://doi.org/{self.identifier[4:]}" if self.identifier.startswith("doi:") else f"{REPOSITORY}/blob/main/{self.identifier}"
        )

    @property
    def url(self) -> str:
        """Address from which the file is downloaded."""
        if self.identifier.startswith("osf:"):
            return f"https://osf.io/download/{self.identifier[4:]}/"
        if self.identifier.startswith("doi:"):
            encoded = self.identifier.replace(":", "%3A").replace("/", "%2F")
            return f"https://datadryad.org/api/v2/datasets/{encoded}/download"
        return f"{REPOSITORY}/raw/main/{self.identifier}"


PUBLISHED_FILES: Mapping[str, PublishedFile] = {
    item.name: item
    for item in (
        PublishedFile("net-af-30", "network/net_30layerV3Res_HRJG_allMRIs_Fluo.mat", "AF network, 30 residual blocks"),
        PublishedFile("net-mbp-30", "network/net_30layerV3Res_HRJG_allmri_myelin_TransferLearn.mat", "MBP network, 30 blocks, by transfer"),
        PublishedFile("net-af-10", "network/net_10layerV3Res_HRJG_allMRIs_Fluo.mat", "AF network, 10 residual blocks"),
        PublishedFile("net-af-5", "network/net_5layerV3Res_HRJG_allMRIs_Fluo.mat", "AF network, 5 residual blocks"),
        PublishedFile("train-mri", "osf:jnvg5", "MRI of 4 of the 6 mice that trained AF, NF and MBP, 67 images each"),
        PublishedFile("train-mri-nissl", "osf:eqzbp", "MRI of 4 of the 6 mice that trained Nissl"),
        PublishedFile("target-af", "osf:r5xwm", "AF histology of 10 brains"),
        PublishedFile("target-nf", "osf:z7s5n", "NF histology"),
        PublishedFile("target-mbp", "osf:x3qne", "MBP histology"),
        PublishedFile("target-nissl", "osf:td4nu", "Nissl histology"),
        PublishedFile("patches-af", "osf:fk58t", "traindata.mat: 40,000 patches of MRI and AF", ".mat"),
        PublishedFile("patches-mbp", "osf:rw42b", "about 40,000 patches of MRI and MBP", ".mat"),
        PublishedFile("test-mri", "osf:uv6ek", "MRI of a healthy test mouse"),
        PublishedFile("test-mri-shiverer", "osf:sgbec", "MRI of a shiverer mouse, without myelin"),
        PublishedFile("test-mri-sas4", "osf:29bcw", "MRI of a Sas4 mutant, for Nissl"),
        PublishedFile("output-af", "Output/MRH_autofluo_output.zip", "virtual AF of one brain"),
        PublishedFile("output-nf", "Output/MRH_axon_output.zip", "virtual NF of two brains"),
        PublishedFile("output-nissl", "Output/MRH_nissl_output.zip", "virtual Nissl of one brain"),
        PublishedFile("ypred-af", "Output/YPred_auto.mat", "virtual AF of coronal slice 140, as patches"),
        PublishedFile("dryad", DRYAD, "the data set of the paper: MRI, histology and acquisition parameters"),
    )
}


def fetch_published(name: str, folder: Path | str, url: str | None = None, overwrite: bool = False) -> Path:
    """Download a published file, or check that an earlier download of it is still whole.

    The publishers do not state any checksums. The first download therefore writes the SHA-256 of the file into `fetched.json` beside it.
    Later calls compare the file with it, and download the file again if it was damaged.

    Args:
        name: Name of one of the `PUBLISHED_FILES`.
        folder: Folder to write into; it is made if it is missing.
        url: Another address to download the file from, such as that of a mirror.
        overwrite: Whether a file of this name that was not downloaded may be replaced.

    Returns:
        The file.

    Raises:
        OptionError: There is no published file of this name, or the library `pooch` is not installed.
        DownloadError: The server cannot be reached or refuses, or its file differs from the first download.
        OutputError: The file cannot be written, or another file has its name.
    """
    if name not in PUBLISHED_FILES:
        nearest = difflib.get_close_matches(name, PUBLISHED_FILES, n=1, cutoff=0.4)
        remedy = f"did you mean {nearest[0]}" if nearest else "run `mrh fetch` for the list"
        raise OptionError(name, "the name of a published file", "an unknown name", remedy)
    item, folder = PUBLISHED_FILES[name], writable_folder(folder)
    pooch = import_optional("pooch", "fetch")
    pooch.get_logger().setLevel(logging.WARNING)
    record = _read_record(folder / RECORD)
    known = record.get(name)
    address, kept_as, expected_hash = url or item.url, known["file"] if known else name, known["sha256"] if known else None
    if known is None:  # before the download, as far as the name is known
        check_outputs("download", [folder / name, folder / f"{name}{item.ending}"], overwrite=overwrite)
    download = ResumingDownload(name, address, item.page, folder, item.ending)
    try:
        path = Path(pooch.retrieve(address, expected_hash, kept_as, str(folder), downloader=download))
    except ValueError as error:
        if known is None:
            raise
        download.forget()
        expected = f"the file recorded at its first download (SHA-256 {known['sha256'][:12]})"
        remedy = f"compare with {item.page}; if it was replaced there on purpose, delete {name} from {folder / RECORD}"
        raise DownloadError(address, expected, "another file", remedy) from error
    except OSError as error:
        remedy = "free space on the disk, or name another folder"
        raise OutputError(folder, "space for the file", str(error.strerror or error), remedy) from error
    if known is None:
        if download.ending:
            check_outputs("download", [folder / f"{name}{download.ending}"], overwrite=overwrite)
        path = path.replace(path.with_name(name + download.ending))
        record[name] = {"file": path.name, "sha256": sha256(path), "bytes": path.stat().st_size, "url": address}
        write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
    return path


def _read_record(path: Path) -> dict[str, Any]:
    """Return the record of the downloads into a folder: by name, each file's name in the folder, its SHA-256, its size and its address."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
        entries = [(entry["file"], entry["sha256"]) for entry in content.values()]
        valid = all(re.fullmatch(r"[\w-]+(\.\w+)*", file) and re.fullmatch("[0-9a-f]{64}", digest) for file, digest in entries)
        found = "invalid file names or checksums"
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        valid, found = False, f"other content ({type(error).__name__})"
    if not valid:
        raise DownloadError(
            path, "the record of the downloads", found, "delete it together with the downloaded files, and fetch them again"
        )
    return content
