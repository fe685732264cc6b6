"""`python -m alcor`."""

from alcor.cli.main import main

main()
