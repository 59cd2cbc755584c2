"""Trains and checks the small text-to-image model that ships with the diffusers provider."""
