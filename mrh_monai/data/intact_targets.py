"""Masks of the voxels at which a stain is intact, made from its finite voxels: NaN is how many programs mark torn or missing tissue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mrh_monai.data.grid import check_single
from mrh_monai.io import read_header, read_voxels, write_nifti
from mrh_monai.output_files import writing
from mrh_monai.subjects import Subject, files_of


def with_target_masks(subjects: Sequence[Subject], folder: Path, overwrite: bool = False) -> list[Subject]:
    """Write a target mask for each subject whose stain has NaN or Inf, and return the subjects with these masks.

    Args:
        subjects: Subjects, those without a target or with a target of finite numbers only are returned as they are.
        folder: Folder into which ``<subject>_target_mask.nii.gz`` is written, 1 where the stain is finite.
        overwrite: Whether files of another origin may be replaced.

    Raises:
        SubjectError: A target cannot be read.
        OutputError: A mask cannot be written, or would replace a file of another origin.
    """
    return [_with_target_mask(subject, folder, overwrite) for subject in subjects]


def _with_target_mask(subject: Subject, folder: Path, overwrite: bool) -> Subject:
    if subject.target is None:
        return subject
    header = read_header(subject.target)
    check_single(header, "target")
    intact = np.isfinite(read_voxels(header)[..., 0])
    if intact.all():
        return subject
    path = folder / f"{subject.name}_target_mask.nii.gz"
    with writing("target-mask", [path], files_of(subject), overwrite):
        write_nifti(path, intact.astype(np.uint8), header.affine, header.placement)
    return replace(subject, target_mask=path)
