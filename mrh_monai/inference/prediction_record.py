"""Which subjects of a cohort are predicted already, and by what, so that a run that broke off goes on with the rest."""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.engines import Evaluator

from mrh_monai import distributed
from mrh_monai.data import Subject, is_patch_file, read_headers
from mrh_monai.errors import MRHError, OptionError, SubjectError, root_cause, sentence
from mrh_monai.io import sha256, write_text
from mrh_monai.network import sidecar_path
from mrh_monai.protocol import MRProtocol

logger = logging.getLogger(__name__)


def fingerprint(ckpt_path: Path | str, **options: Any) -> dict[str, Any]:
    """What predictions depend on besides a subject's files.

    Args:
        ckpt_path: The weights.
        options: Whatever else; kept as text.
    """
    return {
        "weights": sha256(ckpt_path),
        "sidecar": sha256(sidecar_path(ckpt_path)),
        **{name: str(value) for name, value in options.items()},
    }


def made_of(subject: Subject) -> dict[str, Any]:
    """A subject's files, by size and time of change, to be asked for before they are read; and its slices.

    Of every file all that share its name count, but for their endings: pairs of header and voxels lie in two.
    """
    listed = [path for path in (*subject.image, subject.mask, subject.fa) if path is not None]
    files = {file.resolve() for path in listed for file in path.parent.glob(f"{glob.escape(path.name.split('.')[0])}.*")}
    inputs = {str(file): [file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(files)}
    return {"inputs": inputs, "slices": None if subject.slices is None else [list(pair) for pair in subject.slices]}


def write_record(prediction: Path, inputs: Mapping[str, Any], made_by: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> None:
    """Say beside a finished prediction what it was made of.

    Args:
        prediction: Its file, whole.
        inputs: `made_of` its subject.
        made_by: `fingerprint`.
        about: What else a report tells of it, see `mrh_monai.inference.provenance`; it does not decide on what is finished.
    """
    content = {"made_by": dict(made_by), **inputs, "bytes": prediction.stat().st_size, "about": dict(about or {})}
    write_text(_record(prediction), json.dumps(content, indent=2) + "\n")


def forget(prediction: Path) -> None:
    """Before a prediction is replaced: it is not finished any more."""
    _record(prediction).unlink(missing_ok=True)


def unfinished(subjects: Sequence[Subject], output_dir: Path | str, stain: str, made_by: Mapping[str, Any]) -> list[Subject]:
    """The subjects without a prediction, or whose prediction was made of other files, by other weights or with other options.

    Args:
        subjects: The cohort.
        output_dir: Where predictions lie.
        stain: Short name.
        made_by: `fingerprint`.
    """
    return [s for s in subjects if not _is_finished(prediction_path(output_dir, s, stain), s, made_by)]


def share_of_cohort(
    subjects: Sequence[Subject],
    output_dir: Path | str,
    stain: str,
    made_by: Mapping[str, Any],
    protocol: MRProtocol,
    shared: str = "subjects",
    redo: bool = False,
) -> list[Subject]:
    """The subjects that this process has a part in, of those that are not finished.

    The headers of all of them are looked at first: a file that is missing among a thousand brains is found in the first minute.

    Args:
        subjects: The cohort.
        output_dir: Where predictions lie.
        stain: Short name.
        made_by: `fingerprint`.
        protocol: The channels that each must have.
        shared: ``subjects``: every process has some of them to itself; ``slabs``: all have a part in each.
        redo: Whether finished ones are predicted anew.

    Raises:
        OptionError: ``shared`` is neither.
        SubjectError: The files of one do not belong together.
    """
    if shared not in ("subjects", "slabs"):
        raise OptionError("shared", "subjects or slabs", repr(shared), "choose one of the two")

    def decide() -> list[Subject]:
        left = list(subjects) if redo else unfinished(subjects, output_dir, stain, made_by)
        for subject in left:
            if not is_patch_file(subject):
                read_headers(subject, protocol)
        return left

    left = distributed.agree(decide)
    if distributed.is_first():
        logger.info("%d of %d subjects are finished", len(subjects) - len(left), len(subjects))
    number, count = distributed.share()
    return left if shared == "slabs" else left[number::count]


def predict_each(
    evaluator: Evaluator, subjects: Sequence[Subject], open_subject: Callable[[Subject], Mapping[str, Any]], keep_going: bool
) -> None:
    """Run an evaluator on one subject after another; one that cannot be read does not keep the others waiting.

    Args:
        evaluator: Its own data loader is not used.
        subjects: This process's.
        open_subject: From a subject to what the evaluator takes.
        keep_going: Whether to go on behind a subject that cannot be read, and to say at the end which those were.

    Raises:
        SubjectError: Some subjects could not be read, of this process or of others; by the first process, when all have ended.
    """
    failed = []
    for subject in subjects:
        try:
            opened = open_subject(subject)
        except Exception as error:  # MONAI wraps those of its transforms
            if not keep_going or not isinstance(root_cause(error), MRHError):
                raise
            logger.error("%s is left out: %s", subject.name, sentence(error))
            failed.append(subject.name)
            continue
        evaluator.data_loader, evaluator.state.epoch_length = [opened], 1
        evaluator.run()
    everywhere = sorted(name for names in distributed.gather(failed) for name in names)
    if everywhere and distributed.is_first():
        remedy = "mend them or take them off the list, and type the same command; all others are finished"
        raise SubjectError(", ".join(everywhere), "subjects that can be read", "what is said above", remedy)


def prediction_path(output_dir: Path | str, subject: Subject, stain: str) -> Path:
    """``OUTPUT/<subject>/<subject>_<stain>.nii.gz``; ``.mat`` for a file of patches, which lie on no grid."""
    ending = "mat" if is_patch_file(subject) else "nii.gz"
    return Path(output_dir) / subject.name / f"{subject.name}_{stain}.{ending}"


def _record(prediction: Path) -> Path:
    return prediction.with_name(prediction.name.removesuffix(".mat").removesuffix(".nii.gz") + ".json")


def _is_finished(prediction: Path, subject: Subject, made_by: Mapping[str, Any]) -> bool:
    try:
        content = {"made_by": dict(made_by), **made_of(subject), "bytes": prediction.stat().st_size}
        record = json.loads(_record(prediction).read_text())
        return {key: record.get(key) for key in content} == content
    except (OSError, ValueError):
        return False
