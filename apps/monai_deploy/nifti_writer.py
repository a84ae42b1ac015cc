"""The operator that writes virtual stains as NIfTI files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from failures import Failures
from monai.deploy.core import Fragment, Operator, OperatorSpec

from mrh_monai.errors import OutputError
from mrh_monai.inference import check_prediction_output, prediction_path
from mrh_monai.subjects import Subject, files_of


@dataclass(frozen=True)
class StainFiles:
    """Where the stains are written.

    Attributes:
        folder: Folder of the results.
        stain: Short name of the stain.
        overwrite: Whether files there that are not predictions may be replaced.
        inputs: Files of the bundle, which are never replaced.
    """

    folder: Path
    stain: str
    overwrite: bool = False
    inputs: Sequence[Path] = ()

    def path(self, subject: Subject) -> Path:
        """Return the file of a subject."""
        return prediction_path(self.folder, subject, self.stain)

    def free_for(self, subjects: Sequence[Subject], failures: Failures) -> list[Subject]:
        """Return the subjects whose stain can be written, and report the others, whose stain would replace another file."""
        free, inputs = [], [*self.inputs, *(file for subject in subjects for file in files_of(subject))]
        for subject in subjects:
            try:
                check_prediction_output(self.path(subject), inputs, self.overwrite)
                free.append(subject)
            except OutputError as error:
                failures.add(error)
        return free


class NiftiWriter(Operator):
    """Write ``OUTPUT/<subject>/<subject>_<stain>.nii.gz`` and its record for each stain that arrives, as the bundles do.

    A stain that cannot be written is reported, and the next one is taken. Port ``stain``: a `Subject` and its `Prediction`.

    Args:
        fragment: The application.
        place: Files of the results.
        failures: Collector of errors.
    """

    def __init__(self, fragment: Fragment, *args: Any, place: StainFiles, failures: Failures, **kwargs: Any):
        self._place, self._failures = place, failures
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare one input."""
        spec.input("stain")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Write one stain."""
        subject, prediction = op_input.receive("stain")
        try:
            print(prediction.save(self._place.path(subject), self._place.overwrite), flush=True)
        except Exception as error:
            self._failures.add(error)
