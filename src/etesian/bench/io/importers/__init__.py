"""One importer per file, registered as an entry point of the group ``etesian.importers``."""
