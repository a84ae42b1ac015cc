"""Find written predictions, and read a predicted subject again: its files are checked, and its stain is scored."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.axis_order import in_order
from mrh_monai.data import read_headers, read_masks, read_target
from mrh_monai.errors import MRHError, OptionError, SubjectError
from mrh_monai.evaluation import score, structures
from mrh_monai.inference import Bounds, bound_paths, input_state, read_record, record_path, recorded_bounds
from mrh_monai.io import Header, each_volume, is_nifti, read_header, read_voxels
from mrh_monai.protocol import MT_OFF, MT_ON, T2, MRProtocol
from mrh_monai.scaling import FAR, LEVEL_PERCENTILE, Scaling, scaling_from_dict
from mrh_monai.subjects import Slices, Subject


@dataclass(frozen=True)
class WrittenPrediction:
    """A finished prediction and its record.

    Attributes:
        name: Name of the subject, with its folder or file where several predictions have the same name.
        path: NIfTI file.
        record: See `mrh_monai.inference.write_record`.
    """

    name: str
    path: Path
    record: Mapping[str, Any]

    @property
    def about(self) -> dict[str, Any]:
        """What the record says about network and files; empty in records of older versions."""
        return dict(self.record.get("about") or {})

    @property
    def subject_name(self) -> str:
        """Name of the subject; records of older versions do not hold it, and lie in a folder of that name."""
        return str(self.about.get("subject") or self.path.parent.name)

    @property
    def subject(self) -> Subject | None:
        """Files of the subject; None where the record does not name them."""
        files = self.about.get("files")
        if not files:
            return None
        others = {key: Path(files[key]) for key in ("mask", "fa", "target", "target_mask") if key in files}
        slices: Slices | None = None if self.record.get("slices") is None else tuple((a, b) for a, b in self.record["slices"])
        return Subject(
            self.subject_name,
            tuple(Path(path) for path in files["image"]),
            **others,
            slices=slices,
            voxel_size=self.record.get("voxel_size"),
            coronal_axis=self.about.get("coronal_axis"),
        )


def find_predictions(folder: Path) -> list[WrittenPrediction]:
    """Return the finished predictions below a folder: NIfTI files with their record beside them.

    Predictions of the same subject are told apart by the folders in which they lie, or by their files if they lie in one folder.
    """
    found: dict[Path, WrittenPrediction] = {}
    for path in sorted(path for path in folder.rglob("*") if is_nifti(path) and not is_hidden(path.relative_to(folder))):
        record = read_record(path)
        # NAME.nii and NAME.nii.gz would have the same record, which belongs to the file whose size it names.
        known = found.get(record_path(path))
        if record is not None and record.get("bytes") is not None and (known is None or record.get("bytes") == path.stat().st_size):
            named = WrittenPrediction("", path, record)
            found[record_path(path)] = replace(named, name=named.subject_name)
    predictions = list(found.values())
    by_folder = [path.parent.relative_to(folder).as_posix() for path in (each.path for each in predictions)]
    by_file = [record_path(each.path).with_suffix("").relative_to(folder).as_posix() for each in predictions]
    return _with_names(_with_names(predictions, by_folder), by_file)


def is_hidden(path: Path) -> bool:
    """Return whether a name in a path begins with a dot, such as the twins ``._NAME`` of macOS and folders of snapshots."""
    return any(part.startswith(".") for part in path.parts)


def _with_names(predictions: list[WrittenPrediction], labels: list[str]) -> list[WrittenPrediction]:
    """Return the predictions, those whose name occurs more than once under another name."""
    names = [prediction.name for prediction in predictions]
    return [
        replace(prediction, name=label) if names.count(prediction.name) > 1 else prediction
        for prediction, label in zip(predictions, labels, strict=True)
    ]


@dataclass(frozen=True)
class Check:
    """One check of a predicted subject.

    Attributes:
        what: What was checked.
        found: What was found, in words.
        good: Whether the check is passed.
    """

    what: str
    found: str
    good: bool = True


@dataclass
class PredictedSubject:
    """A predicted subject as a page shows it.

    Attributes:
        prediction: The written prediction.
        stain: (X, Y, Z) predicted stain.
        affine: (4, 4) from voxel index to mm.
        mask: (X, Y, Z) bool; the voxels that are not 0 where the subject's files cannot be read any more.
        image: (X, Y, Z) an MR image to show behind the stain; None where it cannot be read any more.
        image_name: Channel of that image.
        target: (X, Y, Z) true stain; None if the subject has no target.
        scored: (X, Y, Z) bool, where the target is intact.
        checks: Checks of the files and of the signals.
        means: (C,) mean of each channel in the mask, divided by the level of the subject; None where the images cannot be read.
        scores: Result of `mrh_monai.evaluation.score`; None without a target.
        bounds: Lower and upper bound of each voxel's interval; None if the prediction has no intervals.
    """

    prediction: WrittenPrediction
    stain: np.ndarray
    affine: np.ndarray
    mask: np.ndarray
    image: np.ndarray | None = None
    image_name: str = ""
    target: np.ndarray | None = None
    scored: np.ndarray | None = None
    checks: list[Check] = field(default_factory=list)
    means: np.ndarray | None = None
    scores: dict[str, float] | None = None
    bounds: Bounds | None = None

    @cached_property
    def relative_width(self) -> np.ndarray | None:
        """(X, Y, Z) width of each voxel's interval, in percent of the range of the stain in training; None without intervals."""
        if self.bounds is None:
            return None
        width = self.bounds.upper - self.bounds.lower
        full = self.scaling.target_range if self.scaling is not None else float(np.ptp(self.stain[self.mask]))
        return np.asarray(100 * width / (full or 1.0))

    @property
    def stain_name(self) -> str:
        """Name of the stain in capitals."""
        return str(self.prediction.about.get("stain", "stain")).upper()

    @property
    def units(self) -> str:
        """Units of the stain; empty where the record does not say them."""
        return str(self.prediction.about.get("units", ""))

    @property
    def scaling(self) -> Scaling | None:
        """Scaling of the network; None where the record does not say it."""
        values = self.prediction.about.get("scaling")
        return None if not isinstance(values, dict) else scaling_from_dict(values)


