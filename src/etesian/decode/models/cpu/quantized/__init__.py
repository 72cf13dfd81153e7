"""Row-exact products with quantized weights: block formats, panels and kernels."""
