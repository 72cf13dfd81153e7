"""Language models: the protocol, a table model, and engines in a folder each."""
