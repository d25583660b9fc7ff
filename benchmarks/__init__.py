"""Claims about speed and memory, each measured against its other side in one run: ``python -m benchmarks``."""
