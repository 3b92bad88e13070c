"""mitmdump as a rival of `benches/cost`: intercepts, forwards, and records with `-w`.

Speaks the protocol of `cost --rival`: told where the origin is and whom to trust, it prints one line
of JSON with its address and its root's file, and serves until it is killed. Started as
`python mitm.py …`; mitmdump loads the same file as its addon.
"""

import argparse
import json
import os
import socket
import sys


class Redirect:
    """Sends every upstream connection to the origin, and says when clients may come."""

    def __init__(self, origin, announcement):
        host, _, port = origin.rpartition(":")
        self.origin = (host, int(port))
        self.announcement = announcement

    def server_connect(self, data):
        data.server.address = self.origin

    def running(self):
        print(self.announcement, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--origin", required=True, help="where every connection leads")
    parser.add_argument("--trust", required=True, help="the root of the origin's certificate, PEM")
    parser.add_argument("--folder", required=True, help="for its root and what it records")
    parser.add_argument("--protocol", required=True, choices=["h1", "h2"], help="of the load")
    parser.add_argument("--discard", action="store_true", help="record nothing")
    args = parser.parse_args()
    # The port is free a moment before: mitmdump does not say which one it took.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    said = {
        "proxy": f"127.0.0.1:{port}",
        "bundle": f"{args.folder}/mitmproxy-ca-cert.pem",
    }
    os.environ["RIVAL_ORIGIN"] = args.origin
    os.environ["RIVAL_SAID"] = json.dumps(said)
    mitmdump = os.path.join(os.path.dirname(sys.executable), "mitmdump")
    record = [] if args.discard else ["-w", f"{args.folder}/flows"]
    options = {
        "confdir": args.folder,
        "listen_host": "127.0.0.1",
        "listen_port": port,
        "ssl_verify_upstream_trusted_ca": args.trust,
        "connection_strategy": "lazy",
        "http2": "true" if args.protocol == "h2" else "false",
    }
    settings = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    os.execv(mitmdump, [mitmdump, "-q", "-s", __file__, *settings, *record])


if __name__ == "__main__":
    main()
elif "RIVAL_SAID" in os.environ:
    addons = [Redirect(os.environ["RIVAL_ORIGIN"], os.environ["RIVAL_SAID"])]
