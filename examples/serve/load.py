#!/usr/bin/env python3
"""Loads the server with concurrent clients, and checks the texts and the memory afterwards.

usage: load.py [--clients 16] [--requests 200 | --seconds N] [--controller SPEC] SERVER [-- SERVER'S OPTIONS]

There are --requests different requests: prompts, lengths, controllers and samplings of all kinds, every fourth client
going away half-way. Without --seconds each is sent once; with it, they are sent again and again until the time is over.
With --controller all requests name this controller. Then each request that was completed is sent alone, and must get the same text. Memory must return to where it was: no
row, no cached byte, and no more resident memory than a tenth above that of the first minute.

By default the server runs the embedded model with a context of 512 tokens.
"""
import argparse
import http.client
import json
import random
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse

from server import Server, longer_model

TASKS = ["sort 52938174=", "copy DBACJFIA=", "reverse DBACJFIA=", "count ABBCABCC=", "add 357+468=", "follow 35071642,3+2="]
CONTROLLERS = ["full", "uniform:8", "exit:5", "skip:3,7", "random:7", "bernoulli:0.7", "confidence:0.6,every=3", "entropy:0.5,every=3",
               "saturation:0.98", "schedule:12..4,to=60", "warmup:3:exit:4", "budgeted:7:confidence:0.5,every=3"]
# The longest time without a token while requests are open, in seconds.
STALL = 20
# The longest time of a request, in seconds: more than any needs, so that no deadline cuts a text short.
TIMEOUT = 1200


# The controller of all requests, if one is given.
only = None


def request(index):
    """Returns the path, the body, and the number of events after which the client goes away (None: it stays)."""
    draw = random.Random(index)
    body = {"seed": index, "controller": draw.choice(CONTROLLERS), "max_tokens": draw.choice([1, 5, 20, 60, 200]),
            "temperature": draw.choice([0, 0.7, 1.3]), "n": draw.choice([1, 1, 1, 2]), "stream": draw.random() < 0.5}
    body["controller"] = only or body["controller"]
    if draw.random() < 0.5:
        body["logit_bias"] = {"0": -100}
    if draw.random() < 0.3:
        body |= {"top_p": 0.9, "frequency_penalty": 0.3}
    if draw.random() < 0.3:
        body["stop"] = ["77", "A"]
    prompt = "".join(draw.choice(TASKS) for _ in range(draw.choice([1, 1, 2, 8, 20])))
    leaves = draw.randrange(12) if draw.random() < 0.25 else None
    if leaves is not None:
        body |= {"stream": True, "max_tokens": 400, "logit_bias": {"0": -100}}
    if draw.random() < 0.5:
        return "/v1/chat/completions", body | {"messages": [{"role": "user", "content": prompt}]}, leaves
    return "/v1/completions", body | {"prompt": prompt}, leaves


class Outcome:
    """The answer to a request, or the news that the client went away."""

    def __init__(self):
        self.status, self.texts, self.first, self.left = None, {}, None, False

    def add(self, choice):
        part = choice["text"] if "text" in choice else choice.get("delta", choice.get("message")).get("content")
        text, _ = self.texts.get(choice["index"], ("", None))
        self.texts[choice["index"]] = (text + (part or ""), choice["finish_reason"])


def send(url, index, stay=False):
    """Sends a request, and reads the answer or a part of it."""
    path, body, leaves = request(index)
    leaves = None if stay else leaves
    outcome, started = Outcome(), time.time()
    connection = http.client.HTTPConnection(urllib.parse.urlparse(url).netloc, timeout=TIMEOUT)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        if leaves == 0:  # before the answer begins
            outcome.left = True
            return outcome
        answer = connection.getresponse()
        outcome.status = answer.status
        if answer.status != 200:
            answer.read()
            return outcome
        if not body["stream"]:
            for choice in json.loads(answer.read())["choices"]:
                outcome.add(choice)
            return outcome
        events = 0
        for line in answer:
            if not line.startswith(b"data: "):
                continue
            if line.strip() == b"data: [DONE]":
                return outcome
            outcome.first = outcome.first or time.time() - started
            event = json.loads(line[6:])
            assert "error" not in event, event
            for choice in event["choices"]:
                outcome.add(choice)
            events += 1
            if leaves is not None and events >= leaves:
                outcome.left = True
                return outcome
        raise AssertionError("the stream ended early")
    finally:
        connection.close()


