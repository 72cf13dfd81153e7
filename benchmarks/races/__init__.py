"""Races for `sparse_time_to_target.py`: tasks, entries (ours and peers), step sizes and the table."""
