"""The operator between reader and writer: it takes a subject and sends its virtual stain."""

from __future__ import annotations

from typing import Any

from failures import Failures
from monai.deploy.core import Fragment, Operator, OperatorSpec
from stain_bundle import StainBundle


class BundleOperator(Operator):
    """Predict each subject that arrives; a subject that cannot be predicted is reported, and the next subject is predicted.

    The SDK's own bundle operator takes one image that is already in memory, and converts its result to uint8 without a message, which turns
    a stain between 0 and 1 into 0. This operator sends float32 with the affine of the subject.

    Port ``subject``: a `Subject`. Port ``stain``: its name and its `Prediction`.

    Args:
        fragment: The application.
        bundle: The loaded bundle.
        failures: Collector of errors.
    """

    def __init__(self, fragment: Fragment, *args: Any, bundle: StainBundle, failures: Failures, **kwargs: Any):
        self._bundle, self._failures = bundle, failures
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare one input and one output."""
        spec.input("subject")
        spec.output("stain")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Predict one subject."""
        subject = op_input.receive("subject")
        try:
            prediction = self._bundle.predict(subject)
        except Exception as error:
            self._failures.add(error)
        else:
            op_output.emit((subject, prediction), "stain")
