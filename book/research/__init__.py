"""The book's own research: sweeps of runs, and tables, figures and claims made from their records.

``python -m book.research COMMAND``, given in the folder of the book; chapters 8 to 12 import the same modules.
"""
