"""Built-in workloads on data that requires no download. This package combines the three parts."""
