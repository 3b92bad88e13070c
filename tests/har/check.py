"""Reads a HAR with mitmproxy and haralyzer: do they see all that is in it?

    python check.py FILE.har            silent and 0 if both accept it
    python check.py --bodies FILE.har   also a line of JSON for each entry:
                                        {"url", "status", "sha256" of the decoded text or null}

Needs mitmproxy >= 11 and haralyzer >= 2.4 beside this Python. Never writes a file.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import sysconfig

# mitmdump's first line for each flow begins with the client's address, which its HAR reader
# always sets to this; what hangs below is indented.
FLOW = "127.0.0.1:0: "


def main():
    arguments = argparse.ArgumentParser(description="check a HAR with mitmproxy and haralyzer")
    arguments.add_argument("--bodies", action="store_true", help="print each body's digest")
    arguments.add_argument("har", type=pathlib.Path)
    options = arguments.parse_args()
    log = json.loads(options.har.read_text(encoding="utf-8"))["log"]
    wrong = [*mitmproxy(options.har, log), *haralyzer(options.har, log)]
    for text in wrong:
        print(f"{options.har}: {text}", file=sys.stderr)
    if options.bodies:
        for entry in log["entries"]:
            print(json.dumps(body(entry)))
    return 1 if wrong else 0


def mitmproxy(path, log):
    """What is wrong if mitmdump does not replay exactly the entries' requests."""
    mitmdump = pathlib.Path(sysconfig.get_path("scripts"), "mitmdump")
    command = [mitmdump, "-n", "--set", "flow_detail=1", "--set", "showhost=false", "-r", path]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300)
    if run.returncode != 0 or run.stderr.strip():
        said = (run.stdout[-600:] + run.stderr).strip()
        yield f"mitmdump ended with {run.returncode}: {said}"
        return
    flows = sum(line.startswith(FLOW) for line in run.stdout.splitlines())
    if flows != len(log["entries"]):
        yield f"mitmdump read {flows} flows of {len(log['entries'])} entries"


def haralyzer(path, log):
    """What is wrong if haralyzer does not see every entry on its page."""
    from haralyzer import HarParser

    parser = HarParser.from_file(str(path))
    on_pages = sum(len(page.entries) for page in parser.pages)
    if len(parser.pages) != len(log["pages"]) or on_pages != len(log["entries"]):
        yield (
            f"haralyzer sees {len(parser.pages)} of {len(log['pages'])} pages"
            f" and {on_pages} of {len(log['entries'])} entries on them"
        )
    for page in parser.pages:
        for entry in page.entries:
            # These properties parse dates, headers and timings; a shape they dislike raises.
            if not entry.url or entry.startTime is None or entry.response.status is None:
                yield f"haralyzer misses something of {entry.url}"


def body(entry):
    """The entry's response body, as whoever reads only the HAR has it."""
    content = entry["response"]["content"]
    text = content.get("text")
    digest = None
    if text is not None:
        is_binary = content.get("encoding") == "base64"
        bytes = base64.b64decode(text, validate=True) if is_binary else text.encode()
        if len(bytes) != content["size"]:
            sys.exit(f"{entry['request']['url']}: {len(bytes)} bytes, size {content['size']}")
        digest = hashlib.sha256(bytes).hexdigest()
    return {
        "url": entry["request"]["url"],
        "status": entry["response"]["status"],
        "sha256": digest,
    }


if __name__ == "__main__":
    sys.exit(main())
