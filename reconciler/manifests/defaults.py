"""Defaults per type of target, as plain data, so that planning does not need the models that document them.

`kinds/deployment.py` and `kinds/targets.py` say the same with descriptions and sources; a test holds them together.
"""

from __future__ import annotations

from typing import Any

TYPES = ("local", "aci", "aks", "edge", "batch")

# Settings every block may repeat; where a type has a default of its own, it is in COMMON_BY_TYPE.
COMMON = (
    "port",
    "host",
    "cpuCores",
    "memoryGb",
    "replicas",
    "maxConcurrentRequests",
    "scoringTimeoutMs",
    "maxRequestWaitTime",
    "maxBodyMb",
    "readyTimeoutSeconds",
    "drainSeconds",
    "corsOrigins",
    "environmentVariables",
)
COMMON_BY_TYPE: dict[str, dict[str, Any]] = {
    "aci": {"cpuCores": 0.1, "memoryGb": 0.5},
    "aks": {"cpuCores": 0.1, "memoryGb": 0.5, "maxRequestWaitTime": 500},
}

SERVICE_BLOCKS: dict[str, dict[str, Any]] = {
    "local": {
        "engine": None,
        "openFiles": None,
        "tlsCertFile": None,
        "tlsKeyFile": None,
        "logMaxMb": 10.0,
        "logFiles": 5,
        "restart": None,
        "readOnly": True,
        "gpus": None,
        "networks": None,
        "volumes": None,
    },
    "aci": {
        "location": None,
        "properties": {},
        "sslEnabled": False,
        "sslCertPemFile": None,
        "sslKeyPemFile": None,
        "sslCname": None,
        "enableAppInsights": False,
        "collectModelData": False,
        "dnsNameLabel": None,
        "cmkVaultBaseUrl": None,
        "cmkKeyName": None,
        "cmkKeyVersion": None,
        "vnetName": None,
        "subnetName": None,
    },
    "aks": {
        "cpuCoresLimit": None,
        "memoryGbLimit": None,
        "gpuCores": 0,
        "extendedResources": {},
        "autoscale": {
            "enabled": None,
            "minReplicas": 1,
            "maxReplicas": 10,
            "refreshSeconds": None,
            "targetUtilization": 70,
        },
        "strategy": "rolling",
        "canary": {"steps": [10, 50], "stepSeconds": 60, "maxErrorRate": 0.05},
        "livenessProbe": {
            "periodSeconds": 10,
            "initialDelaySeconds": 310,
            "timeoutSeconds": 2,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
        "tokenAuthEnabled": False,
        "enableAppInsights": False,
        "appInsightsConnectionString": None,
        "collectModelData": False,
        "properties": {},
        "namespace": None,
        "computeTargetName": None,
        "blobfuseEnabled": None,
        "expose": "cluster",
        "dnsNameLabel": None,
        "cname": None,
        "sslEnabled": False,
        "sslCertPem": None,
        "sslKeyPem": None,
        "sslSecretName": None,
        "ingressClass": None,
        "ingressAnnotations": {},
        "imagePullSecrets": [],
        "registryCredentials": [],
        "nodeSelector": {},
        "tolerations": [],
    },
    "edge": {
        "deviceId": None,
        "targetCondition": None,
        "priority": 0,
        "labels": {},
        "routes": {},
        "amlModule": {"moduleName": None, "createOptions": {}, "propertiesDesired": {}},
        "externalModules": [],
        "registryCredentials": [],
        "properties": {},
    },
    "batch": {
        "compute": None,
        "instanceCount": 1,
        "maxConcurrencyPerInstance": 1,
        "miniBatchSize": 10,
        "outputAction": "AppendRow",
        "outputFileName": "predictions.csv",
        "errorThreshold": -1,
        "loggingLevel": "Info",
        "retrySettings": {"maxRetries": 3, "timeoutSeconds": 30},
        "properties": {},
    },
}

TARGET_BLOCKS: dict[str, dict[str, Any]] = {
    "local": {"engine": "auto", "dockerHost": None, "dockerContext": None, "dockerTlsDir": None},
    "aci": {"subscriptionId": None, "location": None},
    "aks": {
        "subscriptionId": None,
        "resourceGroup": None,
        "clusterName": None,
        "resourceId": None,
        "kubeContext": None,
        "namespace": "default",
        "clusterPurpose": "FastProd",
        "create": None,
        "autoscaler": "cpu",
        "prometheusUrl": None,
        "loadBalancerType": "PublicIp",
        "loadBalancerSubnet": "aks-subnet",
    },
    "edge": {"subscriptionId": None, "resourceGroup": None, "resourceId": None, "connectionString": None},
    "batch": {
        "subscriptionId": None,
        "compute": None,
        "vmSize": "Standard_NC6",
        "vmPriority": "dedicated",
        "minNodes": 0,
        "maxNodes": 4,
        "idleSecondsBeforeScaledown": 1800,
    },
}

# Below `create` of a target of type aks, where that is given.
CLUSTER_BLOCK: dict[str, Any] = {
    "agentCount": 3,
    "vmSize": "Standard_D3_v2",
    "vnetResourcegroupName": None,
    "vnetName": None,
    "subnetName": None,
    "serviceCidr": None,
    "dnsServiceIp": None,
    "dockerBridgeCidr": None,
    "tags": {},
    "deletionPolicy": "retain",
}
