"""The `mrh` command: its verbs, and errors that end as one sentence."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mrh_monai.cli import analysis_verbs, bundle_verbs, data_verbs, matlab_verbs, prediction_verbs
from mrh_monai.errors import MRHError, error_sentence, print_errors_as_sentences

app = typer.Typer(
    name="mrh", help="Virtual histology of the mouse brain from multi-contrast MRI.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


@app.callback()
def _root(debug: Debug = False) -> None:
    print_errors_as_sentences(debug, "mrh --debug VERB")


for group in (data_verbs, prediction_verbs, bundle_verbs, analysis_verbs, matlab_verbs):
    app.add_typer(group.verbs)


def main() -> None:
    """Run the command. A wrong input ends in one sentence on standard error and status 1."""
    try:
        app()
    except MRHError as error:
        if "--debug" in sys.argv:
            raise
        print(error_sentence(error), file=sys.stderr)
        sys.exit(1)
