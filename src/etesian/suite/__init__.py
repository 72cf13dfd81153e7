"""Ready-made workloads on data that every machine has: the one place in the package where the parts meet."""
