"""Serves ministack on loopback, on a port that is free. Says on which, and ends when its standard input does, so that it
never outlives the test that has started it.

Its records of DynamoDB's streams and of Kinesis are numbered as AWS does it, with 21 digits at least and no zeros in front: its
own numbers are padded with zeros.
"""

import asyncio
import itertools
import os
import socket
import sys
import threading

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
# Who connects before it serves waits.
listener.listen()
port = listener.getsockname()[1]
os.environ["BIND_HOST"] = "127.0.0.1"
os.environ["GATEWAY_PORT"] = str(port)
os.environ.setdefault("LOG_LEVEL", "ERROR")

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app
from ministack.services import dynamodb, kinesis

# Odd steps, as no one may count on every number being there.
numbers = itertools.count(100000000000000000007, 13)
dynamodb._next_stream_seq = lambda: str(next(numbers))
kinesis._next_sequence_number = lambda: str(next(numbers))


def end_with_input():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_input, daemon=True).start()
config = Config()
config.bind = [f"fd://{listener.fileno()}"]
config.loglevel = "ERROR"
print(port, flush=True)
asyncio.run(serve(app, config))
