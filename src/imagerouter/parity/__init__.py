"""Same seed, same picture: what a request needs for that, which backends keep to it, and what was measured."""
