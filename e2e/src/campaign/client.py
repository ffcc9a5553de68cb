"""The Dask client of a campaign: does what lines of JSON say, answers each with one line.

python -c … FOLDER SCHEDULER: reads from the pipe FOLDER/ask, writes to the pipe FOLDER/answer.
"""

import json
import os
import sys

from distributed import Client

FOLDER, SCHEDULER = sys.argv[1:]


def work(key, number, takes, size, folder, *inputs):
    """Notes that it was begun, and where, takes its time, and adds up."""
    import os
    import time

    from distributed import get_worker

    file = os.open(os.path.join(folder, "begun"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{key} {get_worker().address}\n".encode())
    os.close(file)
    time.sleep(takes)
    return number + sum(value for value, _ in inputs), b"x" * size


def value(result):
    return result[0]


def log(transitions, events, dask_scheduler=None):
    """The scheduler's own logs from these positions on: transitions of tasks, and removals of workers."""
    from itertools import islice

    scheduler = dask_scheduler
    moved = [(entry[0], entry[1], entry[2], entry[4]) for entry in islice(scheduler.transition_log, transitions, None)]
    told = scheduler.get_events("all")
    removed = [entry[1] for entry in islice(told, events, None)]
    removed = [
        {
            "worker": event["worker"],
            "stimulus": event.get("stimulus_id"),
            "given": sorted(event.get("processing-tasks", ())),
            "held": sorted(
                key for what in ("lost-computed-tasks", "lost-scattered-tasks") for key in event.get(what, ())
            ),
        }
        for event in removed
        if isinstance(event, dict) and event.get("action") == "remove-worker"
    ]
    return moved, removed, len(scheduler.transition_log), len(told)


class Campaign:
    def __init__(self):
        self.client = Client(SCHEDULER)
        self.futures, self.expected = {}, {}
        self.transitions = self.events = 0

    def submit(self, tasks):
        """Hands tasks in and keeps what they are to give; does not wait."""
        for task in tasks:
            inputs = [key for key in task["after"] if key in self.futures]
            key = task["key"]
            self.expected[key] = task["number"] + sum(self.expected[each] for each in inputs)
            self.futures[key] = self.client.submit(
                work,
                key,
                task["number"],
                task["takes"],
                task["size"],
                FOLDER,
                *(self.futures[each] for each in inputs),
                key=key,
                pure=False,
            )

    def release(self, keys):
        """Wants these results no more."""
        for key in keys:
            self.futures.pop(key, None)

    def join(self, workers, seconds):
        """Waits until so many workers are there; whether they were in time."""
        try:
            self.client.wait_for_workers(workers, timeout=seconds)
        except TimeoutError:
            return False
        return True

    def settle(self):
        """Waits until all that is wanted is there; which of it is wrong."""
        values = {key: self.client.submit(value, future, pure=False) for key, future in self.futures.items()}
        found = self.client.gather(values)
        return sorted(key for key, number in found.items() if number != self.expected[key])

    def audit(self, killed):
        """What was begun or computed again since the last audit, and for which worker's going.

        `killed`: hosts of the workers whose end was part of the history.
        """
        moved, removed, self.transitions, self.events = self.client.run_on_scheduler(
            log, self.transitions, self.events
        )
        begun, computed, places = {}, {}, set()
        path = os.path.join(FOLDER, "begun")
        if os.path.exists(path):
            with open(path) as file:
                for key, worker in map(str.split, file):
                    begun[key] = begun.get(key, 0) + 1
                    places.add((key, worker))
            os.remove(path)
        for key, start, finish, stimulus in moved:
            if key in self.expected and finish == "memory":
                computed[key] = computed.get(key, 0) + 1
        blamed = {}
        for removal in removed:
            worker = removal["worker"]
            if any(f"//{host}:" in worker for host in killed):
                continue
            # What a worker was given and had not begun lost nothing by its going.
            lost = [key for key in removal["given"] if (key, worker) in places] + removal["held"]
            blamed.update((key, worker) for key in lost)
        again = {key for times in (begun, computed) for key, number in times.items() if number > 1}
        # Without a killed worker nothing but a scale-down makes anything begin again. With one, what was given up for it may
        # need its inputs anew, which no removal names.
        guilty = sorted(key for key in again if key in blamed or not killed)
        self.futures.clear()
        self.expected.clear()
        return {
            "computed": sum(computed.values()),
            "again": len(again),
            "guilty": [[key, blamed.get(key)] for key in guilty],
            "removed": len(removed),
        }


campaign = Campaign()
with open(os.path.join(FOLDER, "ask")) as ask, open(os.path.join(FOLDER, "answer"), "w") as answer:
    for line in ask:
        request = json.loads(line)
        result = getattr(campaign, request.pop("do"))(**request)
        print(json.dumps(result), file=answer, flush=True)
