"""What a function may be given for a subject: a path, an array, or the subject itself."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.subjects.layout import MRH_NET_LAYOUT, Layout
from mrh_monai.subjects.subject import Subject
from mrh_monai.subjects.subject_arrays import AnySubject, SubjectArrays
from mrh_monai.subjects.subject_search import find_input

IMAGE_ARRAY = "image array"
SubjectLike = Path | str | AnySubject | np.ndarray


def as_subject(
    subject: SubjectLike, mask: ArrayLike | None = None, affine: ArrayLike | None = None, layout: Layout = MRH_NET_LAYOUT
) -> AnySubject:
    """Return the subject that a path, an image array or a subject stands for.

    Args:
        subject: A path for `find_input`, a `Subject`, `SubjectArrays`, or an image array (X, Y, Z, C).
        mask: (X, Y, Z) of 0 and 1; only with an image array.
        affine: (4, 4) from voxel index to RAS+ mm; only with an image array.
        layout: File patterns inside a subject's folder.

    Raises:
        SubjectError: The path does not stand for a subject; an image array comes without mask or affine, or is no image; or a mask or an
            affine is given with a subject that has its own.
        OptionError: The argument is nothing of all this.

    Example:
        >>> as_subject(np.ones((4, 3, 2, 67)), mask=np.ones((4, 3, 2)), affine=np.eye(4)).name
        'subject'
    """
    own = isinstance(subject, str | os.PathLike | Subject | SubjectArrays)
    if own and (mask is not None or affine is not None):
        found = "a mask or an affine with a subject that has its own"
        raise SubjectError("subject", "`mask` and `affine` only with an image array", found, "leave `mask` and `affine` out")
    if isinstance(subject, Subject | SubjectArrays):
        return subject
    if isinstance(subject, str | os.PathLike):
        return find_input(subject, layout)
    if not hasattr(subject, "__array__"):
        expected = "a path, a Subject, SubjectArrays, or an image array (X, Y, Z, C)"
        raise OptionError("subject", expected, f"a {type(subject).__name__}", "give one subject as one of these")
    if mask is None or affine is None:
        missing = " and ".join(name for name, value in (("mask", mask), ("affine", affine)) if value is None)
        remedy = "give SubjectArrays(image, mask, affine), for example with affine=np.eye(4)"
        raise SubjectError(IMAGE_ARRAY, "a mask and an affine with it", f"no {missing}", remedy)
    return SubjectArrays(subject, mask, affine)  # type: ignore[arg-type]  # whatever NumPy takes as an array is converted
