"""The files of an alignment: a displacement for each subject, what was found in numbers and pictures, and what a resumed run needs."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.alignment.displacement import PLANE, ControlGrid
from mrh_monai.alignment.registration import CONTROL_POINTS_MM
from mrh_monai.alignment.stain_alignment import Alignment
from mrh_monai.alignment.trial import Trial
from mrh_monai.axis_order import affine_in_order, in_order, inverse_order
from mrh_monai.data import SubjectInMemory
from mrh_monai.errors import SubjectError
from mrh_monai.figures import DisplacedStain, displacement_histogram, stain_arrows
from mrh_monai.io import as_json, clear_partial, replacing, write_nifti, write_text
from mrh_monai.output_files import check_outputs, is_listed, list_output
from mrh_monai.scaling import Scaling
from mrh_monai.subjects import SUBJECT_NAME, is_subject_name

KIND = "alignment"
NUMBERS, CONTROL, ARROWS, HISTOGRAM = "alignment.json", "control_points.npz", "arrows.png", "histogram.png"
DRAWN = 12  # subjects in a picture
SHARES = ("original", "aligned", "decoy_original", "decoy_aligned")


def write_alignment(alignment: Alignment | None, folder: Path | str, settings: dict[str, Any]) -> None:
    """Write an alignment into a folder of its own, in place of that of an earlier run.

    If stains were moved, ``<subject>.nii.gz`` holds the displacement of each: a vector (X, Y, Z, 1, 3), float32, in RAS+ mm, from each
    voxel to where its stain lay, with the intent of a displacement, so that ITK reads it as one. `alignment.json` holds the numbers,
    `arrows.png` and `histogram.png` show them, and from `control_points.npz` a resumed run takes the same displacements.

    Args:
        alignment: The alignment; None to leave only the files of others.
        folder: Folder to write into.
        settings: Settings on which the alignment depends, as plain values.

    Raises:
        OutputError: A file cannot be written.
        SubjectError: Two subjects have the same name, or a name is no name of a file.
    """
    folder = Path(folder)
    written: set[Path] = set()

    def listed(name: str, write: Callable[[Path], object]) -> None:
        write(folder / name)
        list_output(folder / name, KIND)
        written.add(folder / name)

    if alignment is not None:
        _check_names(alignment.originals)
        folder.mkdir(parents=True, exist_ok=True)
        stains = [
            DisplacedStain(subject.name, np.asarray(subject.target), subject.mask, displacement, subject.spacing)
            for subject, displacement in zip(alignment.originals, alignment.displacements, strict=True)
        ]
        # First what a resumed run needs.
        listed(CONTROL, lambda path: _write_control(path, alignment.control))
        listed(NUMBERS, lambda path: write_text(path, as_json(_numbers(alignment, stains, settings))))
        if alignment.is_moved:
            for subject, displacement in zip(alignment.originals, alignment.displacements, strict=True):
                listed(f"{subject.name}.nii.gz", partial(_write_displacement, subject=subject, displacement=displacement))
            listed(ARROWS, lambda path: stain_arrows(stains[:DRAWN], path))
            listed(HISTOGRAM, lambda path: displacement_histogram(stains[:DRAWN], path))
    for path in set(folder.glob("[!.]*")) - written:
        if path.is_file() and is_listed(path, KIND):
            path.unlink()


def check_alignment_files(folder: Path | str, inputs: Iterable[Path | str] = (), overwrite: bool = False) -> None:
    """Refuse a folder in which an alignment could replace files of another origin, and remove files that were left half written.

    Args:
        folder: Folder of `write_alignment`.
        inputs: Files that the run reads.
        overwrite: Whether files of another origin may be replaced.

    Raises:
        OutputError: There is such a file.
    """
    folder = Path(folder)
    files = [*folder.glob("*.nii.gz"), *(folder / name for name in (NUMBERS, CONTROL, ARROWS, HISTOGRAM))]
    check_outputs(KIND, files, inputs, overwrite)
    if folder.is_dir():
        clear_partial(folder)


def read_alignment(folder: Path | str, subjects: Sequence[SubjectInMemory], settings: dict[str, Any]) -> Alignment | None:
    """Return the alignment that a run has written, with the same displacements to the bit.

    Args:
        folder: Folder of `write_alignment`.
        subjects: The subjects with their original stains.
        settings: Settings on which the alignment depends.

    Returns:
        The alignment; None if the folder has no complete one of these subjects with these settings.
    """
    try:
        numbers = json.loads((Path(folder) / NUMBERS).read_text(encoding="utf-8"))
        with open(Path(folder) / CONTROL, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            control = [stored[str(index)] for index in range(len(stored.files))]
        shares: dict[str, Any] = {name: tuple(numbers["trial"][name]) for name in SHARES}
        trial = Trial(**shares)
        names, is_moved = [each["name"] for each in numbers["subjects"]], numbers["is_moved"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    shapes = [(2, *ControlGrid(subject.mask.shape, subject.spacing, CONTROL_POINTS_MM).shape) for subject in subjects]
    is_same = names == [subject.name for subject in subjects] and numbers.get("settings") == settings
    if not is_same or shapes != [points.shape for points in control]:
        return None
    return Alignment.from_control(subjects, control, trial, is_moved)


def world_vectors(displacement: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return displacements (2, X, Y, Z) along the array axes of the coronal plane as vectors (X, Y, Z, 3), in RAS+ mm, float32.

    Example:
        >>> displacement = np.full((2, 1, 1, 1), 0.5)
        >>> displacement[1] = 0.25
        >>> world_vectors(displacement, np.diag([-0.1, 0.2, 0.1, 1]))[0, 0, 0].tolist()
        [-0.5, 0.0, 0.25]
    """
    directions = affine[:3, PLANE] / np.linalg.norm(affine[:3, PLANE], axis=0)
    return np.asarray(np.einsum("wa,axyz->xyzw", directions, displacement), np.float32)


