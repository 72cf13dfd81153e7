"""Staged speculative decoding: several tokens a pass of the target, and the same text as one at a time."""
