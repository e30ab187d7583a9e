"""The command line. It prints; the library does not.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 1 a defect in Secateurs or
in the model's own code, 2 wrong usage, 3 bad input (a model, data, budget or directory that cannot be used), 4 some
runs of a comparison failed, 130 interrupted.
"""

from __future__ import annotations

import json
import sys

from secateurs.cli.commands import app
from secateurs.cli.output import errors
from secateurs.errors import SecateursError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; an error of bad input becomes one line and an exit code."""
    try:
        app()
    except SecateursError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}), file=sys.stderr)
        else:
            errors.print(f"[bold red]{type(error).__name__}[/]: ", end="")
            errors.print(str(error), markup=False, highlight=False)
        sys.exit(3)
