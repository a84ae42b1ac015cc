"""A bundle of this project, run through its own inference config."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from monai.bundle import ConfigParser
from monai.deploy.core import Image

from mrh_monai.data import Subject
from mrh_monai.errors import CheckpointError, OptionError
from mrh_monai.inference import about_files, about_network

CONFIGS = ("configs/inference.yaml", "configs/inference.yml", "configs/inference.json")
SAVER = "mrh_monai.inference.transforms.SaveStaind"


class StainBundle:
    """All that the bundle's ``configs/inference.yaml`` builds, but for writing files: its evaluator with preprocessing and inferer.

    The configuration is MONAI's own, so that whatever `monai.bundle run` does happens here as well: the weights are compared with their
    sidecar and loaded strictly, channels are checked, intensities scaled, and predictions brought into the stain's units.

    Args:
        folder: The bundle.
        output_dir: Folder of the results, which the config asks for.
        device: auto, cpu, cuda or cuda:N.
        debug: Whether errors inside MONAI's engine show tracebacks.

    Raises:
        MRHError: The bundle, or the place for the results, cannot be used; MONAI may have wrapped it.
    """

    def __init__(self, folder: Path, output_dir: Path, device: str = "auto", debug: bool = False):
        parser = ConfigParser()
        parser.read_config(str(_config(folder)))
        if SAVER not in str(parser.get("postprocessing")):
            raise OptionError(_config(folder), f"postprocessing with {SAVER}", "none", "name a bundle of this project")
        # Subjects come through the graph, one by one, and an operator of it writes the files.
        parser["subjects"] = []
        for transform in parser["postprocessing"]["transforms"]:
            if transform["_target_"] == SAVER:
                transform["_disabled_"] = True
        parser.update({"bundle_root": str(folder), "output_dir": str(output_dir), "device": device, "debug": debug})
        parser.get_parsed_content("initialize")
        self._sidecar = parser.get_parsed_content("sidecar")
        self._protocol = parser.get_parsed_content("protocol")
        self._preprocessing = parser.get_parsed_content("preprocessing")
        self._evaluator = parser.get_parsed_content("evaluator")
        self._made_by = parser.get_parsed_content("made_by")

    def predict(self, subject: Subject) -> Image:
        """The virtual stain of one subject.

        Returns:
            (X, Y, Z) float32 in the stain's units, 0 outside the mask. Its metadata: ``affine`` (4, 4), voxel index to RAS+ mm;
            ``subject`` and ``stain``, short names; ``record``, the arguments of `mrh_monai.inference.prediction_record.write_record`.

        Raises:
            MRHError: The subject cannot be read, or does not fit the bundle; MONAI may have wrapped it.
        """
        opened = self._preprocessing(subject)
        self._evaluator.data_loader, self._evaluator.state.epoch_length = [opened], 1
        self._evaluator.run()
        voxels = np.asarray(self._evaluator.state.output["pred"][0].cpu(), np.float32)
        about = about_network(self._sidecar, self._protocol) | {"files": about_files(subject)}
        metadata = {
            "subject": subject.name,
            "stain": self._sidecar.stain,
            "affine": np.asarray(opened["mask"].affine),
            "record": {"inputs": opened["made_of"], "made_by": self._made_by, "about": about},
        }
        return Image(voxels, metadata)


def find_bundle(path: Path | str) -> Path:
    """The bundle at a path, or the only one in the folder there, which is how an application package keeps its models.

    Raises:
        CheckpointError: There is none, or several.
    """
    path = Path(path)
    if path.is_file():
        is_zip = path.suffix.lower() == ".zip"
        remedy = f"unpack it first: mrh unpack {path} -o FOLDER" if is_zip else "name the folder that has configs/ and models/"
        raise CheckpointError(path, "a bundle's folder", "a zip file" if is_zip else "a file", remedy)
    if not path.is_dir():
        raise CheckpointError(path, "a bundle's folder", "nothing", "check the path (-m, or HOLOSCAN_MODEL_PATH)")
    if _has_config(path):
        return path
    inside = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _has_config(folder)]
    if len(inside) != 1:
        found = ", ".join(folder.name for folder in inside) or f"no {CONFIGS[0]} in it or one folder below"
        raise CheckpointError(path, "one bundle", found, "name the bundle's own folder, such as bundles/mrh_af")
    return inside[0]


def _config(folder: Path) -> Path:
    return next(folder / name for name in CONFIGS if (folder / name).is_file())


def _has_config(folder: Path) -> bool:
    return any((folder / name).is_file() for name in CONFIGS)