class Load:
    """Clients that send requests until there are no more, or the time is over."""

    def __init__(self, server, options):
        self.server, self.options = server, options
        self.lock, self.next, self.outcomes, self.problems = threading.Lock(), 0, [], []
        self.started = time.time()

    def take(self):
        with self.lock:
            over = time.time() - self.started > self.options.seconds if self.options.seconds else (
                self.next >= self.options.requests)
            if over or self.problems:
                return None
            self.next += 1
            return (self.next - 1) % self.options.requests

    def client(self):
        while (index := self.take()) is not None:
            try:
                outcome = send(self.server.url, index)
            except Exception as error:  # noqa: BLE001: whatever it is, the check has failed
                self.problems.append(f"request {index}: {error!r}")
                return
            with self.lock:
                self.outcomes.append((index, outcome))
            if outcome.status == 429:
                time.sleep(0.2)

    def run(self):
        """Runs the clients; returns the samples of resident memory, in megabytes, with their times."""
        clients = [threading.Thread(target=self.client) for _ in range(self.options.clients)]
        for client in clients:
            client.start()
        memory, last = [], (0, time.time())
        while any(client.is_alive() for client in clients):
            time.sleep(0.5)
            tokens = self.server.metrics()["dynlayer_generated_tokens_total"]
            if tokens != last[0]:
                last = (tokens, time.time())
            elif time.time() - last[1] > STALL:
                self.problems.append(f"no token for {STALL} s")
                break
            memory.append((time.time() - self.started, self.server.resident_mb()))
        for client in clients:
            client.join(TIMEOUT)
        return memory


def settle(server):
    """Waits until no row is left; returns the metrics then."""
    for _ in range(100):
        metrics = server.metrics()
        if metrics["dynlayer_rows"] == 0 and metrics["dynlayer_queue_length"] == 0:
            break
        time.sleep(0.05)
    return metrics


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--controller")
    parser.add_argument("options", nargs="*")
    options = parser.parse_args()
    global only
    only = options.controller
    with tempfile.TemporaryDirectory() as folder:
        given = options.options or longer_model(folder, 512)
        with Server(options.server, *given, "--queue", str(8 * options.clients), "--chunk", "32",
                    "--timeout", str(TIMEOUT)) as server:
            sys.exit(bool(measure(server, options)))


def measure(server, options):
    load = Load(server, options)
    memory = load.run()
    seconds = time.time() - load.started
    metrics = settle(server)
    problems = load.problems
    for name in ("rows", "queue_length", "cache_bytes", "claimed_tokens"):
        if metrics[f"dynlayer_{name}"]:
            problems.append(f"dynlayer_{name} is {metrics[f'dynlayer_{name}']} after the load")

    completed = [(index, outcome) for index, outcome in load.outcomes if not outcome.left and outcome.status == 200]
    others = [outcome.status for _, outcome in load.outcomes if not outcome.left and outcome.status != 200]
    problems += [f"status {status}" for status in others if status != 429]
    alone = {index: send(server.url, index, stay=True).texts for index in sorted({index for index, _ in completed})}
    differ = [index for index, outcome in completed if outcome.texts != alone[index]]
    problems += [f"request {index} got another text than alone: {request(index)}" for index in differ[:5]]

    early = max((mb for at, mb in memory if at <= min(60, seconds / 2)), default=0)
    late = settle(server) and server.resident_mb()
    if late > 1.1 * early + 5:
        problems.append(f"{late:.0f} MB of resident memory at the end, {early:.0f} MB at most in the beginning")

    left = sum(outcome.left for _, outcome in load.outcomes)
    tokens = metrics["dynlayer_generated_tokens_total"]
    print(f"{len(load.outcomes)} requests of {options.clients} clients in {seconds:.1f} s: {len(completed)} completed, "
          f"{left} left half-way, {others.count(429)} found the queue full")
    print(f"{tokens:.0f} tokens, {tokens / seconds:.0f} per second; {len(differ)} of {len(completed)} texts differ from "
          f"those of {len(alone)} requests alone")
    for phase in ("prefill", "decode"):
        passes, read, busy = (metrics[f'dynlayer_{name}_total{{phase="{phase}"}}'] for name in ("passes", "tokens", "seconds"))
        print(f"{phase}: {passes:.0f} passes of {read / max(passes, 1):.1f} tokens, {read / max(busy, 1e-9):.0f} tokens per "
              f"second of {busy:.1f} s")
    firsts = sorted(outcome.first for _, outcome in load.outcomes if outcome.first)
    if len(firsts) > 1:
        print(f"time to the first event of a stream: median {1e3 * statistics.median(firsts):.0f} ms, 95 % within "
              f"{1e3 * firsts[int(0.95 * len(firsts))]:.0f} ms")
    print(f"resident memory: {early:.0f} MB at most in the beginning, {late:.0f} MB at the end")
    for problem in problems:
        print(f"FAIL {problem}")
    return problems


if __name__ == "__main__":
    main()
