"""A bundle as a model of MONAI Label."""

from __future__ import annotations

import difflib
import logging
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.tasks.infer_v2 import InferType
from monailabel.tasks.infer.bundle import BundleInferTask

from mrh_monai.bundle import none_if_unset, slices
from mrh_monai.devices import PRECISIONS
from mrh_monai.errors import MRHWarning, OptionError
from mrh_monai.inference import PredictionOptions, load_bundle, prediction_path
from mrh_monai.network import load_checkpoint
from mrh_monai.subjects import find_input

logger = logging.getLogger(__name__)

DEFAULTS: dict[str, Any] = {"device": "auto", "precision": "float32", "slices": None}
# Keys that the code of MONAI Label adds to a request; none of them changes a prediction.
MONAI_LABELS_OWN = {
    "model", "image", "description", "save_label", "label_tag", "logging", "images", "_id", "_image_id", "multi_gpu", "gpus", "max_workers",
    "max_batch_size", "timeout",
}  # fmt: skip


class StainInferTask(BundleInferTask):
    """Predict the stain of one bundle.

    Every request loads the bundle again. So requests share nothing, and weights that were replaced in the meantime are found and checked.

    Args:
        bundle: Bundle folder.

    Raises:
        CheckpointError: The bundle has no trained weights, or weights that their sidecar does not describe.
    """

    # The precision of CUDA devices and the filter of warnings belong to the whole process. Besides, one request uses all of a machine.
    _turn = threading.Lock()

    def __init__(self, bundle: Path):
        load_checkpoint(self.weights_of(bundle))
        super().__init__(str(bundle), {}, type=InferType.OTHERS, add_post_restore=False, extend_load_image=False, load_strict=True)
        self.labels: dict[str, int] = {}  # the result is a volume of intensities, not segments
        self.dimension = 3
        cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        # Clients offer the values of a list; the first one is chosen at the start.
        self._config = {"device": ["auto", "cpu", *cuda], "precision": list(PRECISIONS), "slices": ""}
        # The engines of Ignite log an exception with its traceback before they raise it.
        logging.getLogger("ignite").setLevel(logging.CRITICAL + 1)

    @staticmethod
    def weights_of(bundle: Path) -> Path:
        """Return the path of the weights of a bundle."""
        return bundle / "models" / "model.pt"

    def __call__(self, request: Mapping[str, Any], callbacks: Mapping[Any, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Predict one subject.

        Args:
            request: ``image``, the path that stands for the subject; and device, precision and slices where they differ from the defaults.
            callbacks: Not used: a prediction has no stages between which they could be called.

        Returns:
            A temporary NIfTI file, float32 and on the grid of the subject, the same as `mrh predict` writes; and what a client may want to
            know of it.

        Raises:
            MRHError: The subject or an option cannot be used.
        """
        chosen, start = request_options(request), time.monotonic()
        subject, wanted = find_input(request["image"]), slices(chosen["slices"])
        with tempfile.TemporaryDirectory(prefix="mrh-label-") as folder, self._turn:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", MRHWarning)
                predictor = load_bundle(self.bundle_path, PredictionOptions(device=chosen["device"], precision=chosen["precision"]))
                prediction = predictor.predict(subject, slices=wanted)
            written = prediction.save(prediction_path(folder, subject, predictor.stain))
            handle, result = tempfile.mkstemp(prefix=f"{subject.name}_{predictor.stain}_", suffix=".nii.gz")
            with os.fdopen(handle, "wb") as file:
                file.write(written.read_bytes())
        for warning in caught:
            logger.warning("%s: %s", subject.name, warning.message)
        messages = [str(warning.message) for warning in caught if issubclass(warning.category, MRHWarning)]
        sidecar = predictor.sidecar
        about = {"subject": subject.name, "stain": sidecar.stain, "units": sidecar.units, "weights": sidecar.sha256, **chosen}
        about["intervals"] = prediction.about_intervals
        if prediction.bounds is not None:
            about["interval_width"] = prediction.mean_width
        return result, {**about, "warnings": messages, "seconds": round(time.monotonic() - start, 2), "label_names": {}}


def request_options(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return device, precision and slices of a request, or their defaults. The prediction checks the values.

    Raises:
        OptionError: The request has an unknown option.
    """
    for name in request:
        if name not in MONAI_LABELS_OWN and name not in DEFAULTS:
            nearest = difflib.get_close_matches(name, DEFAULTS, n=1, cutoff=0.5)
            remedy = f"did you mean {nearest[0]}" if nearest else "leave it out; results are float32 NIfTI files on the subject's grid"
            raise OptionError(f"option {name}", ", ".join(DEFAULTS), "an unknown option", remedy)
    given = {name: none_if_unset(request.get(name)) for name in DEFAULTS}
    return {name: DEFAULTS[name] if value is None else value for name, value in given.items()}
