"""The experiments of chapter 15: ``python -m book.privacy NAME ...`` adds to ``book/results/privacy``."""
