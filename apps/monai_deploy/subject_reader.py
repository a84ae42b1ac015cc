"""The subjects for which an input path stands, and the operator that sends them one by one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Fragment, Operator, OperatorSpec

from mrh_monai.data import input_kind
from mrh_monai.errors import MRHError, MRHWarning, SubjectError
from mrh_monai.subjects import MANIFEST, MRH_NET_LAYOUT, Layout, Subject, find_input, is_subject_folder, list_folder

KINDS = f"a subject's folder, a 4D image with its mask beside it, a manifest (*{MANIFEST})"


class SubjectReader(Operator):
    """Send one subject after another, as its files. Their voxels are read slab by slab where they are needed.

    Port ``subject``: a `Subject`.

    Args:
        fragment: The application.
        subjects: Subjects to send, at least one.
    """

    def __init__(self, fragment: Fragment, *args: Any, subjects: Sequence[Subject], **kwargs: Any):
        self._left = iter(subjects)
        super().__init__(fragment, CountCondition(fragment, len(subjects)), *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare one output."""
        spec.output("subject")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Send the next subject."""
        op_output.emit(next(self._left), "subject")


def subjects_in(path: Path | str, layout: Layout = MRH_NET_LAYOUT) -> tuple[list[Subject], list[MRHError]]:
    """Return the subjects for which a path stands, and the errors of those that cannot be used.

    Args:
        path: Folder of a subject, a 4D image, a manifest, or a folder of any of these. In such a folder an image that a manifest names does
            not count as a subject, hidden files are ignored, and folders without MR images are ignored with a warning.
        layout: File patterns inside a subject's folder.

    Raises:
        SubjectError: The path holds no subject.
    """
    subjects: dict[str, Subject] = {}
    wrong: list[MRHError] = []
    for file in _inputs(Path(path), layout):
        try:
            subject = find_input(file, layout)
            if not input_kind(subject).has_grid:
                raise SubjectError(file, KINDS, "a MAT file of patches", "predict it with `mrh predict`")
            if subject.name in subjects:
                other = subjects[subject.name].image[0]
                raise SubjectError(file, "a subject name of its own", f"{subject.name}, which {other} also has", "rename one of the two")
            subjects[subject.name] = subject
        except MRHError as error:
            wrong.append(error)
    return list(subjects.values()), wrong


def _inputs(path: Path, layout: Layout) -> list[Path]:
    expected = f"{KINDS}, or a folder of these"
    if not path.exists():
        raise SubjectError(path, expected, "no such file", "check the path (-i, or HOLOSCAN_INPUT_PATH)")
    if not path.is_dir() or is_subject_folder(path, layout):
        return [path]
    subjects, other_folders = list_folder(path, layout)
    if not subjects:
        raise SubjectError(path, expected, "a folder without any of them", "check the path and the names of the files in it")
    for folder in other_folders:
        warnings.warn(f"{folder}: a folder without {layout.image[0]} is left out", MRHWarning, stacklevel=1)
    return subjects
