"""Virtual histology in MONAI Label: every bundle is a model, and every scan of a folder is an image. See README.md."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from fastapi import HTTPException
from lib.answers import UnknownError, answered, last_line_only
from lib.datastore import ScanDatastore
from lib.infer import StainInferTask
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import DefaultLabelTag

from mrh_monai import __version__
from mrh_monai.bundle import flag
from mrh_monai.errors import CheckpointError, MRHError, OptionError

logger = logging.getLogger(__name__)

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
CONF = ("bundles", "models", "server_mode")


class VirtualHistologyApp(MONAILabelApp):
    """The app, which MONAI Label creates when its server starts.

    Args:
        app_dir: This folder.
        studies: Folder of scans.
        conf: ``bundles``, a folder of bundles, by default that of the checkout; ``models``, names of some of them separated by commas, by
            default all that have weights.

    Raises:
        MRHError: An option has an impossible value, or no bundle can be used.
    """

    def __init__(self, app_dir: str, studies: str, conf: Mapping[str, str]):
        try:
            unknown = next((key for key in conf if key not in CONF), None)
            if unknown is not None:
                nearest = difflib.get_close_matches(unknown, CONF, n=1)
                raise OptionError(f"--conf {unknown}", "bundles or models", "an unknown name", f"did you mean {(nearest or CONF)[0]}")
            self._tasks = usable(Path(conf.get("bundles") or BUNDLES), conf.get("models"))
            super().__init__(app_dir, studies, dict(conf), "Virtual histology", "Stains of the mouse brain from its MR images", __version__)
        except MRHError:
            last_line_only()
            raise

    def init_datastore(self) -> ScanDatastore:
        """Return the folder of scans."""
        return ScanDatastore(self.studies)

    def init_infers(self) -> dict[str, StainInferTask]:
        """Return the models by name."""
        return self._tasks

    def infer(self, request: Mapping[str, Any], datastore: ScanDatastore | None = None) -> dict[str, Any]:
        """Predict an image of the datastore. An error that the user can correct becomes an HTTP error with its sentence.

        Args:
            request: ``model``, ``image`` (a name in the datastore, not a path), ``save_label``, ``label_tag``, and options of the task.
            datastore: Datastore to use; None for that of the app.
        """
        store = datastore or self.datastore()
        with answered():
            model = str(request.get("model"))
            if model not in self._infers:
                raise UnknownError(f"model {model!r}", f"one of {', '.join(self._infers)}", "an unknown name", "choose one of them")
            keep = flag("save_label", request.get("save_label", False))
            path = store.path_of(request["image"])
            file, told = self._infers[model]({**request, "image": path})
        tag = request.get("label_tag") or DefaultLabelTag.ORIGINAL
        # With the default tag of MONAI Label, the stains of a subject would replace each other.
        tag = model if tag == DefaultLabelTag.ORIGINAL else tag
        label = store.save_label(request["image"], file, tag, {"model": model, "params": told}) if keep else file
        return {"label": label, "tag": tag, "file": file, "params": told}

    def batch_infer(self, request: Mapping[str, Any], datastore: ScanDatastore | None = None) -> Any:
        """Predict many images and keep the results as labels. An image that cannot be used has the sentence as its ``error`` instead."""

        def one(request: Mapping[str, Any], store: ScanDatastore) -> dict[str, Any]:
            try:
                return self.infer(request, store)
            except HTTPException as error:
                return {"error": error.detail}

        # MONAI Label divides by the number of CUDA devices.
        several = request.get("multi_gpu", True) and torch.cuda.is_available()
        return self._batch_infer({**request, "multi_gpu": several}, datastore or self.datastore(), one)


def usable(folder: Path, chosen: str | None) -> dict[str, StainInferTask]:
    """Return the bundles of a folder that have weights, by name. The log names those that are left out.

    Args:
        folder: Folder of bundles, or one bundle.
        chosen: Names separated by commas, all of which must have weights; None for all bundles with weights.

    Raises:
        OptionError: There is no bundle, or a chosen bundle does not exist.
        CheckpointError: No bundle has weights, or a chosen bundle has none.
    """
    found = {path.name: path for path in (folder.resolve(), *sorted(folder.resolve().glob("*"))) if any(path.glob("configs/inference.*"))}
    if not found:
        remedy = "give --conf bundles FOLDER, whose sub-folders are bundles such as mrh_af"
        raise OptionError(folder, "a folder with a bundle in it", "no bundle in it" if folder.is_dir() else "no such folder", remedy)
    names = [name.strip() for name in chosen.split(",")] if chosen else list(found)
    missing = next((name for name in names if name not in found), None)
    if missing is not None:
        raise OptionError("--conf models", f"some of {', '.join(found)}", repr(missing), f"choose bundles of {folder}")
    tasks, errors = {}, []
    for name in names:
        try:
            tasks[name] = StainInferTask(found[name])
        except CheckpointError as error:
            if chosen:
                raise
            logger.warning("%s is left out: %s", name, error)
            errors.append(error)
    if not tasks:
        raise errors[0]
    return tasks
