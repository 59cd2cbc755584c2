"""Who draws what, and when: one queue for all providers, bound as late as can be."""
