"""Reading files that other programs wrote: opening, tabular rows, measurements to points."""
