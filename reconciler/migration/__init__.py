"""From what other tools call a deployment to manifests: pure functions from values with positions to documents."""
