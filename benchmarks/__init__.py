"""How fast and how large Lucency is, beside what it is compared with: ``python -m benchmarks``."""
