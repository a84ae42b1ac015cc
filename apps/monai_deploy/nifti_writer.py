"""The operator that writes virtual stains as NIfTI files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from failures import Failures
from monai.deploy.core import Fragment, Operator, OperatorSpec

from mrh_monai.inference import prediction_path


class NiftiWriter(Operator):
    """Write ``OUTPUT/<subject>/<subject>_<stain>.nii.gz`` and its record for each stain that arrives, as the bundles do.

    A stain that cannot be written is reported, and the next one is taken. Port ``stain``: a `Subject` and its `Prediction`.

    Args:
        fragment: The application.
        output_dir: Folder of the results.
        stain: Short name of the stain.
        failures: Collector of errors.
    """

    def __init__(self, fragment: Fragment, *args: Any, output_dir: Path, stain: str, failures: Failures, **kwargs: Any):
        self._output_dir, self._stain, self._failures = output_dir, stain, failures
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare one input."""
        spec.input("stain")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Write one stain."""
        subject, prediction = op_input.receive("stain")
        try:
            print(prediction.save(prediction_path(self._output_dir, subject, self._stain)), flush=True)
        except Exception as error:
            self._failures.add(error)
