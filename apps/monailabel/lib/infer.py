"""A bundle as a model of MONAI Label: its own inference config runs, engine, scaling, saving and all."""

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

from mrh_monai.bundle import optional, slices
from mrh_monai.data import find_input, restrict
from mrh_monai.devices import PRECISIONS
from mrh_monai.errors import MRHWarning, OptionError
from mrh_monai.inference import prediction_path
from mrh_monai.network import Sidecar, load_checkpoint

logger = logging.getLogger(__name__)

DEFAULTS: dict[str, Any] = {"device": "auto", "precision": "float32", "slices": None}
# What MONAI Label's own code adds to a request; none of it changes a prediction.
MONAI_LABELS_OWN = {
    "model", "image", "description", "save_label", "label_tag", "logging", "images", "_id", "_image_id", "multi_gpu", "gpus", "max_workers",
    "max_batch_size", "timeout",
}  # fmt: skip


class StainInferTask(BundleInferTask):
    """Predict the stain of one bundle.

    Every request gets the bundle's `inference.yaml` anew, so that requests share nothing, and weights that were replaced meanwhile are
    found and checked again.

    Args:
        bundle: Its folder.

    Raises:
        CheckpointError: It has no trained weights, or others than their sidecar says.
    """

    # Float32 on CUDA devices and what warnings do are settings of the process; besides, one request fills a machine.
    _turn = threading.Lock()

    def __init__(self, bundle: Path):
        load_checkpoint(self.weights_of(bundle))
        super().__init__(str(bundle), {}, type=InferType.OTHERS, add_post_restore=False, extend_load_image=False, load_strict=True)
        self.labels: dict[str, int] = {}  # the result is a volume of intensities, not segments
        self.dimension = 3
        cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        # Clients offer the values of a list, and begin with the first.
        self._config = {"device": ["auto", "cpu", *cuda], "precision": list(PRECISIONS), "slices": ""}
        # Engines log an exception with its traceback before they pass it on.
        logging.getLogger("ignite").setLevel(logging.CRITICAL + 1)

    @staticmethod
    def weights_of(bundle: Path) -> Path:
        """Where a bundle has its weights."""
        return bundle / "models" / "model.pt"

    def __call__(self, request: Mapping[str, Any], callbacks: Mapping[Any, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Predict one subject.

        Args:
            request: ``image``, the path that stands for it; device, precision and slices if they are not to be as usual.
            callbacks: Not used: nothing lies between the stages of a bundle's own engine.

        Returns:
            A temporary NIfTI file, float32 and on the subject's grid, as `monai.bundle run` writes it; and what a client may want to know.

        Raises:
            MRHError: The subject or an option cannot be used; MONAI may have wrapped it.
        """
        chosen, start = options(request), time.monotonic()
        subject = find_input(request["image"])
        with tempfile.TemporaryDirectory(prefix="mrh-label-") as folder, self._turn:
            out = Path(folder)
            config = self._load_bundle_config(self.bundle_path, self.bundle_config_path)
            config.update({"output_dir": folder, **chosen})
            config["subjects"] = [restrict(subject, slices(chosen["slices"]))]
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", MRHWarning)
                config.get_parsed_content("evaluator").run()
            sidecar: Sidecar = config.get_parsed_content("sidecar")
            written = prediction_path(out, subject, sidecar.stain)
            handle, result = tempfile.mkstemp(prefix=f"{subject.name}_{sidecar.stain}_", suffix=".nii.gz")
            with os.fdopen(handle, "wb") as file:
                file.write(written.read_bytes())
        for warning in caught:
            logger.warning("%s: %s", subject.name, warning.message)
        told = [str(warning.message) for warning in caught if issubclass(warning.category, MRHWarning)]
        about = {"subject": subject.name, "stain": sidecar.stain, "units": sidecar.units, "weights": sidecar.sha256, **chosen}
        return result, {**about, "warnings": told, "seconds": round(time.monotonic() - start, 2), "label_names": {}}


def options(request: Mapping[str, Any]) -> dict[str, Any]:
    """What a request says of device, precision and slices; their values are looked at by the bundle's config.

    Raises:
        OptionError: The request has an option that there is not.
    """
    for name in request:
        if name not in MONAI_LABELS_OWN and name not in DEFAULTS:
            nearest = difflib.get_close_matches(name, DEFAULTS, n=1, cutoff=0.5)
            remedy = f"did you mean {nearest[0]}" if nearest else "leave it out; results are float32 NIfTI files on the subject's grid"
            raise OptionError(f"option {name}", ", ".join(DEFAULTS), "an unknown one", remedy)
    given = {name: optional(request.get(name)) for name in DEFAULTS}
    return {name: DEFAULTS[name] if value is None else value for name, value in given.items()}
