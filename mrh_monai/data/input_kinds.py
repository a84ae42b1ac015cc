"""The kinds of input that a subject can be: volumes, a patch file, or NumPy arrays; and what can be done with each kind.

The rest of the package asks a subject's kind what to do, and never looks at file endings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.grid import read_headers
from mrh_monai.data.patch_subjects import load_patch_files
from mrh_monai.data.subject_in_memory import SubjectInMemory, array_header, load_arrays, load_volumes
from mrh_monai.data.subject_on_disk import SubjectOnDisk, open_volumes
from mrh_monai.errors import SubjectError
from mrh_monai.io import Header, Placement, check_nifti_output, check_patch_output, write_nifti, write_patch_output
from mrh_monai.protocol import MRProtocol
from mrh_monai.subjects import AnySubject, Subject, SubjectArrays

ALL_OF_ONE_KIND = "give all subjects as files or all as arrays"


class InputKind(ABC):
    """What a subject is stored as.

    Attributes:
        description: The kind in words, for error messages.
        result_ending: Ending of the file that holds its prediction.
        has_grid: Whether its voxels lie on a grid, so that slices, regions and neighbours have a meaning.
    """

    description: str
    result_ending = ".nii.gz"
    has_grid = True

    @abstractmethod
    def load(self, subjects: Sequence[AnySubject], protocol: MRProtocol, options: ReadingOptions) -> list[SubjectInMemory]:
        """Read subjects of this kind into memory."""

    @abstractmethod
    def open(self, subject: AnySubject, protocol: MRProtocol, options: ReadingOptions) -> SubjectOnDisk | SubjectInMemory:
        """Make one subject ready to be read slab by slab, in as little memory as the kind allows."""

    @abstractmethod
    def image_headers(self, subject: AnySubject, protocol: MRProtocol, need_target: bool = False) -> list[Header]:
        """Look for errors that can be found before any voxel is read, and return the headers of the images; none for a patch file.

        Raises:
            SubjectError: The subject has such an error.
        """

    def check_output(self, path: Path | str) -> None:
        """Refuse a path to which the prediction of such a subject cannot be written, before any work is done.

        Raises:
            OutputError: The ending is wrong, or the folder cannot be written.
        """
        check_nifti_output(path)

    def write_stain(
        self, path: Path | str, stain: np.ndarray, mask: np.ndarray, affine: np.ndarray, placement: Placement | None = None
    ) -> None:
        """Write a prediction, whole or not at all.

        Args:
            path: File to write or replace.
            stain: (X, Y, Z) float32 in the stain's units.
            mask: (X, Y, Z) bool, the voxels that were predicted.
            affine: (4, 4) from voxel index to RAS+ mm.
            placement: Fields that place the file instead of the affine; None to write the affine.

        Raises:
            OutputError: The file cannot be written.
        """
        write_nifti(path, stain, affine, placement)


class VolumeInput(InputKind):
    """Volumes in files, on one grid."""

    description = "volumes"

    def load(self, subjects: Sequence[AnySubject], protocol: MRProtocol, options: ReadingOptions) -> list[SubjectInMemory]:
        """Read volumes into memory."""
        return load_volumes([_on_disk(subject) for subject in subjects], protocol, options)

    def open(self, subject: AnySubject, protocol: MRProtocol, options: ReadingOptions) -> SubjectOnDisk:
        """Check the volumes and leave them on disk."""
        return open_volumes(_on_disk(subject), protocol, options)

    def image_headers(self, subject: AnySubject, protocol: MRProtocol, need_target: bool = False) -> list[Header]:
        """Compare the headers of all files with each other and with the protocol, and return those of the images."""
        return read_headers(_on_disk(subject), protocol, need_target)["image"]


class PatchFileInput(InputKind):
    """A patch file of MRH-Net's released code, whose patches lie on no grid."""

    description = "a patch file"
    result_ending = ".mat"
    has_grid = False

    def load(self, subjects: Sequence[AnySubject], protocol: MRProtocol, options: ReadingOptions) -> list[SubjectInMemory]:
        """Read patch files into memory."""
        return load_patch_files([_on_disk(subject) for subject in subjects], protocol, options)

    def open(self, subject: AnySubject, protocol: MRProtocol, options: ReadingOptions) -> SubjectInMemory:
        """Read the patch file into memory, since its patches lie in no slabs."""
        return self.load([subject], protocol, options)[0]

    def image_headers(self, subject: AnySubject, protocol: MRProtocol, need_target: bool = False) -> list[Header]:
        """Return nothing: a patch file has no header that could be compared without reading it."""
        return []

    def check_output(self, path: Path | str) -> None:
        """Refuse a path that is not a MAT file in a folder that can be written."""
        check_patch_output(path)

    def write_stain(
        self, path: Path | str, stain: np.ndarray, mask: np.ndarray, affine: np.ndarray, placement: Placement | None = None
    ) -> None:
        """Write the predicted patches as the released code does."""
        write_patch_output(path, stain, mask)


