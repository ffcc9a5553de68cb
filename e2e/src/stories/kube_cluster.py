"""What people do with KubeCluster, from outside the cluster: python kube_cluster.py STORY NAMESPACE.

The Python client is unmodified. It finds the cluster by KUBECONFIG.
"""

import asyncio
import sys
import time
import urllib.request

import dask_kubernetes
import kr8s
from dask_kubernetes.operator import KubeCluster, make_cluster_spec
from dask_kubernetes.operator.kubecluster.kubecluster import CreateMode
from distributed import Client, Event
from kr8s.objects import Deployment, Pod, Service

STORY, NAMESPACE = sys.argv[1:]
# What comes by default asks for nothing on top, but a busy machine has to start a Python for each pod.
SECONDS_MAX = 120
# The client starts programs that are no longer in images of a newer Dask.
IMAGE = f"ghcr.io/dask/dask:{dask_kubernetes.__version__}"
OPTIONS = {"namespace": NAMESPACE, "image": IMAGE, "n_workers": 1, "resource_timeout": SECONDS_MAX, "quiet": True}


def inc(x):
    return x + 1


def slow(x):
    import time

    time.sleep(0.5)
    return x + 1


def held_up(x):
    Event("go on").wait()
    return x + 1


def left(name, kind):
    """The objects of this kind that a cluster has."""
    return list(kr8s.get(kind.plural, namespace=NAMESPACE, label_selector=f"dask.org/cluster-name={name}"))


def is_gone(name):
    """Deletion cascades: the client waits for the DaskCluster alone, what it owned goes soon after.

    What the operator made just before it heard of the deletion comes after a first look, and the garbage collector
    takes it as well: hence a look again until there is nothing.
    """
    end = time.monotonic() + SECONDS_MAX
    while here := [f"{each.kind} {each.name}" for kind in (Deployment, Pod, Service) for each in left(name, kind)]:
        assert time.monotonic() < end, f"of {name} are left: {', '.join(here)}"
        time.sleep(0.2)


def modes():
    """Create, connect, connect or create; who created closes."""
    with KubeCluster(name="modes", create_mode=CreateMode.CREATE_ONLY, **OPTIONS) as cluster:
        with urllib.request.urlopen(cluster.dashboard_link) as page:
            assert page.status == 200
        try:
            KubeCluster(name="modes", create_mode=CreateMode.CREATE_ONLY, **OPTIONS)
        except ValueError as error:
            assert "already exists" in str(error)
        else:
            raise AssertionError("a cluster was created a second time")
        with Client(cluster) as client:
            assert client.submit(inc, 1).result(SECONDS_MAX) == 2
        with KubeCluster.from_name("modes", namespace=NAMESPACE, quiet=True) as other:
            with Client(other) as client:
                assert client.submit(inc, 2).result(SECONDS_MAX) == 3
        with KubeCluster(name="modes", create_mode=CreateMode.CREATE_OR_CONNECT, shutdown_on_close=False, **OPTIONS) as other:
            assert other.n_workers == 1
        assert left("modes", Service), "those who only connect must not delete"
        logs = cluster.get_logs()
        assert any("scheduler" in name for name in logs) and any("worker" in name for name in logs), list(logs)
        assert any("Scheduler at" in text for text in logs.values())
    is_gone("modes")
    try:
        KubeCluster.from_name("modes", namespace=NAMESPACE, quiet=True)
    except ValueError as error:
        assert "doesn't already exist" in str(error)
    else:
        raise AssertionError("something was connected to that does not exist")


def sizes():
    """More and fewer workers, other groups, and an autoscaler, while results are held."""
    with KubeCluster(name="sizes", **OPTIONS) as cluster, Client(cluster) as client:
        cluster.scale(3)
        client.wait_for_workers(3, timeout=SECONDS_MAX)
        held = client.map(slow, range(12))
        cluster.scale(1)
        assert client.gather(held) == list(range(1, 13))
        until(lambda: workers(client) == 1)
        assert client.gather(held) == list(range(1, 13))

        cluster.add_worker_group("more", n_workers=2, env={"GROUP": "more"})
        until(lambda: workers(client) == 3)
        cluster.scale(1, worker_group="more")
        until(lambda: workers(client) == 2)
        assert sorted(filter(None, client.run(group).values())) == ["more"]
        cluster.delete_worker_group("more")
        until(lambda: workers(client) == 1)
        assert client.gather(held) == list(range(1, 13))

        cluster.adapt(minimum=1, maximum=3)
        # As much work as there is until the autoscaler has seen it, however many threads a worker has.
        busy = client.map(held_up, range(100, 140))
        until(lambda: workers(client) > 1)
        Event("go on", client=client).set()
        assert client.gather(busy) == list(range(101, 141))
        # Ends the adaptivity, too.
        cluster.scale(2)
        until(lambda: workers(client) == 2)
        autoscalers = list(kr8s.get("daskautoscalers.kubernetes.dask.org", namespace=NAMESPACE))
        assert "sizes" not in [each.name for each in autoscalers]
        assert client.gather(held + busy) == [*range(1, 13), *range(101, 141)]
    is_gone("sizes")


def group():
    import os

    return os.environ.get("GROUP")


def workers(client):
    return len(client.scheduler_info(n_workers=-1)["workers"])


def until(condition):
    """The scheduler tells its clients nothing when a worker comes or goes: it has to be asked again."""
    import time

    end = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < end, condition
        time.sleep(0.2)


def spec():
    """A specification of one's own."""
    custom = make_cluster_spec("spec", image=IMAGE, n_workers=2, env={"FLAVOUR": "vanilla"}, resources={"limits": {"memory": "1Gi"}})
    custom["spec"]["worker"]["metadata"] = {"labels": {"team": "ice"}}
    with KubeCluster(custom_cluster_spec=custom, namespace=NAMESPACE, resource_timeout=SECONDS_MAX, quiet=True) as cluster:
        with Client(cluster) as client:
            client.wait_for_workers(2, timeout=SECONDS_MAX)
            assert set(client.run(flavour).values()) == {"vanilla"}
        selector = "dask.org/cluster-name=spec,team=ice"
        assert len(list(kr8s.get("pods", namespace=NAMESPACE, label_selector=selector))) == 2
    is_gone("spec")


def flavour():
    import os

    return os.environ.get("FLAVOUR")


def asynchronous():
    """In a program that has an event loop already."""

    async def main():
        async with KubeCluster(name="async", asynchronous=True, **OPTIONS) as cluster:
            async with Client(cluster, asynchronous=True) as client:
                await cluster.scale(2)
                await client.wait_for_workers(2, timeout=SECONDS_MAX)
                assert await client.gather(client.map(inc, range(5))) == [1, 2, 3, 4, 5]

    asyncio.run(main())
    is_gone("async")


STORIES = {each.__name__: each for each in (modes, sizes, spec, asynchronous)}
if __name__ == "__main__":
    STORIES[STORY]()
