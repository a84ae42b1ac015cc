"""Many subjects in one run: which of them are finished, which process predicts which, and what happens if one cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.engines.evaluator import Evaluator

from mrh_monai import distributed
from mrh_monai.data import input_kind
from mrh_monai.errors import MRHError, SubjectError, error_sentence, one_of, root_cause
from mrh_monai.inference.prediction_record import check_prediction_output, is_finished, prediction_path
from mrh_monai.protocol import MRProtocol
from mrh_monai.subjects import AnySubject, Subject, files_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CohortOutput:
    """Where the predictions of a cohort are written, and which weights and options make them.

    Attributes:
        output_dir: Folder of the results.
        stain: Short name of the stain.
        made_by: Result of `fingerprint`.
        overwrite: Whether files that are not predictions may be replaced.
        inputs: Files that the run reads besides those of its subjects, which are never replaced.
    """

    output_dir: Path | str
    stain: str
    made_by: Mapping[str, Any]
    overwrite: bool = False
    inputs: Sequence[Path] = ()

    def unfinished(self, subjects: Sequence[AnySubject]) -> list[AnySubject]:
        """Return the subjects without a finished prediction: there is no file, or it was made from other files, weights or options."""
        return [s for s in subjects if not is_finished(prediction_path(self.output_dir, s, self.stain), s, self.made_by)]

    def check(self, subjects: Sequence[AnySubject]) -> None:
        """Refuse predictions that would replace a file of any of the subjects, or a file that is not a prediction.

        Args:
            subjects: Subjects that will be predicted.

        Raises:
            OutputError: There is such a file.
        """
        inputs = [*self.inputs, *(file for subject in subjects if isinstance(subject, Subject) for file in files_of(subject))]
        for subject in subjects:
            path = prediction_path(self.output_dir, subject, self.stain)
            check_prediction_output(path, inputs, self.overwrite, "intervals" in self.made_by)


def share_of_cohort(
    subjects: Sequence[AnySubject], output: CohortOutput, protocol: MRProtocol, shared: str = "subjects", redo: bool = False
) -> list[AnySubject]:
    """Return the subjects on which this process works, among those that are not finished.

    The headers of all of them are read first, so that a missing file among a thousand brains is found in the first minute.

    Args:
        subjects: The cohort.
        output: Where its predictions are written.
        protocol: Channels that each subject must have.
        shared: ``subjects``: every process predicts some of the subjects; ``slabs``: all processes work on each subject.
        redo: Whether finished subjects are predicted again.

    Raises:
        OptionError: ``shared`` is unknown.
        SubjectError: The files of a subject do not belong together.
    """
    one_of("shared", shared, ("subjects", "slabs"))

    def decide() -> list[AnySubject]:
        left = list(subjects) if redo else output.unfinished(subjects)
        for subject in left:
            input_kind(subject).image_headers(subject, protocol)
        output.check(left)
        return left

    left = distributed.decide_on_first_process(decide)
    if distributed.is_first_process():
        logger.info("%d of %d subjects are finished", len(subjects) - len(left), len(subjects))
    number, count = distributed.share_of_this_process()
    return left if shared == "slabs" else left[number::count]


def predict_each(
    evaluator: Evaluator,
    subjects: Sequence[AnySubject],
    open_subject: Callable[[AnySubject], Mapping[str, Any]],
    keep_going: bool,
) -> None:
    """Run an evaluator on one subject after another; the others go on if one cannot be read.

    Args:
        evaluator: Evaluator, whose own data loader is not used.
        subjects: Subjects of this process.
        open_subject: Function from a subject to what the evaluator takes.
        keep_going: Whether to go on after a subject that cannot be read, and to name those subjects at the end.

    Raises:
        SubjectError: Subjects of this or of another process could not be read. The first process raises it when all have ended.
    """
    failed = []
    for subject in subjects:
        try:
            opened = open_subject(subject)
        except Exception as error:  # MONAI wraps the errors of its transforms
            if not keep_going or not isinstance(root_cause(error), MRHError):
                raise
            logger.error("%s is left out: %s", subject.name, error_sentence(error))
            failed.append(subject.name)
            continue
        evaluator.data_loader, evaluator.state.epoch_length = [opened], 1
        evaluator.run()
    everywhere = sorted(name for names in distributed.gather_from_processes(failed) for name in names)
    if everywhere and distributed.is_first_process():
        remedy = "correct them or remove them from the datalist, and run the same command again; all other subjects are finished"
        raise SubjectError(", ".join(everywhere), "subjects that can be read", "the errors above", remedy)