class ArrayInput(InputKind):
    """NumPy arrays in memory."""

    description = "NumPy arrays"

    def load(self, subjects: Sequence[AnySubject], protocol: MRProtocol, options: ReadingOptions) -> list[SubjectInMemory]:
        """Check the arrays and add the margin that patches need."""
        return [load_arrays(_in_memory(subject), protocol, options) for subject in subjects]

    def open(self, subject: AnySubject, protocol: MRProtocol, options: ReadingOptions) -> SubjectInMemory:
        """Check the arrays and add the margin that patches need."""
        return self.load([subject], protocol, options)[0]

    def image_headers(self, subject: AnySubject, protocol: MRProtocol, need_target: bool = False) -> list[Header]:
        """Return one header for the array, as a file would have it. Its path is the name of the subject, where there is no file."""
        arrays = _in_memory(subject)
        protocol.check_count(arrays.image.shape[3], arrays.name)
        if need_target and arrays.target is None:
            raise SubjectError(arrays.name, "a target", "no target", "give the stain as `target`")
        return [array_header(arrays)]


VOLUMES, PATCH_FILE, ARRAYS = VolumeInput(), PatchFileInput(), ArrayInput()


def input_kind(subject: AnySubject) -> InputKind:
    """Return what a subject is stored as.

    Example:
        >>> input_kind(Subject("train", (Path("traindata.mat"),))).result_ending
        '.mat'
    """
    if isinstance(subject, SubjectArrays):
        return ARRAYS
    return PATCH_FILE if subject.is_patch_file else VOLUMES


def load_subjects(
    subjects: Sequence[AnySubject], protocol: MRProtocol, options: ReadingOptions = ReadingOptions()
) -> list[SubjectInMemory]:
    """Read subjects into memory, each once. All of them must be of one kind.

    Args:
        subjects: Subjects to read.
        protocol: Channels that each subject must have.
        options: How to read them.

    Raises:
        SubjectError: Files are missing, damaged, of another kind or on different grids; a mask is empty or holds other values than 0 and 1;
            a channel has NaN or Inf inside the mask, or only zeros.
    """
    kinds = [input_kind(subject) for subject in subjects]
    if not kinds:
        return []
    # Patch files name the subject that is of another kind.
    return (PATCH_FILE if PATCH_FILE in kinds else kinds[0]).load(subjects, protocol, options)


def load_subject(subject: AnySubject, protocol: MRProtocol, options: ReadingOptions = ReadingOptions()) -> SubjectInMemory:
    """Read one subject into memory, see `load_subjects`."""
    return load_subjects([subject], protocol, options)[0]


def open_subject(subject: AnySubject, protocol: MRProtocol, options: ReadingOptions = ReadingOptions()) -> SubjectOnDisk | SubjectInMemory:
    """Make one subject ready to be read slab by slab; its volumes stay on disk. The arguments and errors are those of `load_subjects`."""
    return input_kind(subject).open(subject, protocol, options)


def need_grid(subjects: Sequence[AnySubject], purpose: str) -> None:
    """Refuse subjects whose voxels lie on no grid.

    Args:
        subjects: Subjects to look at.
        purpose: What volumes are needed for, in words, such as "to compare".

    Raises:
        SubjectError: One of them is a patch file.
    """
    for subject in subjects:
        kind = input_kind(subject)
        if not kind.has_grid:
            where = subject.image[0] if isinstance(subject, Subject) else subject.name
            raise SubjectError(where, f"volumes {purpose}", kind.description, "list the volumes from which the patches were cut")


def _on_disk(subject: AnySubject) -> Subject:
    if isinstance(subject, SubjectArrays):
        raise SubjectError(subject.name, "files, like the other subjects", "NumPy arrays", ALL_OF_ONE_KIND)
    return subject


def _in_memory(subject: AnySubject) -> SubjectArrays:
    if isinstance(subject, Subject):
        raise SubjectError(subject.name, "NumPy arrays, like the other subjects", "files", ALL_OF_ONE_KIND)
    return subject
