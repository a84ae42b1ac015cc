"""The bundle that an application predicts with."""

from __future__ import annotations

from pathlib import Path

from mrh_monai.errors import CheckpointError
from mrh_monai.inference import Prediction, PredictionOptions, load_bundle
from mrh_monai.subjects import Subject

CONFIGS = ("configs/inference.yaml", "configs/inference.yml", "configs/inference.json")


class StainBundle:
    """A bundle of this project, loaded once: the weights are compared with their sidecar and with the channels of the bundle.

    Args:
        folder: Bundle folder.
        device: Device that computes: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Attributes:
        stain: Short name of the stain.

    Raises:
        MRHError: The bundle cannot be used.
    """

    def __init__(self, folder: Path, device: str = "auto"):
        self._predictor = load_bundle(folder, PredictionOptions(device=device))
        self.stain = self._predictor.stain

    def predict(self, subject: Subject) -> Prediction:
        """Return the virtual stain of one subject, as `mrh predict` computes it.

        Raises:
            MRHError: The subject cannot be read, or does not fit the bundle.
        """
        return self._predictor.predict(subject)


def find_bundle(path: Path | str) -> Path:
    """Return the bundle at a path, or the only bundle in the folder there: an application package keeps its models in such a folder.

    Raises:
        CheckpointError: There is no bundle, or there are several.
    """
    path = Path(path)
    if path.is_file():
        is_zip = path.suffix.lower() == ".zip"
        remedy = f"unpack it first: mrh unpack {path} -o FOLDER" if is_zip else "name the folder that has configs/ and models/"
        raise CheckpointError(path, "a bundle folder", "a zip file" if is_zip else "a file", remedy)
    if not path.is_dir():
        raise CheckpointError(path, "a bundle folder", "no such folder", "check the path (-m, or HOLOSCAN_MODEL_PATH)")
    if _has_config(path):
        return path
    inside = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _has_config(folder)]
    if len(inside) != 1:
        found = ", ".join(folder.name for folder in inside) or f"no {CONFIGS[0]} in it or one folder below"
        raise CheckpointError(path, "one bundle", found, "name the folder of the bundle itself, such as bundles/mrh_af")
    return inside[0]


def _has_config(folder: Path) -> bool:
    return any((folder / name).is_file() for name in CONFIGS)
