"""Time to accuracy: how long until the target, and how sure are we."""
