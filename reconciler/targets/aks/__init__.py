"""Services on a Kubernetes cluster, one resource for each object.

`render` and `objects` say what is wanted, `form` turns that into what the API takes and back, `health` and `fields`
read what it reports, `refusals` what it refuses, `api` alone speaks to it, `driver` puts them together.
"""
