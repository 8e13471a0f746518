"""Run the command line as `python -m iwae_cli`."""

from iwae_cli.cli.main import main

main()
