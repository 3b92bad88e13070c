"""Verdicts of Python: client.py PORT ROOT HOST…"""
import socket
import ssl
import sys

port, root, *hosts = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
for host in hosts:
    try:
        with socket.create_connection(("127.0.0.1", int(port))) as raw:
            with context.wrap_socket(raw, server_hostname=host):
                print(host, "ok")
    except ssl.SSLError as error:
        print(host, "refused", error)
