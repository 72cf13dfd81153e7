"""Runs from and to other programs' files: importers, exporters, and callbacks for training libraries.

An importer takes a path and yields, one after the other, a `StoredRun` for each run, a `Skipped` for each run that could
not be read, and an `Ignored` for each file that holds no run. Nothing is dropped silently. Importers and exporters are
registered by entry points (groups ``etesian.importers`` and ``etesian.exporters``); a new format is one new file.
"""

import lazy_loader

# The names in `__init__.pyi` are imported at first use, because importers are many and their libraries optional.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
