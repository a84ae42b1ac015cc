"""The report: one self-contained HTML file about all results in a folder."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from mrh_monai import __version__
from mrh_monai.errors import MRHError, OptionError, error_sentence
from mrh_monai.io import write_text
from mrh_monai.output_files import check_outputs, writing
from mrh_monai.report.predicted_subject import PredictedSubject, WrittenPrediction, find_predictions, read_predicted_subject
from mrh_monai.report.prediction_sections import provenance_rows, scores_table, subject_section, viewer_section
from mrh_monai.report.sections import Section, result_sections
from mrh_monai.report.viewer import viewer_script

logger = logging.getLogger(__name__)

LIMIT = 8 * 10**6  # bytes of a report
VOLUMES = 3 * 10**6  # bytes of the volumes of the viewer
DETAILED = 3  # subjects shown in pictures
LEFT_OUT = "The pictures of this section are left out to keep the page below 8 MB; they are in the folders of the results."
NO_VIEWER = "The interactive viewer is left out: NiiVue was not found. It comes with nilearn: pip install 'mrh-monai[report]'."


def check_report_after_inference(output_dir: Path | str, wanted: bool, overwrite: bool = False) -> None:
    """Refuse a report that would replace another file, before anything is predicted, see `write_report_after_inference`.

    Raises:
        OutputError: ``report.html`` in the folder is no report.
    """
    if wanted:
        check_outputs("report", [Path(output_dir) / "report.html"], overwrite=overwrite)


def write_report_after_inference(output_dir: Path | str, wanted: bool, overwrite: bool = False) -> None:
    """Write the report at the end of a bundle's inference.

    Args:
        output_dir: Folder of the predictions.
        wanted: Whether a report is wanted. Even then, no report is written if no volume was predicted.
        overwrite: Whether a `report.html` of another origin may be replaced.
    """
    if not wanted or not find_predictions(Path(output_dir)):
        return
    try:
        logger.info("%s", write_report(output_dir, overwrite=overwrite))
    except MRHError as error:  # the predictions are finished, whatever other files lie beside them
        logger.warning("no report: %s", error_sentence(error))


def write_report(folder: Path | str, output: Path | str | None = None, subject: str | None = None, overwrite: bool = False) -> Path:
    """Write the report of a folder: its predictions, trainings, comparisons, contributions and studies, in whatever subfolders they lie.

    Args:
        folder: Folder of results.
        output: HTML file to write; None for ``report.html`` in the folder.
        subject: Name of the predicted subject to show in the viewer; None for the first.
        overwrite: Whether an HTML file that is not a report may be replaced.

    Returns:
        The file, of at most 8 MB.

    Raises:
        OptionError: The folder has no results, or no predicted subject of this name.
        SubjectError: A file of results cannot be read.
        OutputError: The file is not a report of this function, or cannot be written.

    Example:
        >>> write_report("results")  # doctest: +SKIP
        PosixPath('results/report.html')
    """
    folder = Path(folder)
    if not folder.is_dir():
        found, remedy = "a file" if folder.exists() else "no such folder", "name the folder that training or inference wrote"
        raise OptionError(folder, "a folder of results", found, remedy)
    predictions = find_predictions(folder)
    names = [prediction.name for prediction in predictions]
    if subject is not None and subject not in names:
        expected = f"one of {', '.join(names)}" if names else "a predicted subject in this folder"
        raise OptionError("subject", expected, repr(subject), "choose another subject" if names else "leave --subject out")
    predictions.sort(key=lambda prediction: prediction.name != subject)
    output = folder / "report.html" if output is None else Path(output)
    inputs = [path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() != ".html"]
    check_outputs("report", [output], inputs, overwrite)
    with tempfile.TemporaryDirectory() as pictures:
        sections = result_sections(folder)
        if not predictions and not sections:
            expected = "predictions, a training run, a comparison, a contribution or a study"
            raise OptionError(folder, expected, "no results", "name the folder that training, inference or another mrh command wrote")
        detailed = [read_predicted_subject(prediction) for prediction in predictions[:DETAILED]]
        page = ""
        for page in _pages(folder, predictions, detailed, sections, Path(pictures)):
            if len(page.encode()) <= LIMIT:
                break
    with writing("report", [output], inputs, overwrite):
        write_text(output, page)
    return output


def _pages(
    folder: Path,
    predictions: Sequence[WrittenPrediction],
    detailed: Sequence[PredictedSubject],
    sections: Sequence[Section],
    pictures: Path,
) -> Iterator[str]:
    """Yield smaller and smaller pages: with fewer subjects, then fewer pictures of results (the last first), then words and tables."""
    for count in range(len(detailed), 0, -1):
        yield _page(folder, predictions, detailed[:count], sections, pictures)
    rest: list[Section] = []
    for kept in range(len(sections), -1, -1):
        rest = [section.without_pictures(LEFT_OUT) for section in sections[kept:]]
        yield _page(folder, predictions, detailed[:1], [*sections[:kept], *rest], pictures)
    yield _page(folder, predictions, [], rest, pictures)


def _page(
    folder: Path,
    predictions: Sequence[WrittenPrediction],
    detailed: Sequence[PredictedSubject],
    sections: Sequence[Section],
    pictures: Path,
) -> str:
    subjects = [subject_section(subject, pictures / f"{number}") for number, subject in enumerate(detailed)]
    shown = [*(part.pictures for part in subjects), *(part.pictures for part in sections)]
    used = sum(len(picture.source) for pictures_of_part in shown for picture in pictures_of_part)
    script = viewer_script() if detailed else None
    viewer = viewer_section(detailed[0], min(VOLUMES, LIMIT - used - len(script) - 200_000)) if script is not None else None
    rest = len(predictions) - len(detailed)
    stains = list(dict.fromkeys(str(prediction.about.get("stain", "stain")).upper() for prediction in predictions))
    loader = jinja2.PackageLoader("mrh_monai.report", ".")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("page.html.j2").render(
        title=f"Virtual histology: {', '.join(stains)}" if stains else f"Results of {folder.resolve().name}",
        subtitle=f"{folder.resolve().name}: {len(predictions)} predicted subject{'s' * (len(predictions) != 1)}; mrh-monai {__version__}.",
        scores=scores_table(predictions, detailed),
        subjects=subjects,
        more_subjects=f"Not shown in pictures: {rest} more; --subject NAME puts one of them first." if rest > 0 else "",
        sections=sections,
        viewer=viewer,
        script=Markup(script) if viewer else "",
        viewer_missing=NO_VIEWER if detailed and viewer is None else "",
        provenance=provenance_rows(predictions),
    )
