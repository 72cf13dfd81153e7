"""The adapter for models of transformers."""
