"""Other people's evaluation software: Inspect reads what we measured, and runs our benchmarks, judges and models.

Inspect finds the benchmarks and the models by this package's entry point (`inspect_ai` in `pyproject.toml`).
"""
