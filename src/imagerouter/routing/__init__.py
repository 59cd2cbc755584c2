"""Which targets may serve a request, and in which order: names, rules, preferences, refusals."""
