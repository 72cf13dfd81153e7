"""Products of quantized weights whose rows do not depend on one another: block formats, panels and kernels."""
