"""`python -m assembler`: the command, where its script is not on the path."""

from assembler.cli import main

main()
