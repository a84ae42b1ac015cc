"""A trained bundle into a zip for others: its own files alone, weights, lineage, a filled model card, and a list of what it holds."""

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

from mrh_monai.errors import BundleError, CheckpointError, OutputError
from mrh_monai.io import LARGEST_FILE, is_safe, sha256, writable_folder, write_bundle_zip
from mrh_monai.network import Sidecar, load_checkpoint, load_strictly, read_sidecar
from mrh_monai.protocol import MRProtocol
from mrh_monai.sharing.config_code import Code, foreign
from mrh_monai.sharing.model_card import fill_card
from mrh_monai.sharing.signing import sign, signature_path

MANIFEST = "MANIFEST.sha256"
# Folders of a bundle, and which of their files go along.
PACKED = {"configs": (".yaml", ".yml", ".json", ".conf"), "docs": (".md", ".png", ".jpg"), "models": ()}
INFERENCE = ("configs/inference.yaml", "configs/inference.json")
WEIGHTS = ("models/model.pt", "models/model.json")
CARD, METADATA = "docs/README.md", "configs/metadata.json"


@dataclass(frozen=True)
class Packed:
    """What went into a zip.

    Attributes:
        name: The bundle's.
        files: Paths inside the bundle, in order.
        left_out: Files of the bundle's folder that did not go along.
        foreign: Code in its configs that this project did not write, for which a receiver must trust its sender.
        sha256: Of the zip.
    """

    name: str
    files: list[str]
    left_out: list[str]
    foreign: list[Code] = field(default_factory=list)
    sha256: str = ""


def pack(bundle: Path | str, output: Path | str, scores: Path | str | None = None, key: Path | str | None = None) -> Packed:
    """Write a bundle's zip; the bundle itself stays as it is. The same input gives the same bytes.

    Args:
        bundle: Bundle folder with trained weights.
        output: The zip to write or replace.
        scores: `OUT/scores.json` of an evaluation by these weights, for the model card; None for none.
        key: OpenSSH private key to sign the zip with, as ``OUTPUT.sig``; None not to sign it.

    Raises:
        BundleError: It is no bundle, or its metadata are broken; the scores are of other weights; the key cannot sign.
        CheckpointError: It has no weights, or others than its sidecar and protocol say.
        OutputError: The zip cannot be written.
    """
    bundle, output = Path(bundle), Path(output)
    if not (bundle / METADATA).is_file():
        found = f"a folder without {METADATA}" if bundle.is_dir() else "a file" if bundle.exists() else "nothing"
        raise BundleError(bundle, "a bundle folder", found, "name one such as bundles/mrh_af")
    if output.suffix.lower() != ".zip":
        raise BundleError(output, "a zip to write", f"the ending {output.suffix or '(none)'}", "name it X.zip")
    name = bundle.resolve().name
    sidecar = check_weights(bundle)
    chosen, left_out = _chosen(bundle)
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
    with tempfile.TemporaryDirectory(prefix=".packing.", dir=writable_folder(output.parent)) as place:
        made = Path(place) / output.name
        write_bundle_zip(made, name, files)
        signed = None if key is None else sign(made, key)
        signature_path(output).unlink(missing_ok=True)  # of another zip of this name
        os.replace(made, output)
        if signed is not None:
            os.replace(signed, signature_path(output))
    return Packed(name, sorted(files), left_out, foreign(files), sha256(output))


def manifest(files: Mapping[str, bytes]) -> bytes:
    """SHA-256 of every file, as ``sha256sum --check`` reads it."""
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())).encode()


