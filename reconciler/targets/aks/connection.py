"""How a cluster is reached: by a kubeconfig, from inside of it, or as an AKS cluster that is attached."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from yaml import YAMLError

from reconciler.core.errors import AccessError, TerminalError, UnavailableError
from reconciler.core.packages import importing

if TYPE_CHECKING:
    from reconciler.targets.aks.attached import AttachedCluster

# The package goes through all settings of a kubeconfig each time it is asked who signs in; a run asks at each request.
FRESH_SECONDS = 1.0
_CONFIG = (
    "see `kubectl config get-contexts`; the target's `kubeContext`, KUBECONFIG and kubernetes.kubeconfig say which"
)


class Connection:
    """The way to one cluster, made when it is first used. Safe to use from many threads.

    Args:
        what: The cluster, for messages.
        kubeconfig, context, allowed, attached: As `api.Cluster` is given them.
    """

    def __init__(
        self, what: str, kubeconfig: str, context: str, allowed: Sequence[str] | None, attached: AttachedCluster | None
    ) -> None:
        self._what = what
        self._kubeconfig = kubeconfig
        self._context = context
        self._allowed = allowed
        self._attached = attached
        self._lock = threading.Lock()
        self._client: Any = None
        self._credentials: tuple[object, float, dict[str, str]] = (None, 0.0, {})
        self._sender: tuple[object, Any, str] = (None, None, "")

    def __str__(self) -> str:
        return self._what

    def client(self) -> Any:
        """The `ApiClient` of the kubernetes package.

        Raises:
            TargetError: It is not known how the cluster is reached, or it may not be.
        """
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def host(self) -> str:
        """The API's address."""
        return str(self.client().configuration.host).rstrip("/")

    def sender(self) -> tuple[Any, str]:
        """What sends requests (its `urlopen` is urllib3's), and what their URLs begin with.

        Without a proxy it is the pool of the one host that is asked, which need not be found for each request.
        """
        client = self.client()
        of, sender, prefix = self._sender
        if of is not client:
            sender, prefix = client.rest_client.pool_manager, self.host()
            if sender.proxy is None:
                sender, prefix = sender.connection_from_url(prefix), urlsplit(prefix).path.rstrip("/")
            self._sender = client, sender, prefix
        return sender, prefix

    def credentials(self) -> dict[str, str]:
        """The header that says who asks; what a kubeconfig's command gives is asked for anew when it expires.

        Raises:
            TargetError: Who asks is not known any more, as when a file that says it is gone.
        """
        client, now = self.client(), time.monotonic()
        # Kept with the client that they were asked of: after a refusal there is another one, which is asked anew.
        of, at, known = self._credentials
        if of is not client or now - at >= FRESH_SECONDS:
            with self._read():
                settings: Any = client.configuration.auth_settings()
            entries = [one for one in settings.values() if one["in"] == "header" and one["value"]]
            known = {str(one["key"]): str(one["value"]) for one in entries}
            self._credentials = client, now, known
        return dict(known)

    def close(self) -> None:
        """Ends all connections and forgets who asks; used again, it connects anew."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.rest_client.pool_manager.clear()
        if self._attached is not None:
            self._attached.close()

    def _connect(self) -> Any:
        try:
            with importing():
                from kubernetes import config
                from kubernetes.client import ApiClient, Configuration
        except ImportError as error:
            raise TerminalError("clusters need the package `kubernetes`", hint="install `reconciler[aks]`") from error
        configuration: Any = Configuration()
        # Each watch keeps one for itself; what does not fit in would be connected anew for each request.
        configuration.connection_pool_maxsize = 64
        with self._read():
            if self._attached is not None:
                _attach(configuration, self._attached, config)
            else:
                self._by_kubeconfig(configuration, config)
        if not configuration.verify_ssl:
            # The kubeconfig asks for it; a warning at each request says nothing new.
            from urllib3 import disable_warnings
            from urllib3.exceptions import InsecureRequestWarning

            disable_warnings(InsecureRequestWarning)
        return ApiClient(configuration)

    @contextlib.contextmanager
    def _read(self) -> Generator[None]:
        """What goes wrong where a kubeconfig, or what it names, is read, as an error of the driver contract."""
        from kubernetes.config import ConfigException

        try:
            yield
        except ConfigException as error:
            raise UnavailableError(f"{self}: {error}", hint=_CONFIG) from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError, YAMLError) as error:
            message = f"{self}: the kubeconfig cannot be used ({type(error).__name__})"
            raise UnavailableError(message, hint=_CONFIG) from error

    def _by_kubeconfig(self, configuration: Any, package: Any) -> None:
        if self._allowed is not None and self._context not in self._allowed:
            listed = ", ".join(self._allowed) or "none"
            asked = f"context '{self._context}'" if self._context else "current context, whichever that is"
            raise AccessError(
                f"{self}: the operator's settings do not allow the kubeconfig's {asked}",
                hint=f"allowed: {listed} (kubernetes.contexts)",
            )
        own = not self._kubeconfig and not self._context and not os.environ.get("KUBECONFIG")
        if own and os.environ.get("KUBERNETES_SERVICE_HOST"):
            package.load_incluster_config(client_configuration=configuration)
        else:
            package.load_kube_config(
                config_file=self._kubeconfig or None,
                context=self._context or None,
                client_configuration=configuration,
                persist_config=False,
            )


def _attach(configuration: Any, attached: AttachedCluster, package: Any) -> None:
    access = attached.access()
    package.load_kube_config_from_dict(access.kubeconfig, client_configuration=configuration, persist_config=False)
    if access.token is not None:
        token = access.token

        def renew(own: Any) -> None:
            own.api_key["authorization"] = f"Bearer {token()}"

        configuration.refresh_api_key_hook = renew
        renew(configuration)
