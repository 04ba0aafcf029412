"""The image registry: images built once from what deployments declare, on a container engine, pushed where asked."""
