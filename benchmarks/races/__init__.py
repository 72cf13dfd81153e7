"""Races for `sparse_time_to_target.py`: what is raced for (tasks), who races (entries, peers), step sizes, the table."""
