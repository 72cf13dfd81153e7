"""Etesian: same answer, sooner. The parts are `etesian.sparse` and `etesian.bench`; this module imports neither."""

__version__ = "0.1.0"