def inputs_digest(subjects: Sequence[SubjectInMemory], scaling: Scaling) -> str:
    """Return the SHA-256 of what an alignment depends on: stains, masks, a part of the signals, and the scaling.

    Args:
        subjects: The subjects with their original stains.
        scaling: Scaling of the network.
    """
    digest = hashlib.sha256(repr(scaling.to_dict()).encode())
    for subject in subjects:
        for values in (subject.level_values, subject.target, subject.target_mask, subject.mask, subject.brain, subject.affine):
            if values is not None:
                digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _check_names(subjects: Sequence[SubjectInMemory]) -> None:
    """Refuse names by which files cannot be filed.

    Raises:
        SubjectError: A name is no name of a file, or two subjects have the same name.
    """
    names = [subject.name for subject in subjects]
    for name in names:
        if not is_subject_name(name):
            raise SubjectError(name, SUBJECT_NAME, "a name that cannot name a file", "rename the subject")
        if names.count(name) > 1:
            raise SubjectError(name, "a name of its own for each subject", f"{names.count(name)} subjects of this name", "rename them")


def _write_control(path: Path, control: Sequence[np.ndarray]) -> None:
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **{str(index): points for index, points in enumerate(control)})  # type: ignore[arg-type]


def _write_displacement(path: Path, subject: SubjectInMemory, displacement: np.ndarray) -> None:
    back = inverse_order(subject.axes)
    vectors = in_order(world_vectors(displacement, subject.affine), back)[:, :, :, None]
    write_nifti(path, vectors, affine_in_order(subject.affine, back), subject.placement, "displacement vector")


def _numbers(alignment: Alignment, stains: Sequence[DisplacedStain], settings: dict[str, Any]) -> dict[str, Any]:
    rows, trial = [], alignment.trial
    for stain, subject, before, after in zip(stains, alignment.originals, trial.original, trial.aligned, strict=True):
        inside = stain.lengths[subject.mask]
        row = {"name": stain.name, "median_mm": float(np.median(inside)), "largest_mm": float(inside.max())}
        place = [stain.furthest[axis] for axis in inverse_order(subject.axes)]
        rows.append({**row, "furthest_voxel": place, "agreement_before": 1 - before, "agreement_after": 1 - after})
    return {
        "summary": alignment.summary,
        "doubts": alignment.doubts,
        "is_moved": alignment.is_moved,
        "gain": trial.gain,
        "decoy_gain": trial.decoy_gain,
        "settings": settings,
        "subjects": rows,
        "trial": {name: getattr(trial, name) for name in SHARES},
    }
