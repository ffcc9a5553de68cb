"""Dask clusters that do what lines of JSON on standard input say; each line is answered by one.

Everything is in this process: a scheduler, workers, a client. Tasks wait at gates until they are let through.
"""

import asyncio
import builtins
import json
import sys
import threading

import dask
from distributed import Client, Scheduler, Worker
from distributed.security import Security

GATES = builtins.GATES = {}


def hold(size):
    return b"x" * size


def work(gate):
    import builtins

    builtins.GATES[gate].wait()
    return gate


class Cluster:
    """One cluster at a time."""

    async def start(self, workers, api=False, tls=None):
        routes = list(dask.config.get("distributed.scheduler.http.routes"))
        if api:
            routes.append("distributed.http.scheduler.api")
        names = ["client", "scheduler", "worker"]
        security = tls and Security(
            require_encryption=True,
            tls_ca_file=tls["ca"],
            **{f"tls_{name}_cert": tls["cert"] for name in names},
            **{f"tls_{name}_key": tls["key"] for name in names},
        )
        with dask.config.set({"distributed.scheduler.http.routes": routes}):
            self.scheduler = await Scheduler(
                host="127.0.0.1",
                port=0,
                protocol="tls://" if tls else "tcp://",
                dashboard_address="127.0.0.1:0",
                security=security,
            )
        address = self.scheduler.address
        begun = [Worker(address, name=name, nthreads=1, security=security) for name in workers]
        self.workers = {str(worker.name): await worker for worker in begun}
        for worker in self.workers.values():
            # Only when told to: one that was written earlier may arrive after a later one, over another connection.
            worker.periodic_callbacks["heartbeat"].stop()
        self.client = await Client(address, asynchronous=True, security=security)
        self.futures = {}
        return {
            "comm": int(address.rsplit(":", 1)[1]),
            "http": self.scheduler.http_server.port,
            "workers": {name: worker.address for name, worker in self.workers.items()},
        }

    async def hold(self, key, worker, size):
        """The worker keeps a result of this size; answered once it does."""
        await self.submit(hold, key, worker, size)
        await self.futures[key]

    async def work(self, key, worker):
        """The worker begins a task that ends when it is let through; answered once it has begun."""
        GATES[key] = threading.Event()
        await self.submit(work, key, worker, key)
        await self.until(lambda: any(ts.key == key for ts in self.workers[worker].state.executing))

    async def give(self, key, worker):
        """The worker is given a task for which it has no thread left; answered once it has it."""
        await self.submit(hold, key, worker, 1)
        await self.until(lambda: key in self.workers[worker].state.tasks)

    async def submit(self, function, key, worker, *arguments):
        where = {"workers": [self.workers[worker].address], "allow_other_workers": True}
        self.futures[key] = self.client.submit(function, *arguments, key=key, **where)

    async def let(self, key):
        """The task may end; answered once its result is there."""
        GATES[key].set()
        await self.futures[key]

    async def heartbeat(self):
        """Answered once every registered worker has reported what it holds and runs now."""
        for worker in self.workers.values():
            if worker.address in self.scheduler.workers:
                await worker.heartbeat()

    async def release(self):
        """The client wants nothing any more; answered once nothing is kept."""
        self.futures.clear()
        await self.until(lambda: not self.scheduler.tasks)

    async def results(self):
        """Which tasks were given to workers more than once, and whether all results are right."""
        given = {}
        for entry in self.scheduler.transition_log:
            if entry[2] == "processing":
                given[entry[0]] = given.get(entry[0], 0) + 1
        gathered = await self.client.gather(self.futures)
        right = all(key == value or set(value) == {120} for key, value in gathered.items())
        return {"again": sorted(key for key, times in given.items() if times > 1), "right": right}

    async def state(self, worker):
        """The status of a worker in the scheduler's eyes; null if it is not registered."""
        state = self.scheduler.workers.get(self.workers[worker].address)
        return state and state.status.name

    async def stop(self):
        for gate in GATES.values():
            gate.set()
        await self.client.close()
        for worker in self.workers.values():
            await worker.close()
        await self.scheduler.close()

    async def until(self, holds):
        while not holds():
            await asyncio.sleep(0.005)


async def main():
    lines = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    cluster = Cluster()
    while line := await lines.readline():
        request = json.loads(line)
        answer = await getattr(cluster, request.pop("do"))(**request)
        print(json.dumps(answer), flush=True)


asyncio.run(main())
