"""Virtual histology as a MONAI Deploy application: subjects in, one stain's NIfTI files out.

    python apps/monai_deploy/app.py -i IN -o OUT [-m BUNDLE]

Paths that are not given come from HOLOSCAN_INPUT_PATH, HOLOSCAN_OUTPUT_PATH and HOLOSCAN_MODEL_PATH, as in an application package.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from failures import DEBUG_OPTION, Failures
from runtime import prepare

from mrh_monai.errors import one_sentence_errors

one_sentence_errors(DEBUG_OPTION in sys.argv, DEBUG_OPTION)
prepare()

from bundle_operator import BundleOperator  # noqa: E402 (Holoscan, once its library is loaded)
from monai.deploy.core import Application, RuntimeEnv  # noqa: E402
from nifti_writer import NiftiWriter  # noqa: E402
from stain_bundle import StainBundle, find_bundle  # noqa: E402
from subject_reader import SubjectReader, subjects_in  # noqa: E402

from mrh_monai.data import MRH_NET_LAYOUT, Layout, Subject  # noqa: E402
from mrh_monai.io import writable_folder  # noqa: E402

DEFAULT_BUNDLE = Path(__file__).resolve().parent.parent.parent / "bundles" / "mrh_af"


class VirtualHistology(Application):
    """Reader, bundle and writer in a row.

    Args:
        subjects: What to predict.
        bundle: By what, loaded.
        output_dir: Where results go.
        failures: Where errors go.
    """

    def __init__(self, *args: Any, subjects: Sequence[Subject], bundle: StainBundle, output_dir: Path, failures: Failures, **kwargs: Any):
        self._parts = subjects, bundle, output_dir, failures
        super().__init__(*args, **kwargs)

    def compose(self) -> None:
        """Join the operators."""
        subjects, bundle, output_dir, failures = self._parts
        reader = SubjectReader(self, subjects=subjects, name="reader")
        predictor = BundleOperator(self, bundle=bundle, failures=failures, name="bundle")
        writer = NiftiWriter(self, output_dir=output_dir, failures=failures, name="writer")
        self.add_flow(reader, predictor, {("subject", "subject")})
        self.add_flow(predictor, writer, {("stain", "stain")})


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """What was typed, and where nothing was, the SDK's environment variables and their defaults."""
    paths = RuntimeEnv({"model": ("HOLOSCAN_MODEL_PATH", str(DEFAULT_BUNDLE))})
    parser = argparse.ArgumentParser("app.py", description="Virtual histology from multi-contrast MRI.")
    parser.add_argument(
        "-i", "--input", type=Path, default=Path(paths.input), help="a subject's folder, 4D image or manifest, or a folder of these"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path(paths.output), help="folder of the results")
    parser.add_argument("-m", "--model", type=Path, default=Path(paths.model), help="bundle folder, or a folder with one bundle")
    parser.add_argument("--layout", type=Path, help="YAML file of the file names inside a subject's folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(DEBUG_OPTION, action="store_true", help="show tracebacks")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Predict all subjects; one that is wrong is named, and the others are predicted all the same.

    Returns:
        Exit status: 1 where a subject is missing among the results.
    """
    chosen = arguments(argv)
    failures = Failures(chosen.debug)
    try:
        folder = find_bundle(chosen.model)
        layout = Layout.from_yaml(chosen.layout) if chosen.layout else MRH_NET_LAYOUT
        subjects, wrong = subjects_in(chosen.input, layout)
        for error in wrong:
            failures.add(error)
        if subjects:
            bundle = StainBundle(folder, chosen.output, chosen.device, chosen.debug)
            writable_folder(chosen.output)
            # Its own arguments: Holoscan would look for options of its own among what was typed.
            app = VirtualHistology(
                [sys.executable, __file__], subjects=subjects, bundle=bundle, output_dir=chosen.output, failures=failures
            )
            app.run()
    except Exception as error:
        failures.add(error)
    return 1 if failures.count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
