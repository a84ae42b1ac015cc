"""Virtual histology as a MONAI Deploy application: it reads subjects and writes the NIfTI files of one stain.

    python apps/monai_deploy/app.py -i IN -o OUT [-m BUNDLE]

Paths that are not given come from HOLOSCAN_INPUT_PATH, HOLOSCAN_OUTPUT_PATH and HOLOSCAN_MODEL_PATH, as in an application package.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from failures import DEBUG_OPTION, OPTIONS, Failures
from runtime import prepare

from mrh_monai.errors import print_errors_as_sentences

print_errors_as_sentences(DEBUG_OPTION in sys.argv, DEBUG_OPTION, OPTIONS)
prepare()

from bundle_operator import BundleOperator  # noqa: E402 (Holoscan, once its library is loaded)
from monai.deploy.core import Application, RuntimeEnv  # noqa: E402
from nifti_writer import NiftiWriter, StainFiles  # noqa: E402
from stain_bundle import StainBundle, find_bundle  # noqa: E402
from subject_reader import SubjectReader, subjects_in  # noqa: E402

from mrh_monai.io import writable_folder  # noqa: E402
from mrh_monai.network import bundle_files  # noqa: E402
from mrh_monai.subjects import Layout, Subject  # noqa: E402

DEFAULT_BUNDLE = Path(__file__).resolve().parent.parent.parent / "bundles" / "mrh_af"


class VirtualHistology(Application):
    """An application of three operators: reader, bundle and writer.

    Args:
        subjects: Subjects to predict.
        bundle: The loaded bundle.
        place: Files of the results.
        failures: Collector of errors.
    """

    def __init__(self, *args: Any, subjects: Sequence[Subject], bundle: StainBundle, place: StainFiles, failures: Failures, **kwargs: Any):
        self._parts = subjects, bundle, place, failures
        super().__init__(*args, **kwargs)

    def compose(self) -> None:
        """Connect the operators."""
        subjects, bundle, place, failures = self._parts
        reader = SubjectReader(self, subjects=subjects, name="reader")
        predictor = BundleOperator(self, bundle=bundle, failures=failures, name="bundle")
        writer = NiftiWriter(self, place=place, failures=failures, name="writer")
        self.add_flow(reader, predictor, {("subject", "subject")})
        self.add_flow(predictor, writer, {("stain", "stain")})


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options that were typed; for the others the environment variables of the SDK, or their defaults."""
    paths = RuntimeEnv({"model": ("HOLOSCAN_MODEL_PATH", str(DEFAULT_BUNDLE))})
    parser = argparse.ArgumentParser("app.py", description="Virtual histology from multi-contrast MRI.")
    parser.add_argument(
        "-i", "--input", type=Path, default=Path(paths.input), help="folder, 4D image or manifest of a subject, or a folder of these"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path(paths.output), help="folder of the results")
    parser.add_argument("-m", "--model", type=Path, default=Path(paths.model), help="bundle folder, or a folder with one bundle")
    parser.add_argument("--layout", type=Path, help="YAML file of file patterns inside a subject's folder")
    parser.add_argument("--device", default="auto", help="device that computes: auto, cpu, cuda or cuda:N")
    parser.add_argument("--overwrite", action="store_true", help="replace files in the folder of the results that are not predictions")
    parser.add_argument(DEBUG_OPTION, action="store_true", help="show tracebacks")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Predict all subjects. A subject that cannot be predicted is named, and the others are predicted.

    Returns:
        Exit status: 1 if a subject is missing among the results, else 0.
    """
    chosen = arguments(argv)
    failures = Failures(chosen.debug)
    try:
        folder = find_bundle(chosen.model)
        layout = Layout.from_yaml(chosen.layout)
        subjects, wrong = subjects_in(chosen.input, layout)
        for error in wrong:
            failures.add(error)
        if subjects:
            bundle = StainBundle(folder, chosen.device)
            writable_folder(chosen.output)
            place = StainFiles(chosen.output, bundle.stain, chosen.overwrite, bundle_files(folder))
            subjects = place.free_for(subjects, failures)
            # Holoscan would look for its own options among the typed ones, so the typed options are not passed to it.
            if subjects:
                app = VirtualHistology([sys.executable, __file__], subjects=subjects, bundle=bundle, place=place, failures=failures)
                app.run()
    except Exception as error:
        failures.add(error)
    return 1 if failures.count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
