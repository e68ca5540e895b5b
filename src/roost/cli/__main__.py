"""`python -m roost.cli`, for starting the server with the very Python that runs a command."""

from roost.cli import main

main()
