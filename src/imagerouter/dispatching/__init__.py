"""One job from its plan to its pictures, whatever fails on the way."""
