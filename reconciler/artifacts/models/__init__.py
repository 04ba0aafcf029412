"""The model registry: immutable, content-addressed model versions on disk, and their driver."""
