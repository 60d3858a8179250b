"""The command ``fedprompt`` as its page in the book reads it."""

import typer

from fedprompt_helpers.cli import app

command = typer.main.get_command(app)
