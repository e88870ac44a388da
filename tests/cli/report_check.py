#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
#
# report_check.py JSON [FAULTS [REQUESTS]] - what `faultline report --json` says agrees with itself, and
# with the run's counters: every fault is in each part of it once.
import json
import sys

doc = json.load(open(sys.argv[1]))
bad = []


def same(what, *numbers):
    if len(set(numbers)) != 1:
        bad.append(f'{what}: {numbers}')


faults = doc['trace']['faults']
dots = doc['dots']['list']
placed = doc['dots']['placed']
same('faults', faults, *(int(n) for n in sys.argv[2:3]), sum(l['count'] for l in doc['latency']),
     sum(l['count'] for l in doc['files']), sum(l['count'] for l in doc['threads']),
     sum(map(sum, doc['series']['faults'])))
same('placed faults', placed, sum(d['n'] for d in dots),
     sum(sum(f['cells'][2::3]) for f in doc['heat']['files']))
if len(sys.argv) > 3:
    same('requests', int(sys.argv[3]), sum(doc['series']['requests']))
for dot in dots + doc['slowest']['list']:
    # What is before the fault's own beginning, and after its end, is not its time.
    if sum(dot['layers']) != dot['ns']:
        bad.append(f'fault {dot["id"]}: layers {dot["layers"]} are not its {dot["ns"]} ns')
# From VM_FAULT_RETRY until the next event the fault waits, for its device or for somebody, and no other
# layer works for it.
work = [i for i, name in enumerate(doc['events']['layers']) if name not in ('wait', 'device')]
for dot in dots + doc['slowest']['list']:
    path = list(zip(dot['path'][::3], dot['path'][1::3]))
    waits = sum(then - at for (at, event), (then, after) in zip(path, path[1:])
                if event >= 0 and doc['events']['of'][str(event)]['text'] == 'VM_FAULT_RETRY')
    if -1 not in [event for _, event in path] and sum(dot['layers'][i] for i in work) > dot['ns'] - waits:
        bad.append(f'fault {dot["id"]}: waits {waits} of {dot["ns"]} ns, but {dot["layers"]} are told')
ended = [l for l in doc['latency'] if doc['kinds'][l['kind']] != 'call']
if ended:
    longest = max(l['max'] for l in ended)
    same('the longest', longest, doc['slowest']['list'][0]['ns'])
    if placed == faults:
        same('the longest as a dot', longest, max(d['ns'] for d in dots if d['kind'] != 3))
for l in doc['latency']:
    times = [l[p] for p in ('min', 'p50', 'p90', 'p99', 'p999', 'max')]
    if times != sorted(times):
        bad.append(f'percentiles: {times}')
    same('histogram', l['count'], sum(n for _, n in l['histogram']))
for w in doc['windows']['whys']:
    same(w['why'], w['pages'], w['used'] + w['late'] + w['wasted'])
for w in doc['windows']['list']:
    same(f'window at {w["t"]}', w['pages'], sum(w['fates'][1::2]))
same('windows', doc['windows']['count'], sum(w['windows'] for w in doc['windows']['whys']))
if len(dots) > 3000:
    bad.append(f'{len(dots)} dots')
print('\n'.join(bad[:20]), file=sys.stderr)
sys.exit(bool(bad))
