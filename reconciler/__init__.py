"""GitOps for machine-learning models."""
