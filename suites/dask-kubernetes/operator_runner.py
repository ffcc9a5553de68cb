"""Runs our operator where the suite of dask-kubernetes runs its own.

The suite starts an operator with kopf's `KopfRunner`, in its own process. This plugin puts a class of the same shape in its
place, which runs `dask-operator` as a pod of the cluster, as people do. OPERATOR_ARGUMENTS are options of ours.
"""

import json
import os
import subprocess
import tempfile
import threading

import kopf.testing

NAMESPACE = "dask-operator"
# For an operator that does not start or end: a test must not hang for ever.
SECONDS_MAX = 60


class OperatorRunner:
    def __init__(self, arguments, **_):
        # The image's entrypoint has the first word, `run`; a module of Python handlers means nothing to a program that is not
        # written in Python.
        words = iter(arguments[1:])
        self._arguments = [word for word in words if word not in ("-m", "--module") or next(words) is None]
        self._name = f"operator-{arguments[-1]}"
        self.exit_code = None
        self.exception = None
        self.output = ""
        self._following = None

    def __enter__(self):
        _kubectl("apply", "--filename=-", input=json.dumps(_pod(self._name, self._arguments)))
        try:
            _kubectl("wait", "pod", self._name, "--for=condition=Ready", f"--timeout={SECONDS_MAX}s")
        except subprocess.CalledProcessError:
            print(_kubectl("logs", self._name))
            self.__exit__()
            raise
        # Into a file: nobody reads a pipe before the end.
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")
        self._following = _start("logs", "--follow", self._name, stdout=self._log)
        return self

    def __exit__(self, *_):
        code = "{.status.containerStatuses[0].state.terminated.exitCode}"
        ending = _start("get", "pod", self._name, "--watch", "--output=jsonpath=" + code + r"{'\n'}")
        limit = threading.Timer(SECONDS_MAX, ending.kill)
        limit.start()
        _kubectl("delete", "pod", self._name, "--wait=false")
        self.exit_code = next((int(line) for line in ending.stdout if line.strip()), None)
        limit.cancel()
        ending.kill()
        ending.communicate()
        if self._following:
            # Ends with the container.
            self._following.wait(SECONDS_MAX)
            self._log.seek(0)
            self.output = self._log.read()
            print(self.output)
        return False


def _pod(name, arguments):
    probe = {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}
    container = {
        "name": "operator",
        "image": "dask-operator:dev",
        "args": [*arguments, "--liveness=http://0.0.0.0:8080/healthz", *os.environ["OPERATOR_ARGUMENTS"].split()],
        "readinessProbe": probe,
    }
    spec = {"serviceAccountName": "dask-operator", "restartPolicy": "Never", "containers": [container]}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _command(*arguments):
    return ["kubectl", "--namespace", NAMESPACE, *arguments]


def _kubectl(*arguments, **options):
    return subprocess.run(_command(*arguments), check=True, encoding="utf-8", stdout=subprocess.PIPE, **options).stdout


def _start(*arguments, stdout=subprocess.PIPE):
    return subprocess.Popen(_command(*arguments), encoding="utf-8", stdout=stdout)


kopf.testing.KopfRunner = OperatorRunner
