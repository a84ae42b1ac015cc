"""The operator between reader and writer: a subject in, its virtual stain out."""

from __future__ import annotations

from typing import Any

from failures import Failures
from monai.deploy.core import Fragment, Operator, OperatorSpec
from stain_bundle import StainBundle


class BundleOperator(Operator):
    """Run a bundle on each subject that comes; one that cannot be predicted is reported, and the next one taken.

    The SDK's own bundle operator takes one image that lies in memory already, and casts what it sends on to uint8, which makes 0 of a stain
    between 0 and 1, in silence; this one sends on float32 with the subject's affine.

    Port ``subject``: a `Subject`. Port ``stain``: as `StainBundle.predict`.

    Args:
        fragment: The application.
        bundle: The bundle, loaded.
        failures: Where errors go.
    """

    def __init__(self, fragment: Fragment, *args: Any, bundle: StainBundle, failures: Failures, **kwargs: Any):
        self._bundle, self._failures = bundle, failures
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """One input, one output."""
        spec.input("subject")
        spec.output("stain")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Predict one subject."""
        subject = op_input.receive("subject")
        try:
            stain = self._bundle.predict(subject)
        except Exception as error:
            self._failures.add(error)
        else:
            op_output.emit(stain, "stain")
