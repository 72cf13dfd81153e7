"""Ready-made workloads on data that every machine has. They combine the parts."""
