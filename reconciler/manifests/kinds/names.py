"""Names that mean something to people: their forms in words, and what fields were called elsewhere. No pydantic."""

from __future__ import annotations

AS_TEXT = "put it in quotes"

NAME = r"^[A-Za-z0-9]([-._A-Za-z0-9]{0,62})$"
# Model.register, azureml-core 1.61.
MODEL_NAME = r"^[A-Za-z0-9][-._A-Za-z0-9]{0,254}$"
# Webservice names, azureml-core 1.61.
SERVICE_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
FIELD_PATTERN = r"^([A-Za-z]+:)?/[^\s]*$"
# RFC 6901 §3.
POINTER = r"^(/([^~/]|~[01])*)*$"
PYTHON_VERSION = r"^3(\.[0-9]+){1,2}$"
SHA256 = r"^(sha256:)?[0-9a-f]{64}$"
REPO_PATH = r"^[^\x00-\x1f\\]+$"
JSON_POINTER = r"^(/[^/\s]+)+$"
HTTP_URL = r"^https?://[^\s@]+$"
# "About keys, secrets, and certificates", Azure Key Vault: vaults have 3 to 24 characters, objects 1 to 127.
VAULT = r"^([A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]|https://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?/?)$"
VAULT_SECRET = r"^[A-Za-z0-9-]{1,127}$"  # noqa: S105  what a name looks like
VAULT_VERSION = r"^[0-9a-f]{32}$"

# What a pattern asks for, in words.
IN_WORDS = {
    NAME: "letters, digits, `-`, `.` and `_`, 63 characters at most",
    MODEL_NAME: "letters, digits, `-`, `.` and `_`, 255 characters at most",
    SERVICE_NAME: "lower-case letters, digits and `-`, beginning with a letter, 32 characters at most",
    FIELD_PATTERN: "a JSON pointer as plans print it, such as `/spec/replicas` or `Deployment:/spec/replicas`",
    POINTER: "a JSON pointer such as `/spec/models/0/version`, `~1` for a `/` in a key and `~0` for a `~`",
    PYTHON_VERSION: 'such as "3.11"',
    SHA256: "64 lower-case hexadecimal digits, with or without `sha256:` before them",
    REPO_PATH: "folders are separated by `/`",
    JSON_POINTER: "a JSON pointer such as `/database/password`",
    HTTP_URL: "an http:// or https:// address, without user and password",
    VAULT: "a vault's name such as `ml-production`, or its URL such as `https://ml-production.vault.azure.net`",
    VAULT_SECRET: "letters, digits and `-`",
    VAULT_VERSION: "32 lower-case hexadecimal digits",
}

# Where people know a field from (Azure ML's SDK, its JSON files, Kubernetes) -> where it is here.
ELSEWHERE: dict[str, str] = {
    "acrCredentials": "registryCredentials",
    "appInsightsEnabled": "enableAppInsights",
    "authEnabled": "auth.enabled",
    "autoScaler": "autoscale",
    "cname": "sslCname",
    "computeTarget": "target",
    "computeType": "target",
    "conda": "condaFile",
    "containerResourceRequirements": "cpuCores and memoryGb",
    "cpu": "cpuCores",
    "description": "metadata.description",
    "env": "environmentVariables",
    "environmentVars": "environmentVariables",
    "inferenceConfig": "inference",
    "labels": "tags",
    "livenessProbeRequirements": "livenessProbe",
    "maxConcurrentRequestsPerContainer": "maxConcurrentRequests",
    "maxQueueWaitMs": "maxRequestWaitTime",
    "memory": "memoryGb",
    "memoryInGB": "memoryGb",
    "model": "models",
    "modelFramework": "framework",
    "modelFrameworkVersion": "frameworkVersion",
    "modelName": "metadata.name",
    "modelPath": "path",
    "name": "metadata.name",
    "numReplicas": "replicas",
    "primaryKey": "auth.primaryKey",
    "replicaMaxConcurrentRequests": "maxConcurrentRequests",
    "secondaryKey": "auth.secondaryKey",
    "sslCertificate": "sslCertPemFile",
    "sslKey": "sslKeyPemFile",
    "tags": "metadata.tags",
    "workers": "replicas",
}
