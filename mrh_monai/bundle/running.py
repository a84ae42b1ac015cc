"""Train a bundle from Python: the same run as `python -m monai.bundle run`, in this process."""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrh_monai.errors import MRHError, OptionError, root_cause
from mrh_monai.network import read_sidecar
from mrh_monai.subjects import AnySubject, Datalist, SubjectArrays, write_arrays


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training run: the weights, the table of epochs and the scores of the best epoch.

    Attributes:
        weights: `model.pt` of the best epoch; its sidecar lies beside it.
        metrics: `metrics.csv`, one row for each epoch.
        best_epoch: Number of the best epoch, from 1.
        val_rmse: Validation RMSE of the best epoch, in the stain's units.
        val_r2: Validation R2 of the best epoch.
    """

    weights: Path
    metrics: Path
    best_epoch: int
    val_rmse: float
    val_r2: float


def train(bundle: Path | str, datalist: Datalist | Path | str, output_dir: Path | str, **options: Any) -> TrainingResult:
    """Train the network of a bundle on the subjects of a datalist, and put the finished weights into the bundle.

    This runs the bundle's own `train.yaml` by MONAI, like ``python -m monai.bundle run``. It sets the random states of Python, NumPy and
    PyTorch. Errors come out as exceptions, and nothing of this process is changed otherwise.

    Args:
        bundle: Bundle folder.
        datalist: ``training`` and, if there are any, ``validation`` subjects: a JSON file, or a `Datalist` of files or arrays. Arrays are
            written to temporary files for the run.
        output_dir: Folder of the results.
        options: Any other option of training, such as ``epochs=10``, ``recipe="paper"``, ``pretrained=None`` or ``device="cpu"``. The page
            of the bundle, `docs/README.md`, lists all of them.

    Returns:
        Where the results are, and the scores of the best epoch.

    Raises:
        MRHError: The run cannot start, or fails; the sentence says why and what to do.

    Example::

        result = mrh_monai.train("bundles/mrh_af", "study/datalist.json", "out", residual_blocks=5, device="cpu")
        print(result.best_epoch, result.val_r2)
    """
    from monai.bundle import ConfigWorkflow

    root = Path(bundle)
    config = next((path for path in (root / "configs" / "train.yaml", root / "configs" / "train.json") if path.is_file()), None)
    if config is None:
        raise OptionError(root, "a bundle folder with configs/train.yaml", "no such file", "name a bundle folder such as bundles/mrh_af")
    fixed = sorted({"bundle_root", "debug"} & set(options))
    if fixed:
        raise OptionError(fixed[0], "an option of the training", "one that this function sets itself", f"leave {fixed[0]} out")
    typed = {name: "none" if value is None else str(value) if isinstance(value, Path) else value for name, value in options.items()}
    # With `debug`, the config leaves the hooks of this process as they are.
    typed |= {"bundle_root": str(root), "output_dir": str(output_dir), "debug": True}
    with _quiet_libraries(), _same_module_search(), _datalist_file(datalist) as listed:
        typed["datalist"] = str(listed)
        try:
            workflow = ConfigWorkflow(config_file=str(config), workflow_type="train", logging_file=False, **typed)
            workflow.initialize()
            workflow.run()
            workflow.finalize()
        except Exception as error:
            cause = root_cause(error)
            if isinstance(cause, MRHError):
                raise cause from None
            raise
    weights = Path(output_dir) / "model.pt"
    source = read_sidecar(weights).source
    return TrainingResult(weights, Path(output_dir) / "metrics.csv", source["epoch"], source["val_rmse"], source["val_r2"])


@contextlib.contextmanager
def _datalist_file(datalist: Datalist | Path | str) -> Iterator[Path | str]:
    """A context that gives the JSON file of a datalist. That of a `Datalist`, and the files of its arrays, are removed at the end."""
    if not isinstance(datalist, Datalist):
        yield datalist
        return
    with tempfile.TemporaryDirectory() as folder:
        in_files: dict[str, tuple[AnySubject, ...]] = {}
        for name, subjects in datalist.sections.items():
            place = Path(folder, name)
            in_files[name] = tuple(write_arrays(one, place / one.name) if isinstance(one, SubjectArrays) else one for one in subjects)
        Datalist(**in_files).write(Path(folder) / "datalist.json")
        yield Path(folder) / "datalist.json"


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """A context in which two loggers are silent: Ignite logs errors before it raises them, and MONAI warns of a missing logging file."""
    loggers = {
        logging.getLogger(name): level for name, level in (("ignite", logging.CRITICAL + 1), ("monai.bundle.workflows", logging.ERROR))
    }
    before = {logger: logger.level for logger in loggers}
    for logger, level in loggers.items():
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


@contextlib.contextmanager
def _same_module_search() -> Iterator[None]:
    """A context that leaves `sys.path` as it was: a workflow of MONAI adds the folder of its bundle."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before
