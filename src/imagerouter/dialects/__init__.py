"""What other clients speak: each dialect turns its own requests into fields, and outcomes into its own answers."""
