"""Speaking to container engines: the one place that imports the docker package. Knows only `core`."""
