"""A collector for tests: prints `listening on PORT`, then a line of JSON for each span, or each request, that it got.

collector.py oteltap           OtelTap, over HTTP: {"span": …}
collector.py http [STATUS…]    answers these statuses first, then 200: {"headers": …, "resource": …, "spans": […]}
collector.py grpc [CODE…]      the same over gRPC, with its status codes
A status of `partial` is a success that rejects one span.
"""

import asyncio
import base64
import gzip
import http.server
import json
import os
import sys

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service


def say(value):
    print(value if isinstance(value, str) else json.dumps(value), flush=True)


def hexed(text):
    return base64.b64decode(text).hex()


def plain(message):
    """A span as a dictionary: ids in hexadecimal, attributes by name."""
    span = MessageToDict(message)
    for name in ("traceId", "spanId", "parentSpanId"):
        span[name] = hexed(span.get(name, ""))
    span["attributes"] = attributes(span)
    for event in span.get("events", []):
        event["attributes"] = attributes(event)
    for link in span.get("links", []):
        link["traceId"], link["spanId"] = hexed(link["traceId"]), hexed(link["spanId"])
    return span


def attributes(holder):
    found = {}
    for attribute in holder.get("attributes", []):
        assert attribute["key"] not in found, attribute
        (kind, value), = attribute["value"].items()
        if kind == "arrayValue":
            value = [word["stringValue"] for word in value["values"]]
        found[attribute["key"]] = int(value) if kind == "intValue" else value
    return found


def tell(request, headers):
    for of in request.resource_spans:
        resource = attributes(MessageToDict(of.resource))
        spans = [plain(span) for scope in of.scope_spans for span in scope.spans]
        say({"headers": headers, "resource": resource, "spans": spans})


def success(answer):
    response = service.ExportTraceServiceResponse()
    if answer == "partial":
        response.partial_success.rejected_spans = 1
        response.partial_success.error_message = "one is too old"
    return response


async def oteltap():
    from oteltap.oteltap_http_protobuf_receiver import OtelTapHttpProtobufReceiver
    from oteltap.oteltap_http_protobuf_receiver_settings import OtelTapHttpProtobufReceiverSettings

    async with OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(http_port=0)) as receiver:
        say(f"listening on {own_port()}")
        async for span in receiver.stream_traces():
            say({"span": plain(span)})


def own_port():
    """The port of the one socket of this process that listens."""
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    own = {os.readlink(link) for link in links if os.path.islink(link)}
    for line in open("/proc/self/net/tcp").read().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
            return int(fields[1].split(":")[1], 16)
    raise SystemExit("nothing listens")


def over_http(answers):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = answers.pop(0) if answers else "200"
            if answer in ("200", "partial"):
                assert self.path == "/v1/traces", self.path
                if self.headers["content-encoding"] == "gzip":
                    body = gzip.decompress(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                if headers["content-type"] == "application/json":
                    say({"headers": headers, "json": json.loads(body)})
                    response = b"{}"
                else:
                    tell(service.ExportTraceServiceRequest.FromString(body), headers)
                    response = success(answer).SerializeToString()
                self.send_response(200)
            else:
                say({"refused": answer})
                # Some repeat what they were sent.
                response = str(self.headers).encode()
                self.send_response(int(answer))
                self.send_header("retry-after", "0")
            self.send_header("content-length", str(len(response)))
            self.end_headers()
            self.wfile.write(response)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    say(f"listening on {server.server_address[1]}")
    server.serve_forever()


def over_grpc(answers):
    import grpc
    from concurrent import futures
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as stubs

    class Service(stubs.TraceServiceServicer):
        def Export(self, request, context):
            answer = answers.pop(0) if answers else "OK"
            headers = {name: str(value) for name, value in context.invocation_metadata()}
            if answer in ("OK", "partial"):
                tell(request, headers)
                return success(answer)
            say({"refused": answer})
            context.abort(grpc.StatusCode[answer], f"not now: {headers.get('authorization')}")

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    stubs.add_TraceServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say(f"listening on {port}")
    server.wait_for_termination()


kind, *answers = sys.argv[1:]
if kind == "oteltap":
    asyncio.run(oteltap())
elif kind == "http":
    over_http(answers)
else:
    over_grpc(answers)
