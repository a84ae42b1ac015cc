"""A predicted subject as a report shows it: its files read again, checked, and put side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.data import Slices, Subject, read_headers, read_masks, read_target
from mrh_monai.errors import MRHError, SubjectError
from mrh_monai.evaluation import score
from mrh_monai.inference import made_of
from mrh_monai.io import each_volume, read_header, read_voxels
from mrh_monai.protocol import MT_OFF, MT_ON, T2, UNWEIGHTED_BELOW, MRProtocol, channel_from
from mrh_monai.scaling import LEVEL_PERCENTILE, Scaling

FAR = 1.0  # standard deviations of the training voxels by which a channel's mean may differ


@dataclass(frozen=True)
class Prediction:
    """A finished prediction and its record.

    Attributes:
        name: Of the subject, or of its folder where subjects of one name were predicted more than once.
        path: NIfTI file.
        record: See `mrh_monai.inference.prediction_record`.
    """

    name: str
    path: Path
    record: Mapping[str, Any]

    @property
    def about(self) -> dict[str, Any]:
        """What the record tells of network and files; empty in records of older versions."""
        return dict(self.record.get("about") or {})

    @property
    def subject(self) -> Subject | None:
        """Its files; None where the record does not name them."""
        files = self.about.get("files")
        if not files:
            return None
        others = {key: Path(files[key]) for key in ("mask", "fa", "target", "target_mask") if key in files}
        slices: Slices | None = None if self.record.get("slices") is None else tuple((a, b) for a, b in self.record["slices"])
        return Subject(self.name, tuple(Path(path) for path in files["image"]), **others, slices=slices)


def find_predictions(folder: Path) -> list[Prediction]:
    """The finished predictions below a folder, in the order of their names; where two have one name, of the folders that they lie in."""
    found = []
    for path in sorted(folder.rglob("*.nii.gz")):
        record = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
        try:
            content = json.loads(record.read_text())
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and "made_by" in content:
            found.append(Prediction(path.parent.name, path, content))
    names = [prediction.name for prediction in found]
    for index, prediction in enumerate(found):
        if names.count(prediction.name) > 1:
            found[index] = replace(prediction, name=prediction.path.parent.relative_to(folder).as_posix())
    return found


@dataclass
class Reported:
    """What is known of one predicted subject.

    Attributes:
        prediction: Its prediction.
        stain: (X, Y, Z) predicted, in the stain's units.
        affine: (4, 4) voxel index to mm.
        mask: (X, Y, Z) bool.
        image: (X, Y, Z), one of its MR images; None where they cannot be read any more.
        image_name: Its channel.
        target: (X, Y, Z); None without one.
        scored: (X, Y, Z) bool, where the target is sound.
        checks: Sentences: what, what was found, and whether it is as it should be.
        means: (C,) of the channels in the mask, divided by the subject's level; None where they cannot be read.
        scores: Of `mrh_monai.evaluation.scores.score`; None without a target.
    """

    prediction: Prediction
    stain: np.ndarray
    affine: np.ndarray
    mask: np.ndarray
    image: np.ndarray | None = None
    image_name: str = ""
    target: np.ndarray | None = None
    scored: np.ndarray | None = None
    checks: list[dict[str, Any]] = field(default_factory=list)
    means: np.ndarray | None = None
    scores: dict[str, float] | None = None

    @property
    def scaling(self) -> Scaling | None:
        """Of the network; None where the record does not say."""
        values = self.prediction.about.get("scaling")
        return None if not isinstance(values, dict) else Scaling.from_dict(values)


def read_reported(prediction: Prediction) -> Reported:
    """Read a prediction and, as far as they are still there, its subject's files.

    Raises:
        SubjectError: The prediction itself cannot be read.
    """
    header = read_header(prediction.path)
    stain = read_voxels(header)[..., 0]
    found = Reported(prediction, stain, header.affine, stain != 0)
    subject, rows = prediction.subject, prediction.about.get("channels")
    if subject is None or not rows:
        return found
    try:
        _read_files(found, subject, MRProtocol(tuple(channel_from(row) for row in rows)))
    except MRHError as error:
        found.checks.append(_check("Files", f"cannot be read as they were: {error}", False))
    return found


def _read_files(found: Reported, subject: Subject, protocol: MRProtocol) -> None:
    headers = read_headers(subject, protocol)
    if headers["image"][0].shape != found.stain.shape:
        raise SubjectError(
            found.prediction.path, f"shape {headers['image'][0].shape} as its images", f"{found.stain.shape}", "predict again"
        )
    found.mask, _ = read_masks(subject, headers)
    unchanged = made_of(subject)["inputs"] == found.prediction.record.get("inputs")
    first = headers["image"][0]
    edges = " x ".join(f"{edge:g}" for edge in first.spacing)
    found.checks += [
        _check("Files", "as they were when the stain was predicted" if unchanged else "changed since the stain was predicted", unchanged),
        _check(
            "Images", f"{len(protocol)} channels in {len(subject.image)} file{'s' * (len(subject.image) > 1)}, as the protocol has them"
        ),
        _check("Grid", f"{' x '.join(map(str, first.shape))} voxels of {edges} mm, the same in all files"),
        _check("Mask", f"{int(found.mask.sum()):,} voxels"),
    ]
    names = protocol.names
    found.image_name = next((name for name in (MT_OFF, T2) if name in names), names[0])
    means, levels = np.empty(len(names)), np.empty(len(names))
    volumes = (volume for header in headers["image"] for volume in each_volume(header))
    for index, volume in enumerate(volumes):
        inside = np.nan_to_num(np.asarray(volume[found.mask], np.float64), posinf=0, neginf=0)
        means[index], levels[index] = inside.mean(), np.percentile(inside, LEVEL_PERCENTILE)
        if names[index] == found.image_name:
            found.image = np.nan_to_num(np.asarray(volume, np.float32), posinf=0, neginf=0)
    found.means = means / max(float(levels.max()), 1e-30)
    found.checks += _check_signals(found.means, protocol, found.scaling)
    if subject.target is not None:
        found.target, sound = read_target(headers, found.mask, "zero")
        found.scored = found.mask if sound is None else found.mask & sound
        found.scores = score(found.stain, found.target, found.scored)


def _check_signals(means: np.ndarray, protocol: MRProtocol, scaling: Scaling | None) -> list[dict[str, Any]]:
    names, checks = protocol.names, []
    if MT_ON in names and MT_OFF in names:
        on, off = means[names.index(MT_ON)], means[names.index(MT_OFF)]
        words = "MT off is brighter than MT on" if off > on else "MT on is brighter than MT off: the two look swapped"
        checks.append(_check("Magnetization transfer", f"{words} ({off:.3f} and {on:.3f} of the level)", off > on))
    b_values = np.array([np.nan if channel.b_value is None else channel.b_value for channel in protocol])
    if (b_values < UNWEIGHTED_BELOW).any() and (b_values >= UNWEIGHTED_BELOW).any():
        unweighted, weighted = means[b_values < UNWEIGHTED_BELOW].mean(), means[b_values >= UNWEIGHTED_BELOW]
        good = bool(weighted.max() < unweighted)
        words = (
            "every weighted image is darker than the unweighted ones" if good else "a weighted image is brighter than the unweighted ones"
        )
        checks.append(_check("Diffusion", words, good))
    if scaling is not None and scaling.mode == "robust" and len(scaling.channel_mean) == len(means):
        away = (means - np.array(scaling.channel_mean)) / np.array(scaling.channel_std)
        worst = int(np.argmax(np.abs(away)))
        good = abs(away[worst]) < FAR
        words = f"{names[worst]} is furthest from the training subjects, by {away[worst]:+.2f} standard deviations of their voxels"
        checks.append(_check("Signal levels", words if good else f"{words}: other tissue or another protocol; trust the stain less", good))
    return checks


def _check(what: str, found: str, good: bool = True) -> dict[str, Any]:
    return {"what": what, "found": found, "good": bool(good)}
