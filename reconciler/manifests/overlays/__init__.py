"""What environments change: overlays laid over documents, with the place in a file that each value came from."""
