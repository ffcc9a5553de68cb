"""Works on a cluster until it has seen these numbers of workers, one after the other.

python -c … SCHEDULER SECONDS NUMBER…: rounds of 8 tasks that together take SECONDS on one worker. All results are held to the end,
when each must be right and no task may have been begun twice. While it waits for `idle-NUMBER` it does not work.
"""

import sys
import time
from collections import Counter

from distributed import Client, wait

TASKS = 8
BEGUN = "begun"


def square(number, takes):
    from distributed import get_worker

    get_worker().log_event(BEGUN, number)
    time.sleep(takes)
    return number * number


scheduler, seconds, *numbers = sys.argv[1:]
takes = float(seconds) / TASKS
with Client(scheduler, timeout=180) as client:
    held, before = [], []
    for number in numbers:
        idle, wanted = number.startswith("idle-"), int(number.removeprefix("idle-"))
        while len(client.nthreads()) != wanted:
            if idle or not client.nthreads():
                time.sleep(0.1)
                continue
            begin = len(held)
            tasks = [
                client.submit(square, each, takes, key=f"square-{each}", pure=False)
                for each in range(begin, begin + TASKS)
            ]
            held += tasks
            # Always a whole round ahead: the cluster never runs out of work.
            wait(before)
            before = tasks
        print(f"saw {wanted} workers", flush=True)
    wrong = [number for number, result in enumerate(client.gather(held)) if result != number * number]
    assert not wrong, f"wrong results of {wrong}"
    begun = Counter(number for _, number in client.get_events(BEGUN))
    twice = sorted(number for number, times in begun.items() if times > 1)
    assert not twice, f"begun twice: {twice}"
    assert len(begun) == len(held), f"{len(begun)} tasks were begun, {len(held)} were handed in"
    print(f"{len(held)} results are right, and no task was begun twice", flush=True)
