"""Run the command line: ``python -m kuaihl``."""

from kuaihl.cli.main import main

main()
