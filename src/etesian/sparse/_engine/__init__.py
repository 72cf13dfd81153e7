"""Compiled loops and the threads that run them."""
