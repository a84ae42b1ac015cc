"""One subject as NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.errors import SubjectError
from mrh_monai.io import checked_affine, write_nifti
from mrh_monai.subjects.file_geometry import checked_coronal_axis
from mrh_monai.subjects.subject import Slices, Subject, checked_slices, common_slices


@dataclass(frozen=True)
class SubjectArrays:
    """One subject as NumPy arrays, instead of files. Anything that NumPy takes as an array is converted.

    Attributes:
        image: (X, Y, Z, C) raw intensities, any real dtype, channels in the order of the protocol.
        mask: (X, Y, Z) of 0 and 1, or bool.
        affine: (4, 4) from voxel index to RAS+ mm.
        target: (X, Y, Z) stain in its own units; None if the subject is only predicted.
        target_mask: (X, Y, Z) of 0 and 1, 1 where the target is intact; None if it is intact everywhere.
        name: Name of the subject.
        slices: Ranges (start, stop) along the coronal axis, counted from 0, the stop excluded; None for all slices.
        coronal_axis: Array axis, 0, 1 or 2, along which the coronal slices lie; None for the axis that the affine names.

    Raises:
        SubjectError: An array has the wrong shape, does not hold real numbers, or the affine is singular or not finite.
        OptionError: ``slices`` are not such ranges, or ``coronal_axis`` is no axis.

    Example:
        >>> subject = SubjectArrays(np.ones((4, 3, 2, 67)), np.ones((4, 3, 2)), np.diag([0.1, 0.1, 0.1, 1]), name="m7")
        >>> subject.image.shape, subject.within([(0, 2)]).slices
        ((4, 3, 2, 67), ((0, 2),))
    """

    image: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    target: np.ndarray | None = None
    target_mask: np.ndarray | None = None
    name: str = "subject"
    slices: Slices | None = None
    coronal_axis: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "coronal_axis", checked_coronal_axis(self.coronal_axis))
        image = real_array(self.image, f"{self.name}, image")
        mask = real_array(self.mask, f"{self.name}, mask", "buif")
        if image.ndim != 4 or mask.ndim != 3 or image.shape[:3] != mask.shape or np.shape(self.affine) != (4, 4):
            found = f"image {image.shape}, mask {mask.shape} and affine {np.shape(self.affine)}"
            remedy = "put the channels last, and give mask and affine of the same volume"
            raise SubjectError(self.name, "an image (X, Y, Z, C), a mask (X, Y, Z) and an affine (4, 4)", found, remedy)
        affine = checked_affine(real_array(self.affine, f"{self.name}, affine"), f"{self.name}, affine", "correct the affine")
        values = {"image": image, "mask": mask, "affine": affine, "slices": checked_slices(self.slices)}
        for role in ("target", "target_mask"):
            if getattr(self, role) is not None:
                array = values[role] = real_array(getattr(self, role), f"{self.name}, {role}", "buif")
                if array.shape != mask.shape:
                    remedy = "give it on the grid of the image"
                    raise SubjectError(self.name, f"a {role} of shape {mask.shape}", f"a {role} of shape {array.shape}", remedy)
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def within(self, slices: Sequence[tuple[int, int]] | None) -> SubjectArrays:
        """Return the same subject, restricted to those of its slices that also lie in ``slices``; None leaves it unchanged.

        Raises:
            OptionError: No slice lies in both.
        """
        asked = checked_slices(slices)
        return self if asked is None else replace(self, slices=common_slices(self.name, self.slices, asked))


def write_arrays(subject: SubjectArrays, folder: Path) -> Subject:
    """Write the arrays of a subject as NIfTI files, and return these files as a subject.

    Args:
        subject: The arrays.
        folder: Folder to write into.

    Raises:
        OutputError: The files cannot be written.
    """
    files: dict[str, Any] = {}
    for role in ("image", "mask", "target", "target_mask"):
        if getattr(subject, role) is not None:
            files[role] = folder / f"{role}.nii"
            write_nifti(files[role], _storable(getattr(subject, role)), subject.affine)
    image = files.pop("image")
    return Subject(subject.name, (image,), slices=subject.slices, coronal_axis=subject.coronal_axis, **files)


def _storable(values: np.ndarray) -> np.ndarray:
    """Return values in a type that NIfTI files hold and every reader knows."""
    kinds = {"bool": np.uint8, "float16": np.float32, "int64": np.float64, "uint64": np.float64}
    return values.astype(kinds[values.dtype.name]) if values.dtype.name in kinds else values


AnySubject = Subject | SubjectArrays


def real_array(values: object, where: object, kinds: str = "uif") -> np.ndarray:
    """Return values as an array of real numbers in this machine's byte order and of a type that PyTorch knows.

    Args:
        values: Whatever NumPy takes as an array.
        where: What the error names.
        kinds: Kinds of dtype that are accepted, as NumPy's letters: unsigned (u), signed (i), real numbers (f), bool (b).

    Raises:
        SubjectError: The values do not form an array, or are not real numbers.

    Example:
        >>> real_array([[1, 2], [3, 4]], "mask").shape
        (2, 2)
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SubjectError(where, "an array", f"a {type(values).__name__} ({error})", "give a NumPy array") from error
    if array.dtype.kind not in kinds:
        remedy = "give the magnitude, such as np.abs(image)" if array.dtype.kind == "c" else "give a NumPy array of numbers"
        found = f"values of type {array.dtype}" if array.dtype.kind != "O" else f"a {type(values).__name__}"
        raise SubjectError(where, "magnitude values (integers or real numbers)", found, remedy)
    if array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
