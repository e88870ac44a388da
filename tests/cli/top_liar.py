# SPDX-License-Identifier: Apache-2.0
#
# top_liar.py FOLDER - sockets like those of engines, which answer nonsense, until it is killed.
import os
import selectors
import signal
import socket
import sys

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
LIES = [
    b"", b"\0" * 5000, b"HTTP/1.1 500 no\r\n\r\n{}", HEAD, HEAD + b"[]", HEAD + b"{", HEAD + b"[" * 100000,
    HEAD + b'{"faultline":2}', HEAD + b'{"faultline":1}', HEAD + b"x" * (3 << 20),
    HEAD + b'{"faultline":1,"stats":[],"files":{"a":1},"worst":"x","fault_ns":[[1],2,[-5,"x"],[7,9e99]]}',
    HEAD + b'{"faultline":1,"program":"\\u001b[2J","mmu":7,"policy":"a\\nb\\u009bm","stats":{"faults_major":'
    b'9223372036854775807,"elapsed_ns":1,"cache_bytes":-1},"fault_ns":[[9223372036854775807,'
    b'9223372036854775807],[9223372036854775807,9223372036854775807]],"files":[{"uri":"\\u001b]0;x\\u0007",'
    b'"faults_major":9223372036854775807,"fault_ns":9223372036854775807},5,null],"worst":[{"ns":1,'
    b'"uri":"\\u009b31m"},[]],"devices":[{"queued":9223372036854775807},{"queued":9223372036854775807}]}',
    None,  # nothing at all, and the connection stays
]

os.makedirs(sys.argv[1], mode=0o700, exist_ok=True)
names, which, selector, kept = [], {}, selectors.DefaultSelector(), []
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
try:
    for i, lie in enumerate(LIES):
        s = socket.socket(socket.AF_UNIX)
        name = f"{sys.argv[1]}/{i}-lie.sock"
        s.bind(name)
        s.listen()
        names.append(name)
        which[s] = lie
        selector.register(s, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            connection, _ = key.fileobj.accept()
            if which[key.fileobj] is None:
                kept.append(connection)
                continue
            try:
                connection.settimeout(5)
                if connection.recv(4096):
                    connection.sendall(which[key.fileobj])
            except OSError:
                pass
            connection.close()
finally:
    for name in names:
        os.unlink(name)
