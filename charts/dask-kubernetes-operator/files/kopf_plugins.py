"""Handlers of installed `dask_operator_plugin` packages, and no others: `kopf run --standalone kopf_plugins.py`.

The Python operator loads such packages into its own process. This module does for kopf what that operator did for them, beside an
operator that is not written in Python; all options are those of `kopf run`.
"""

import dataclasses
import importlib
import importlib.machinery
import importlib.metadata
import logging
import sys

import click
import kopf

GROUP = "dask_operator_plugin"
# The Python operator's own plugin lies in its controller and comes with that one's handlers.
UPSTREAM = "dask_kubernetes."
CONTROLLER = "dask_kubernetes.operator.controller.controller"
# Not kopf's: that one is taken off wherever the Python operator has left it.
FINALIZER = "kopf-plugins.dask.org/finalizer"
# Which client has written a field, in the object's `managedFields`: what kopf writes is taken for the Python operator's.
USER_AGENT = "dask-kopf-plugins/1"

logger = logging.getLogger("dask_kopf_plugins")


class ControllerAside:
    """Lets plugins import helpers from the Python operator's controller without its handlers.

    The controller registers its handlers, and loads all plugins, while it is imported. Both are kept from it.
    """

    def find_spec(self, name, path, target=None):
        if name != CONTROLLER:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module):
            registry, entry_points = kopf.get_default_registry(), importlib.metadata.entry_points
            kopf.set_default_registry(kopf.OperatorRegistry())
            importlib.metadata.entry_points = lambda **_: ()
            try:
                execute(module)
            finally:
                importlib.metadata.entry_points = entry_points
                kopf.set_default_registry(registry)

        spec.loader.exec_module = exec_module
        return spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Connection(kopf.ConnectionInfo):
    """A connection that says whose it is."""

    def as_http_headers(self):
        return {**super().as_http_headers(), "User-Agent": USER_AGENT}


@kopf.on.login()
def login(**arguments):
    for attempt in (kopf.login_with_service_account, kopf.login_via_client, kopf.login_with_kubeconfig):
        found = attempt(**arguments)
        if found:
            return Connection(**{field.name: getattr(found, field.name) for field in dataclasses.fields(found)})
    raise kopf.LoginError("no Kubernetes cluster is known: set KUBECONFIG, or run inside a cluster")


@kopf.on.startup()
def startup(settings, **_):
    settings.persistence.finalizer = FINALIZER
    # Watches that went silent are begun anew, as the Python operator sets them for its plugins.
    settings.watching.server_timeout = 120
    settings.watching.client_timeout = 150
    settings.watching.connect_timeout = 5
    settings.networking.request_timeout = 10
    settings.scanning.disabled = EACH_NAMED


def each_named():
    """Whether each namespace is named; then nothing of cluster scope is asked for."""
    context = click.get_current_context(silent=True)
    namespaces = context.params.get("namespaces") if context else None
    return bool(namespaces) and not any(mark in name for name in namespaces for mark in "*?!,")


def load():
    """Imports every plugin, which registers its handlers; one that cannot be imported does not keep the others from running."""
    found = {point.value: point for point in importlib.metadata.entry_points(group=GROUP)}
    loaded = []
    for value, point in sorted(found.items()):
        if value.startswith(UPSTREAM):
            continue
        try:
            importlib.import_module(point.module)
        except (AttributeError, ImportError):
            # Also what the Python operator passes over, but it does so in silence.
            logger.exception("plugin %s = %s cannot be loaded", point.name, value)
        else:
            logger.info("plugin %s = %s is loaded", point.name, value)
            loaded.append(point)
    if not loaded:
        raise click.ClickException(
            f"no plugin was loaded: install packages with entry points of the group {GROUP} beside kopf"
        )


# Asked here, in the thread of the command line.
EACH_NAMED = each_named()
sys.meta_path.insert(0, ControllerAside())
load()
