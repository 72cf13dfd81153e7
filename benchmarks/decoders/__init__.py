"""What `decoding.py` races: our decoders, peers in processes of their own, prompts, and tables of what was found."""
