"""Benchmarks: ratios of figures that were measured side by side in one run. ``make bench``."""
