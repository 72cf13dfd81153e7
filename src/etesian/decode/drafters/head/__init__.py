"""Draft heads: one transformer layer that reads the target's hidden states, trained here or elsewhere (EAGLE-3, speculators)."""
