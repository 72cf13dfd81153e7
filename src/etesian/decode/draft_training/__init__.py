"""Training of draft heads on the target's own texts and distributions; needs torch."""
