"""The experiments of chapter 15: ``python -m book.privacy NAME ...`` adds what is missing to ``book/results/privacy``."""
