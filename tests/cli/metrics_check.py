# SPDX-License-Identifier: Apache-2.0
#
# metrics_check.py file M STATS      - a file of metrics is OpenMetrics, and says what --stats said
# metrics_check.py serve COMMAND FILE - the same over a port and a socket, from an engine at work
import http.client
import json
import os
import socket
import subprocess
import sys
import time

from prometheus_client.openmetrics.parser import text_string_to_metric_families


def parse(text):
    """{name: family}, and what the parser leaves to us."""
    assert text.endswith("# EOF\n"), text[-100:]
    families = {f.name: f for f in text_string_to_metric_families(text)}
    assert len(families) > 20
    for f in families.values():
        assert f.name.startswith("faultline_"), f.name
        assert f.documentation, f.name
        assert f.samples or f.name.startswith("faultline_device_"), f.name
        if f.unit:
            assert f.unit in ("seconds", "bytes"), f.name
    return families


def value(families, name, **labels):
    """The one sample of that name with these labels."""
    found = [s.value for f in families.values() for s in f.samples
             if s.name == name and all(s.labels.get(k) == v for k, v in labels.items())]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def check_histogram(families):
    for kind in ("major", "minor"):
        rows = [(float(s.labels["le"]), s.value) for s in families["faultline_fault_seconds"].samples
                if s.name.endswith("_bucket") and s.labels["kind"] == kind]
        assert rows == sorted(rows) and [n for _, n in rows] == sorted(n for _, n in rows), rows
        assert rows[-1] == (float("inf"), value(families, "faultline_fault_seconds_count", kind=kind))
        total = value(families, "faultline_fault_seconds_sum", kind=kind)
        # Each fault lies in its bucket: the sum is between those of the lower and the upper bounds.
        least = most = below = 0.0
        for i, (le, n) in enumerate(rows):
            least += (n - below) * (rows[i - 1][0] if i else 0)
            most += (n - below) * min(le, 1e9) if n > below else 0
            below = n
        assert least * 0.999 <= total <= most * 1.001, (kind, least, total, most)


def check_device_latencies(families):
    """What took a device long has a bucket: of each request in sum, as the counters have it."""
    for name, sums in (("faultline_device_request_seconds", ("queue", "busy")),
                       ("faultline_device_service_seconds", ("busy",))):
        n = value(families, name + "_count", op="read")
        assert n and n == value(families, name + "_bucket", op="read", le="+Inf"), (name, n)
        # The engine goes on while it is looked at, so what is counted later may be more.
        assert n >= value(families, "faultline_device_requests_total", op="read"), (name, n)
        total = sum(value(families, f"faultline_device_{s}_seconds_total", op="read") for s in sums)
        assert value(families, name + "_sum", op="read") >= total * 0.999, (name, total)


def check_file(path, stats):
    families = parse(open(path, encoding="utf-8").read())
    stats = json.load(open(stats, encoding="utf-8"))
    check_histogram(families)
    for name, key in (("faultline_read_bytes_total", "read_bytes"),
                      ("faultline_requests_total", "requests"),
                      ("faultline_bios_total", "bios"),
                      ("faultline_cache_peak_bytes", "cache_bytes_peak"),
                      ("faultline_cache_budget_bytes", "budget_bytes")):
        assert value(families, name) == stats[key], (name, value(families, name), stats[key])
    for kind in ("major", "minor"):
        n = value(families, "faultline_faults_total", kind=kind)
        assert n == stats["faults_" + kind], (kind, n)
        assert n == value(families, "faultline_fault_seconds_count", kind=kind), kind
    assert value(families, "faultline_readahead_bytes_total") == 4096 * stats["readahead_pages"]
    assert value(families, "faultline_engine_info")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def fetch(connection):
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    assert answer.headers["Content-Type"] == (
        "application/openmetrics-text; version=1.0.0; charset=utf-8"), answer.headers
    text = answer.read().decode("utf-8")
    connection.close()
    return parse(text)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(command, path, where):
    """Random touches without an end."""
    return subprocess.Popen([command, "touch", path, "--pattern", "random", "--advice", "random",
                             "--count", "100000000", "--cache", "1M", "--metrics", where],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def fetch_when_up(process, connect):
    for _ in range(600):
        assert process.poll() is None, process.stderr.read()
        try:
            return fetch(connect())
        except (ConnectionRefusedError, FileNotFoundError):
            time.sleep(0.05)
    raise AssertionError("nobody answers")


def faults(families):
    return sum(value(families, "faultline_faults_total", kind=k) for k in ("major", "minor"))


def rude(address, family):
    """Connections that ask and never read, that say half, and that say nothing."""
    out = []
    for words in (b"GET /metrics HTTP/1.1\r\n\r\n", b"GET /me", b"", b"\0\xff" * 100) * 3:
        s = socket.socket(family)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        s.settimeout(60)
        s.connect(address)
        s.send(words) if words else None
        out.append(s)
    return out


def serve_at(command, path, where, connect, address, family):
    process = start(command, path, where)
    try:
        before = fetch_when_up(process, connect)
        connections = rude(address, family)
        # While nobody reads, faults go on; and when their time is over it is our turn again.
        after = fetch(connect())
        assert faults(after) > faults(before), (faults(before), faults(after))
        reads = value(after, "faultline_device_requests_total", op="read")
        assert value(before, "faultline_requests_total") <= reads, reads
        check_histogram(after)
        check_device_latencies(after)
        for c in connections:
            c.close()
        # Taken: one line, and the work is done.
        second = subprocess.run([command, "cat", path, "--metrics", where], capture_output=True,
                                check=False)
        assert second.returncode == 0 and second.stdout == open(path, "rb").read()
        lines = second.stderr.decode().splitlines()
        assert len(lines) == 1 and "Address already in use; going on without" in lines[0], lines
        assert faults(fetch(connect())) >= faults(after)
    finally:
        process.kill()
        process.communicate()


def serve(command, path):
    port = free_port()
    serve_at(command, path, str(port), lambda: http.client.HTTPConnection("127.0.0.1", port, 60),
             ("127.0.0.1", port), socket.AF_INET)
    name = os.path.abspath("metrics.sock")
    # Twice: what a killed process has left is replaced.
    for _ in range(2):
        serve_at(command, path, "unix:metrics.sock", lambda: UnixConnection(name), name,
                 socket.AF_UNIX)
    assert os.stat(name).st_mode & 0o777 == 0o600
    # Only on this machine: nothing listens on the other addresses.
    process = start(command, path, f":{port}")
    try:
        fetch_when_up(process, lambda: http.client.HTTPConnection("127.0.0.1", port, 60))
        text = open("/proc/net/tcp", encoding="ascii").read()
        listening = [row.split()[1] for row in text.splitlines()[1:] if row.split()[3] == "0A"]
        mine = [a for a in listening if a.endswith(f":{port:04X}")]
        assert mine == [f"0100007F:{port:04X}"], mine
    finally:
        process.terminate()
        process.communicate()


if sys.argv[1] == "file":
    check_file(sys.argv[2], sys.argv[3])
else:
    serve(sys.argv[2], sys.argv[3])
