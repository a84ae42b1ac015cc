"""Pack a trained bundle as a zip for others: its own files only, with weights, lineage, a filled model card, and a list of its content."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrh_monai.errors import BundleError, CheckpointError, OutputError, cause_in_words
from mrh_monai.io import LARGEST_FILE, is_safe_path, sha256, writable_folder, write_bundle_zip
from mrh_monai.network import Sidecar, bundle_files, load_checkpoint, load_interval_head, load_strictly, read_sidecar
from mrh_monai.output_files import check_outputs, writing
from mrh_monai.protocol import MRProtocol
from mrh_monai.sharing.config_code import Code
from mrh_monai.sharing.model_card import fill_card
from mrh_monai.sharing.signing import sign, signature_path
from mrh_monai.sharing.template_history import foreign

MANIFEST = "MANIFEST.sha256"
# Folders of a bundle, and the endings of their files that are packed.
PACKED = {"configs": (".yaml", ".yml", ".json", ".conf"), "docs": (".md", ".png", ".jpg"), "models": ()}
INFERENCE = ("configs/inference.yaml", "configs/inference.json")
WEIGHTS = ("models/model.pt", "models/model.json")
HEAD = "models/model_intervals.pt"  # of bundles that have an interval head
CARD, METADATA = "docs/README.md", "configs/metadata.json"


@dataclass(frozen=True)
class Packed:
    """The content of a zip that was written.

    Attributes:
        name: Name of the bundle.
        files: Paths inside the bundle, in order.
        left_out: Files of the bundle's folder that were not packed.
        foreign: Code in its configs that this project did not write, so that a receiver has to trust the sender.
        sha256: SHA-256 of the zip.
    """

    name: str
    files: list[str]
    left_out: list[str]
    foreign: list[Code] = field(default_factory=list)
    sha256: str = ""


def pack(
    bundle: Path | str, output: Path | str, scores: Path | str | None = None, key: Path | str | None = None, overwrite: bool = False
) -> Packed:
    """Write the zip of a bundle; the bundle itself is not changed. The same input gives the same bytes.

    Args:
        bundle: Bundle folder with trained weights.
        output: The zip to write or replace.
        scores: `OUT/scores.json` of an evaluation with these weights, for the model card; None for no scores.
        key: OpenSSH private key, with which the zip is signed as ``OUTPUT.sig``; None for no signature.
        overwrite: Whether files of another origin may be replaced.

    Returns:
        The content of the zip.

    Raises:
        BundleError: The folder is not a bundle, or its metadata are damaged; the scores belong to other weights; the key cannot sign.
        CheckpointError: The bundle has no weights, or weights that do not fit its sidecar and protocol.
        OutputError: The zip cannot be written, or would replace a file of another origin.
    """
    bundle, output = Path(bundle), Path(output)
    if not (bundle / METADATA).is_file():
        found = f"a folder without {METADATA}" if bundle.is_dir() else "a file" if bundle.exists() else "no such folder"
        raise BundleError(bundle, "a bundle folder", found, "name a bundle folder such as bundles/mrh_af")
    if output.suffix.lower() != ".zip":
        found = f"the ending {output.suffix}" if output.suffix else "a name without an ending"
        raise BundleError(output, "a zip to write", found, "give a name that ends in .zip")
    outputs = [output] if key is None else [output, signature_path(output)]
    inputs = [*bundle_files(bundle), *(path for path in (scores, key) if path is not None)]
    check_outputs("zip", outputs, inputs, overwrite)
    name = bundle.resolve().name
    sidecar = check_weights(bundle)
    chosen, left_out = _chosen(bundle, sidecar)
    _check_names(bundle, [name, *chosen])
    files = {file: (bundle / file).read_bytes() for file in chosen}
    measured = None if scores is None else read_scores(scores, sidecar)
    protocol = MRProtocol.from_metadata(bundle / METADATA)
    files[METADATA] = _with_lineage(bundle / METADATA, sidecar, measured)
    readme = files.get(CARD, b"").decode(errors="replace")
    files[CARD] = fill_card(readme, sidecar, protocol, measured).encode()
    files[MANIFEST] = manifest(files)
    if output.is_dir():
        raise OutputError(output, "a file to write", "a folder", "name a file")
    with (
        writing("zip", outputs, inputs, overwrite),
        tempfile.TemporaryDirectory(prefix=".packing.", dir=writable_folder(output.parent)) as place,
    ):
        made = Path(place) / output.name
        write_bundle_zip(made, name, files)
        signed = None if key is None else sign(made, key)
        signature_path(output).unlink(missing_ok=True)  # an older signature would belong to another zip of this name
        os.replace(made, output)
        if signed is not None:
            os.replace(signed, signature_path(output))
    return Packed(name, sorted(files), left_out, foreign(files), sha256(output))


def manifest(files: Mapping[str, bytes]) -> bytes:
    """Return the SHA-256 of every file, in the format that ``sha256sum --check`` reads."""
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())).encode()


def check_weights(bundle: Path) -> Sidecar:
    """Load the weights of a bundle, as plain tensors only, into the network that sidecar and protocol describe, and its interval head.

    Args:
        bundle: Bundle folder.

    Returns:
        The sidecar of the weights.

    Raises:
        CheckpointError: The weights do not fit, or are not finite numbers.
        OptionError: The metadata list no channels.
    """
    path = bundle / WEIGHTS[0]
    described = read_sidecar(path)
    if path.stat().st_size > LARGEST_FILE:
        size = f"{path.stat().st_size / 2**30:.3g} GiB"
        raise CheckpointError(path, f"at most {LARGEST_FILE >> 30} GiB", size, "pack the weights of an MRH-Net")
    protocol = MRProtocol.from_metadata(bundle / METADATA)
    if described.channels != protocol.names:
        same_number = len(described.channels) == len(protocol)
        found = "other channels, or another order" if same_number else f"{len(described.channels)} other channels"
        remedy = "put weights into the bundle that were trained on its protocol"
        raise CheckpointError(path, f"the {len(protocol)} channels of {METADATA}", found, remedy)
    state, sidecar = load_checkpoint(path)
    load_strictly(sidecar.network(), state, path)
    if sidecar.intervals is not None:
        load_interval_head(path, sidecar)
    return sidecar


def read_scores(path: Path | str, sidecar: Sidecar) -> dict[str, dict[str, float]]:
    """Read the scores of whole subjects, which must be scores of the given weights.

    Args:
        path: `OUT/scores.json`; the records of the predictions lie beside it.
        sidecar: Sidecar of the weights.

    Returns:
        Scores by subject and key.

    Raises:
        BundleError: The file does not hold such scores; or its subjects were predicted by other weights, or have no records.
    """
    path = Path(path)
    remedy = "name the scores.json that evaluate.yaml wrote with these weights, among its predictions"
    try:
        scores: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8-sig"))
        if not scores or not all(scores.values()):
            raise ValueError("no subjects, or a subject without scores")
        for value in (value for row in scores.values() for value in row.values()):
            if value is not None and not math.isfinite(value):  # null means that the score could not be computed
                raise ValueError(f"the score {value}")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BundleError(path, "scores of subjects in JSON", cause_in_words(error), remedy) from error
    for subject in scores:
        record = path.parent / subject / f"{subject}_{sidecar.stain}.json"
        try:
            weights = json.loads(record.read_text(encoding="utf-8-sig"))["made_by"]["weights"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(record, f"the record of {subject}'s prediction", cause_in_words(error), remedy) from error
        if weights != sidecar.sha256:
            raise BundleError(record, f"a prediction by the weights {sidecar.sha256[:12]}", f"a prediction by {str(weights)[:12]}", remedy)
    return scores


def _chosen(bundle: Path, sidecar: Sidecar) -> tuple[list[str], list[str]]:
    """Return the files that are packed, and those that are left out; links are never followed."""
    chosen, left_out = [], []
    named = ("LICENSE", *WEIGHTS, *(() if sidecar.intervals is None else (HEAD,)))
    for path in sorted(bundle.rglob("*")):
        name = path.relative_to(bundle).as_posix()
        folder, _, file = name.partition("/")
        if path.is_dir() and not path.is_symlink():
            continue
        fits = file and "/" not in file and not file.startswith(".") and path.suffix.lower() in PACKED.get(folder, ())
        if path.is_file() and not path.is_symlink() and (fits or name in named):
            chosen.append(name)
        elif name != MANIFEST:  # an earlier packing wrote it
            left_out.append(name)
    return chosen, left_out


def _with_lineage(path: Path, sidecar: Sidecar, scores: Mapping[str, Mapping[str, float]] | None) -> bytes:
    """Return `metadata.json` with the parent from which the network really started, and with its scores."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
        declared = dict(content.get("pretrained") or {})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        found = f"{type(error).__name__} ({error})"
        raise BundleError(path, "bundle metadata in JSON", found, "copy the file from the original bundle") from error
    if sidecar.parent is not None:
        same = declared.get("name") == sidecar.parent.get("name")
        content["pretrained"] = (declared if same else {}) | {"used": True} | sidecar.parent
    elif declared:
        content["pretrained"] = declared | {"used": False}
    source = sidecar.source
    measured = {name: source[name] for name in ("val_rmse", "val_r2") if name in source}
    content["eval_metrics"] = {**measured, **({"subjects": scores} if scores else {})}
    content["weights"] = {
        "file": WEIGHTS[0],
        "sha256": sidecar.sha256,
        "residual_blocks": sidecar.residual_blocks,
        "features": sidecar.features,
    }
    # In ASCII, which every system reads in the same way.
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _check_names(bundle: Path, names: Sequence[str]) -> None:
    """Check names before they are packed, as `mrh unpack` of the receiver will do.

    Raises:
        BundleError: A name is not possible on every system, or there is no config that predicts.
    """
    wrong = next((name for name in names if not is_safe_path(name)), None)
    if wrong is not None:
        raise BundleError(bundle, "names that are possible on every system", repr(wrong), "rename this file or folder")
    folded = [name.casefold() for name in names]
    twice = next((name for name in names if folded.count(name.casefold()) > 1), None)
    if twice is not None:
        found = f"two names that differ only in capital letters, {twice!r}"
        raise BundleError(bundle, "names that differ on every system", found, "rename one of the two")
    if not set(INFERENCE) & set(names):
        raise BundleError(bundle / INFERENCE[0], "the config that predicts", "no such file", "copy the file from the original bundle")
