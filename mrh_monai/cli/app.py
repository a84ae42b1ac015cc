"""The `mrh` command: its verbs, and errors that end as one sentence."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from mrh_monai.cli import analysis_verbs, bundle_verbs, data_verbs, matlab_verbs, prediction_verbs
from mrh_monai.errors import MRHError, OptionError, error_sentence, print_errors_as_sentences, with_usable_remedy

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
        print(error_sentence(in_words_of_verb(error, sys.argv[1:])), file=sys.stderr)
        sys.exit(1)


def in_words_of_verb(error: MRHError, words: Sequence[str]) -> MRHError:
    """Return an error as the user of a verb can follow it.

    What a function calls ``threshold`` is the option ``--threshold`` of the verb. Remedies that need an option of another verb are left
    out.

    Args:
        error: The error.
        words: Words of the command line, the verb among them.
    """
    verbs = typer.main.get_group(app).commands
    verb = next((verbs[word] for word in words if word in verbs), None)
    if verb is None:
        return error
    options = {param.name: max(param.opts, key=len) for param in verb.params if param.opts[0].startswith("-")}
    where = options.get(error.where, error.where) if isinstance(error, OptionError) else error.where
    return with_usable_remedy(type(error)(where, error.expected, error.found, error.remedy), {*options.values(), "--debug"})
