"""`python -m secateurs` is the command `secateurs`."""

from secateurs.cli import main

main()