def read_predicted_subject(prediction: WrittenPrediction) -> PredictedSubject:
    """Read a prediction, and the files of its subject as far as they still exist.

    Raises:
        SubjectError: The prediction cannot be read.
    """
    header = read_header(prediction.path)
    stain = read_voxels(header)[..., 0]
    found = PredictedSubject(prediction, stain, header.affine, stain != 0)
    found.bounds = _read_bounds(prediction)
    subject, rows = prediction.subject, prediction.about.get("channels")
    if subject is not None and rows:
        try:
            _read_files(found, subject, MRProtocol.from_rows(rows))
        except MRHError as error:
            found.checks.append(Check("Files", f"cannot be read as they were: {error}", False))
    found.checks += _check_intervals(found)
    return found


def _read_bounds(prediction: WrittenPrediction) -> Bounds | None:
    files, state = bound_paths(prediction.path), recorded_bounds(prediction.record)
    if not all(name in state and path.is_file() and path.stat().st_size == state[name].get("bytes") for name, path in files.items()):
        return None
    headers = [read_header(files[name]) for name in Bounds._fields]
    same_grid = all(header.shape == read_header(prediction.path).shape for header in headers)
    return Bounds(*(read_voxels(header)[..., 0] for header in headers)) if same_grid else None


def _check_intervals(found: PredictedSubject) -> list[Check]:
    """Return how wide the intervals are, what they leave open, and whether they hold the true stain."""
    about = found.prediction.about.get("intervals")
    width, bounds = found.relative_width, found.bounds
    if width is None or bounds is None or not found.mask.any():
        return [] if about is None else [Check("Intervals", str(about))]  # records of older versions do not say it
    checks = [Check("Intervals", f"{width[found.mask].mean():.3g}% of the stain's range wide on average; {about}")]
    with contextlib.suppress(OptionError):  # a stain of one value has no threshold
        _, threshold = structures(found.stain[found.mask])
        share = ((bounds.lower < threshold) & (bounds.upper > threshold))[found.mask].mean()
        words = f"in {share:.0%} of the voxels the interval holds both sides of Otsu's threshold, {threshold:.4g} {found.units}"
        checks.append(Check("Dark or bright", words))
    if found.target is not None and found.scored is not None:
        inside = ((found.target >= bounds.lower) & (found.target <= bounds.upper))[found.scored].mean()
        checks.append(Check("True stain", f"{inside:.0%} of its voxels lie within their interval"))
    return checks


