"""The operator that writes virtual stains as NIfTI files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from failures import Failures
from monai.deploy.core import Fragment, Image, Operator, OperatorSpec

from mrh_monai.inference import forget, write_record
from mrh_monai.io import write_nifti


class NiftiWriter(Operator):
    """Write each stain that comes as `write_stain` does; one that cannot be written is reported, and the next one taken.

    Port ``stain``: as `StainBundle.predict`.

    Args:
        fragment: The application.
        output_dir: Where to.
        failures: Where errors go.
    """

    def __init__(self, fragment: Fragment, *args: Any, output_dir: Path, failures: Failures, **kwargs: Any):
        self._output_dir, self._failures = output_dir, failures
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """One input."""
        spec.input("stain")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Write one stain."""
        stain = op_input.receive("stain")
        try:
            print(write_stain(self._output_dir, stain), flush=True)
        except Exception as error:
            self._failures.add(error)


def write_stain(output_dir: Path, stain: Image) -> Path:
    """Write ``OUTPUT/<subject>/<subject>_<stain>.nii.gz``, whole or not at all, and the JSON record that the bundles write beside it.

    Args:
        output_dir: Where to.
        stain: As `StainBundle.predict`.

    Returns:
        The file.

    Raises:
        OutputError: It cannot be written.
    """
    about = stain.metadata()
    path = output_dir / about["subject"] / f"{about['subject']}_{about['stain']}.nii.gz"
    forget(path)
    write_nifti(path, stain.asnumpy(), about["affine"])
    write_record(path, **about["record"])
    return path
