#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# export_check.py FILE FAULTS REQUESTS - is that JSON in Chrome's trace event format, and whole: what
# begins ends, arrows have two ends that lie in slices, slices of a track are one inside the other, and
# there are as many faults and requests as were counted? Prints what is wrong; exit status 1.
import json
import sys

NEEDS = {
    "M": {"name", "pid", "tid", "args"},
    "b": {"name", "cat", "id", "ts", "pid", "tid", "args"},
    "e": {"name", "cat", "id", "ts", "pid", "tid"},
    "X": {"name", "cat", "ts", "dur", "pid", "tid", "args"},
    "s": {"name", "cat", "id", "ts", "pid", "tid"},
    "f": {"name", "cat", "id", "ts", "pid", "tid", "bp"},
    "C": {"name", "ts", "pid", "args"},
    "i": {"name", "cat", "ts", "pid", "tid", "s", "args"},
}
TYPES = {"name": str, "cat": str, "ts": (int, float), "dur": (int, float), "pid": int, "tid": int,
         "args": dict, "bp": str, "s": str, "id": (str, int)}


def ns(us):
    return round(us * 1000)


def check_event(event):
    kind = event.get("ph")
    assert kind in NEEDS, f"kind of event: {event}"
    assert set(event) == NEEDS[kind] | {"ph"}, f"members: {event}"
    for member, types in TYPES.items():
        assert isinstance(event.get(member, types() if isinstance(types, type) else 0), types), event
    assert event.get("ts", 0) >= 0 and event.get("dur", 0) >= 0, f"time: {event}"


def check_pairs(events, begin, end):
    opened = {}
    for event in events:
        if event["ph"] == begin:
            assert event["id"] not in opened, f"begun twice: {event}"
            opened[event["id"]] = event
        elif event["ph"] == end:
            assert event["id"] in opened, f"ends without a beginning: {event}"
            start = opened.pop(event["id"])
            assert start["name"] == event["name"] and start["ts"] <= event["ts"], (start, event)
    assert not opened, f"no end: {list(opened.values())[:3]}"


def tracks_of(events):
    tracks = {}
    for event in events:
        if event["ph"] == "X":
            start = ns(event["ts"])
            tracks.setdefault(event["tid"], []).append((start, start + ns(event["dur"])))
    for slices in tracks.values():
        slices.sort(key=lambda s: (s[0], -s[1]))
    return tracks


def check_nesting(tracks):
    for tid, slices in tracks.items():
        around = []
        for start, end in slices:
            while around and around[-1] <= start:
                around.pop()
            assert not around or end <= around[-1], f"thread {tid}: slices cross at {start}"
            around.append(end)


def check_arrows(events, tracks):
    for event in events:
        if event["ph"] in "sf":
            at = ns(event["ts"])
            assert any(start <= at <= end for start, end in tracks.get(event["tid"], [])), (
                f"an arrow in no slice: {event}")


def check_counters(events):
    tracks = {}
    for event in events:
        if event["ph"] == "C":
            tracks.setdefault(event["name"], []).append((event["ts"], *event["args"].values()))
    assert set(tracks) == {"cache", "dirty", "queue depth"}, f"counters: {set(tracks)}"
    for name, track in tracks.items():
        assert track == sorted(track, key=lambda at: at[0]), f"{name}: not in order of time"
        assert min(value for _, value in track) >= 0, f"{name}: below zero"
        if name != "dirty" or any(e["ph"] == "X" and e["name"].startswith("WRITE") for e in events):
            assert max(value for _, value in track) > 0, f"{name}: always zero"
    assert tracks["queue depth"][-1][1] == 0, f"requests that do not end: {tracks['queue depth'][-1]}"
    assert tracks["dirty"][-1][1] == 0, "dirty at the end"


# Whoever had to wait for the disk has an arrow to what it waited for.
def check_served(events):
    begun = {e["id"]: e for e in events if e["ph"] == "b" and e["name"].endswith("fault")}
    ended = {e["id"]: e for e in events if e["ph"] == "e"}
    starts = {}
    for event in events:
        if event["ph"] == "s":
            starts.setdefault(event["tid"], []).append(ns(event["ts"]))
    majors = lonely = 0
    for key, fault in begun.items():
        if fault["name"] == "major fault":
            majors += 1
            lonely += not any(ns(fault["ts"]) <= at <= ns(ended[key]["ts"])
                              for at in starts.get(fault["tid"], []))
    assert majors and not lonely, f"{lonely} of {majors} major faults have no arrow"


def main():
    path, faults, requests = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open(path, encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    for event in events:
        check_event(event)
    check_pairs(events, "b", "e")
    check_pairs(events, "s", "f")
    tracks = tracks_of(events)
    check_nesting(tracks)
    check_arrows(events, tracks)
    seen = sum(e["ph"] == "b" and e["name"].endswith("fault") for e in events)
    assert seen == faults, f"{seen} faults, not {faults}"
    seen = sum(e["ph"] == "X" and e["cat"] == "request" for e in events)
    assert seen == requests, f"{seen} requests, not {requests}"
    check_counters(events)
    check_served(events)
    layers = {e["cat"] for e in events if e["ph"] == "X"}
    assert layers >= {"mmu", "vm", "cache", "block", "driver", "request"}, layers


try:
    main()
except AssertionError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
