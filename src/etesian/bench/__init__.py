"""Benchmarks of time to accuracy: repeated runs, targets, and intervals for every figure."""

import lazy_loader

# The names in `__init__.pyi` are imported at first use: databases, processes and statistics are slow to import, and files of
# workloads need none of them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
