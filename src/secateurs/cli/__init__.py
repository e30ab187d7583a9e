"""The command line: the only part of the package that prints.

Results go to standard output, progress and errors to standard error. Exit codes:

    0    success
    1    a defect in Secateurs or in the model's own code
    2    wrong usage
    3    bad input: a model, data, budget or directory that cannot be used
    4    some runs of a comparison failed
    130  interrupted
"""

from __future__ import annotations

import json
import sys

from secateurs.cli.commands import app
from secateurs.cli.output import errors
from secateurs.errors import SecateursError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; print an error caused by bad input as one line, and exit with code 3."""
    try:
        app()
    except SecateursError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}), file=sys.stderr)
        else:
            errors.print(f"[bold red]{type(error).__name__}[/]: ", end="")
            errors.print(str(error), markup=False, highlight=False)
        sys.exit(3)
