"""Fetches pip into a folder, for a Python that came without `ensurepip`: python3 pip.py FOLDER; prints the wheel's path."""

import hashlib
import os
import re
import sys
import urllib.parse
import urllib.request

index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
with urllib.request.urlopen(index, timeout=60) as answer:
    page, base = answer.read().decode(), answer.url
links = re.findall(r'href="([^"]*/pip-([0-9.]+)-py3-none-any\.whl#sha256=([0-9a-f]{64}))"', page)
if not links:
    sys.exit(f"no wheel of pip at {index}")
link, _, digest = max(links, key=lambda found: [int(part) for part in found[1].split(".")])
with urllib.request.urlopen(urllib.parse.urljoin(base, link), timeout=60) as answer:
    wheel = answer.read()
if hashlib.sha256(wheel).hexdigest() != digest:
    sys.exit(f"the wheel of pip at {index} is not what the index promises")
path = os.path.join(sys.argv[1], link.split("#")[0].rsplit("/", 1)[-1])
with open(path, "wb") as file:
    file.write(wheel)
print(path)
