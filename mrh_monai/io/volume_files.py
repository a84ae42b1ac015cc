"""Reading volume files of any format: the header, all voxels, or one volume after another.

World coordinates are RAS+ millimetres.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mrh_monai.axis_order import in_order
from mrh_monai.errors import SubjectError, cause_in_words
from mrh_monai.io.files import COPY_AGAIN
from mrh_monai.io.itk_files import ITK
from mrh_monai.io.nibabel_files import NIBABEL
from mrh_monai.io.volume_format import Header, VolumeFormat

FORMATS: tuple[VolumeFormat, ...] = (NIBABEL, ITK)
_FORMAT_OF_ENDING = {ending: volume_format for volume_format in FORMATS for ending in volume_format.endings}
READABLE_ENDINGS = ", ".join(_FORMAT_OF_ENDING)


def volume_ending(path: Path | str) -> str:
    """Return the file-name ending that decides on the format, or an empty text for a file of no known format.

    Example:
        >>> volume_ending("subject01/T2.NII.gz"), volume_ending("notes.txt")
        ('.nii.gz', '')
    """
    name = Path(path).name.lower()
    return next((ending for ending in sorted(_FORMAT_OF_ENDING, key=len, reverse=True) if name.endswith(ending)), "")


def read_header(path: Path | str) -> Header:
    """Read the header of a volume file, and compare the size of the file with it.

    Raises:
        SubjectError: The file is missing, empty, truncated, of an unknown format, or holds no 3D or 4D volume.

    Example:
        >>> import tempfile
        >>> from mrh_monai.io import write_analyze
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_analyze(f"{folder}/dwi.img", np.zeros((4, 3, 2, 5), np.int16), voxel_mm=0.0625)
        ...     header = read_header(f"{folder}/dwi.img")
        >>> header.shape, header.channels, header.spacing, header.has_affine
        ((4, 3, 2), 5, (0.0625, 0.0625, 0.0625), False)
    """
    path = Path(path)
    if path.is_dir():
        raise SubjectError(path, "a volume file", "a folder", "name the file")
    if not path.is_file():
        raise SubjectError(path, "a volume file", "no such file", "check the path")
    ending = volume_ending(path)
    if not ending:
        raise SubjectError(path, f"a volume file ({READABLE_ENDINGS})", f"the ending {path.suffix!r}", "convert it to NIfTI")
    if path.stat().st_size == 0:
        raise SubjectError(path, "a volume", "an empty file", COPY_AGAIN)
    try:
        return _FORMAT_OF_ENDING[ending].read_header(path)
    except (SubjectError, MemoryError):
        raise
    except Exception as error:  # The readers raise exceptions of any kind on a damaged file.
        raise SubjectError(path, f"a readable {ending} file", cause_in_words(error), COPY_AGAIN) from error


def read_voxels(header: Header) -> np.ndarray:
    """Read all voxels of a file.

    Args:
        header: Header of the file, from `read_header`.

    Returns:
        (X, Y, Z, C) in ``header.dtype``, X running fastest in memory; integers are left as stored.

    Raises:
        SubjectError: The file ends too early or cannot be decoded.

    Example:
        >>> import tempfile
        >>> from mrh_monai.io import write_nifti
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_nifti(f"{folder}/mask.nii", np.ones((4, 3, 2), np.uint8), np.eye(4))
        ...     voxels = read_voxels(read_header(f"{folder}/mask.nii"))
        >>> voxels.shape, str(voxels.dtype), int(voxels.sum())
        ((4, 3, 2, 1), 'uint8', 24)
    """
    voxels = np.empty((*header.shape, header.channels), header.dtype, order="F")
    for channel, volume in enumerate(each_volume(header)):
        voxels[..., channel] = volume
    return voxels


def each_volume(header: Header) -> Iterator[np.ndarray]:
    """Yield the volumes of a file one after another. At most one is in memory at a time, except in ITK's formats.

    Args:
        header: Header of the file, from `read_header`.

    Yields:
        (X, Y, Z) in ``header.dtype``, X running fastest in memory.

    Raises:
        SubjectError: The file ends too early or cannot be decoded.

    Example:
        >>> import tempfile
        >>> from mrh_monai.io import write_analyze
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_analyze(f"{folder}/dwi.img", np.ones((4, 3, 2, 5), np.int16), voxel_mm=0.0625)
        ...     [int(volume.sum()) for volume in each_volume(read_header(f"{folder}/dwi.img"))]
        [24, 24, 24, 24, 24]
    """
    try:
        for volume in _FORMAT_OF_ENDING[volume_ending(header.path)].each_volume(header.in_file_order()):
            yield in_order(volume, header.axes)
    except (SubjectError, MemoryError):
        raise
    except Exception as error:  # The readers raise exceptions of any kind on a damaged file.
        expected = f"{header.channels} volumes of {header.shape} voxels"
        raise SubjectError(header.path, expected, cause_in_words(error), COPY_AGAIN) from error


def _brief(error: Exception) -> str:
    """Return the kind of an exception and the last line of its message, which is where libraries put the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__} ({lines[-1][:200] if lines else 'no message'})"
