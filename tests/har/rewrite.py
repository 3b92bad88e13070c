"""Reads a HAR with mitmproxy and writes it again as mitmproxy does.

    python rewrite.py FROM.har TO.har

Needs mitmproxy >= 11 beside this Python.
"""

import json
import sys

from mitmproxy.addons.savehar import SaveHar
from mitmproxy.io import FlowReader


def main():
    source, target = sys.argv[1:]
    with open(source, "rb") as file:
        flows = list(FlowReader(file).stream())
    with open(target, "w", encoding="utf-8") as file:
        json.dump(SaveHar().make_har(flows), file)


if __name__ == "__main__":
    main()