def _read_files(found: PredictedSubject, subject: Subject, protocol: MRProtocol) -> None:
    headers = read_headers(subject, protocol)
    first = headers["image"][0]
    found.stain, found.affine, shape = in_order(found.stain, first.axes), first.affine, first.shape
    if found.bounds is not None:
        found.bounds = Bounds(*(in_order(each, first.axes) for each in found.bounds))
    if shape != found.stain.shape:
        raise SubjectError(found.prediction.path, f"shape {shape} as its images", f"{found.stain.shape}", "predict the subject again")
    found.mask, _ = read_masks(headers, subject.slices)
    unchanged = input_state(subject)["inputs"] == found.prediction.record.get("inputs")
    edges = " x ".join(f"{edge:g}" for edge in headers["image"][0].spacing)
    images = f"{len(protocol)} channels in {len(subject.image)} file{'s' * (len(subject.image) > 1)}, as the protocol has them"
    found.checks += [
        Check("Files", "as they were when the stain was predicted" if unchanged else "changed since the stain was predicted", unchanged),
        Check("Images", images),
        Check("Grid", f"{' x '.join(map(str, shape))} voxels of {edges} mm, the same in all files"),
        Check("Mask", f"{int(found.mask.sum()):,} voxels"),
    ]
    _read_images(found, headers["image"], protocol)
    if subject.target is not None:
        found.target, intact = read_target(headers, found.mask)
        found.scored = found.mask if intact is None else found.mask & intact
        found.scores = score(found.stain, found.target, found.scored)


def _read_images(found: PredictedSubject, headers: list[Header], protocol: MRProtocol) -> None:
    names = protocol.names
    found.image_name = next((name for name in (MT_OFF, T2) if name in names), names[0])
    means, levels = np.empty(len(names)), np.empty(len(names))
    for index, volume in enumerate(volume for header in headers for volume in each_volume(header)):
        inside = np.nan_to_num(np.asarray(volume[found.mask], np.float64), posinf=0, neginf=0)
        means[index], levels[index] = inside.mean(), np.percentile(inside, LEVEL_PERCENTILE)
        if names[index] == found.image_name:
            found.image = np.nan_to_num(np.asarray(volume, np.float32), posinf=0, neginf=0)
    found.means = means / max(float(levels.max()), 1e-30)
    found.checks += _check_signals(found.means, protocol, found.scaling)


def _check_signals(means: np.ndarray, protocol: MRProtocol, scaling: Scaling | None) -> list[Check]:
    names, checks = protocol.names, []
    if MT_ON in names and MT_OFF in names:
        on, off = means[names.index(MT_ON)], means[names.index(MT_OFF)]
        words = "MT off is brighter than MT on" if off > on else "MT on is brighter than MT off: the two look swapped"
        checks.append(Check("Magnetization transfer", f"{words} ({off:.3f} and {on:.3f} of the level)", bool(off > on)))
    if protocol.unweighted and protocol.weighted:
        good = bool(means[protocol.weighted].max() < means[protocol.unweighted].mean())
        darker, brighter = (
            "every weighted image is darker than the unweighted ones",
            "a weighted image is brighter than the unweighted ones",
        )
        checks.append(Check("Diffusion", darker if good else brighter, good))
    levels = None if scaling is None else scaling.training_levels
    if levels is not None and len(levels.mean) == len(means):
        worst, away = levels.furthest(means)
        good = abs(away) < FAR
        words = f"{names[worst]} is furthest from the training subjects, by {away:+.2f} standard deviations of their voxels"
        checks.append(Check("Signal levels", words if good else f"{words}. Tissue or protocol may differ; trust the stain less", good))
    return checks
