"""``python -m fedprompt_helpers``: the command ``fedprompt`` without its script."""

from .cli import main

main()
