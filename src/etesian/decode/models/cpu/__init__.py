"""The compiled engine for CPUs."""