def check_weights(bundle: Path) -> Sidecar:
    """Load a bundle's weights as tensors and nothing else, into the network that sidecar and protocol describe.

    Raises:
        CheckpointError: They do not fit, or are not finite numbers.
        OptionError: The metadata hold no protocol.
    """
    path = bundle / WEIGHTS[0]
    described = read_sidecar(path)
    if path.stat().st_size > LARGEST_FILE:
        raise CheckpointError(path, f"at most {LARGEST_FILE >> 30} GiB", f"{path.stat().st_size / 2**30:.3g} GiB", "this is no MRH-Net")
    protocol = MRProtocol.from_metadata(bundle / METADATA)
    if described.channels != protocol.names:
        found = f"{len(described.channels)} others" if len(described.channels) != len(protocol) else "others, or another order"
        raise CheckpointError(path, f"the {len(protocol)} channels of {METADATA}", found, "put weights of this bundle's protocol into it")
    state, sidecar = load_checkpoint(path)
    load_strictly(sidecar.network(), state, path)
    return sidecar


def read_scores(path: Path | str, sidecar: Sidecar) -> dict[str, dict[str, float]]:
    """Scores of whole subjects, which the weights at hand must have got.

    Args:
        path: `OUT/scores.json`; the records of the predictions lie beside it.
        sidecar: Of the weights.

    Raises:
        BundleError: It is no such file; its subjects were predicted by other weights, or it cannot be told by which.
    """
    path = Path(path)
    remedy = "name the scores.json that evaluate.yaml wrote with these weights, among its predictions"
    try:
        scores = json.loads(path.read_text())
        if not scores or not all(scores.values()):
            raise ValueError("no subjects, or one without scores")
        for value in (value for row in scores.values() for value in row.values()):
            if value is not None and not math.isfinite(value):  # null: it could not be computed
                raise ValueError(f"the score {value}")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BundleError(path, "scores of subjects in JSON", f"{type(error).__name__} ({error})", remedy) from error
    for subject in scores:
        record = path.parent / subject / f"{subject}_{sidecar.stain}.json"
        try:
            weights = json.loads(record.read_text())["made_by"]["weights"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(record, f"the record of {subject}'s prediction", type(error).__name__, remedy) from error
        if weights != sidecar.sha256:
            raise BundleError(record, f"a prediction by the weights {sidecar.sha256[:12]}", f"one by {str(weights)[:12]}", remedy)
    return scores


def _chosen(bundle: Path) -> tuple[list[str], list[str]]:
    """What goes along, and what stays; links are followed nowhere."""
    chosen, left_out = [], []
    for path in sorted(bundle.rglob("*")):
        name = path.relative_to(bundle).as_posix()
        folder, _, file = name.partition("/")
        if path.is_dir() and not path.is_symlink():
            continue
        fits = file and "/" not in file and not file.startswith(".") and path.suffix.lower() in PACKED.get(folder, ())
        if path.is_file() and not path.is_symlink() and (fits or name in ("LICENSE", *WEIGHTS)):
            chosen.append(name)
        elif name != MANIFEST:  # of an earlier packing
            left_out.append(name)
    return chosen, left_out


def _with_lineage(path: Path, sidecar: Sidecar, scores: Mapping[str, Mapping[str, float]] | None) -> bytes:
    """`metadata.json` with what the network really started from, and its scores."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        declared = dict(content.get("pretrained") or {})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BundleError(path, "bundle metadata in JSON", f"{type(error).__name__} ({error})", "restore it") from error
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
    # In ASCII, which every system reads alike.
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _check_names(bundle: Path, names: Sequence[str]) -> None:
    """Before they are written: what the receiver's `mrh unpack` asks of them.

    Raises:
        BundleError: Some systems could not have one of them, or there is no config to predict with.
    """
    wrong = next((name for name in names if not is_safe(name)), None)
    if wrong is not None:
        raise BundleError(bundle, "names that every system can have", repr(wrong), "rename it")
    folded = [name.casefold() for name in names]
    twice = next((name for name in names if folded.count(name.casefold()) > 1), None)
    if twice is not None:
        raise BundleError(bundle, "names that differ on every system", f"{twice!r}, twice but for capital letters", "rename one")
    if not set(INFERENCE) & set(names):
        raise BundleError(bundle / INFERENCE[0], "the config that predicts", "none", "restore it")
