"""Entries of `decoding.py`: our decoders, peers in separate processes, prompts, and result tables."""
