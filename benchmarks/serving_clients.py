"""Many clients of one server, in a process of their own: what `serving.py` measures with.

    python benchmarks/serving_clients.py PORT LIST.json ANSWERS.json --clients 100 [--at-once 1]

LIST.json names the pictures. Every client keeps one connection and sends one request after the other; a 503 is asked
again after Retry-After seconds, give or take half. Prints one JSON object: wall seconds, CPU seconds of this process,
how often the server was busy, seconds of every answered request (`served`: the one that was answered; `waited`: with
the times before it).
"""

import argparse
import asyncio
import json
import random
import resource
import time
from pathlib import Path

BOUNDARY = "headstart-boundary"


def message(port, files):
    """One request, whole."""
    start = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x.png"\r\n\r\n'.encode()
    body = b"".join(start + file.read_bytes() + b"\r\n" for file in files) + f"--{BOUNDARY}--\r\n".encode()
    head = (
        f"POST /v1/predict?top=1000 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def answer(reader):
    """Status, Retry-After and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    fields = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
    return (
        int(head[0].split()[1]),
        float(fields.get("retry-after", 1)),
        await reader.readexactly(int(fields["content-length"])),
    )


async def client(port, work, told):
    reader = writer = None
    for index, data in work:
        first = time.perf_counter()
        while True:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            start = time.perf_counter()
            writer.write(data)
            try:
                status, again, body = await answer(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer, told["cut"] = None, told["cut"] + 1
                continue
            if status != 503:
                break
            told["busy"] += 1
            writer.close()
            writer = None
            await asyncio.sleep(again * random.uniform(0.5, 1.5))
        told["answers"][index] = [status, body]
        told["served"].append(time.perf_counter() - start)
        told["waited"].append(time.perf_counter() - first)
    if writer is not None:
        writer.close()


async def all_clients(port, messages, clients):
    told = {"answers": {}, "served": [], "waited": [], "busy": 0, "cut": 0}
    work = iter(enumerate(messages))
    start = time.perf_counter()
    await asyncio.gather(*(client(port, work, told) for _ in range(clients)))
    return {"wall": time.perf_counter() - start, **told}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=1)
    a = parser.parse_args()
    files = [Path(name) for name in json.loads(a.pictures.read_text())]
    groups = [files[k : k + a.at_once] for k in range(0, len(files), a.at_once)]
    messages = [message(a.port, group) for group in groups]
    before = cpu()
    told = asyncio.run(all_clients(a.port, messages, a.clients))
    told["cpu"] = cpu() - before
    found = told.pop("answers")
    rows = [(found[k][0], json.loads(found[k][1])) for k in range(len(groups))]
    a.answers.write_text(json.dumps(rows))
    print(json.dumps(told))


def cpu():
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
