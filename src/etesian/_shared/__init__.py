"""Code that the parts share. It imports none of them."""
