"""Mutations of bytes and of text, as functions of a random.Random: a seed names a case for good."""

from __future__ import annotations

import random
import re

NUMBERS = ["0", "1", "2", "3", "-1", "7", "31", "-2147483649", "4294967296", "1e10", "1e400", "nan"]
NUMBERS += [
    "-0",
    ".5",
    "-.5",
    "1e-9",
    "1e-400",
    "5.",
    "+3",
    "0x10",
    "1e",
    "--1",
    "",
    " ",
    "9" * 400,
]
WORDS = [
    "",
    "%s%n",
    "\0",
    "\x7f",
    "\ufeff",
    "\u20ac",
    "\\",
    '"',
    "[",
    "]",
    "{",
    "}",
    ",",
    "=",
    "#",
    "null",
]
TOKEN = re.compile(r"[-+.\w]+|\s+|.", re.DOTALL)
NUMBER = re.compile(r"[-+]?\.?\d[\w.]*")


def mutate_bytes(random_: random.Random, content: bytes) -> bytes:
    """A few bytes changed, a part lost, doubled, filled or moved, or the end cut off."""
    data = bytearray(content)
    for _ in range(random_.choice((1, 1, 1, 2, 4, 16))):
        a, b = sorted(random_.randrange(len(data) + 1) for _ in range(2))
        b = min(b, a + random_.choice((1, 2, 4, 64, 1 << 20)))
        action = random_.randrange(7)
        if action == 0:
            data[a:b] = b""
        elif action == 1:
            data[a:a] = data[a:b][:4096]
        elif action == 2:
            data[a:b] = random_.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * (b - a)
        elif action == 3:
            data = data[:b]
        elif action == 4 and data:
            data[min(a, len(data) - 1)] ^= 1 << random_.randrange(8)
        elif action == 5:
            data[a:b] = random_.randbytes(b - a)
        else:
            target = random_.randrange(len(data) + 1)
            data[target:target] = data[a:b][:4096]
    return bytes(data)


def mutate_text(random_: random.Random, text: str) -> str:
    """Numbers, words and lines changed: what still looks like the format gets farther in."""
    tokens = TOKEN.findall(text)
    for _ in range(random_.choice((1, 1, 2, 3, 8))):
        at = random_.randrange(len(tokens))
        numbers = [i for i, token in enumerate(tokens) if NUMBER.fullmatch(token)]
        action = random_.randrange(6)
        if action <= 2 and numbers:
            tokens[random_.choice(numbers)] = random_.choice(NUMBERS)
        elif action == 3:
            tokens[at] = random_.choice(WORDS)
        elif action == 4:
            tokens[at] = random_.choice(tokens)
        else:
            start = random_.randrange(len(tokens))
            end = min(start + random_.choice((1, 5, 40)), len(tokens))
            part = tokens[start:end]
            if random_.random() < 0.5:
                tokens[start:end] = [""]
            tokens[at:at] = random_.choice((part, part * 3, []))
    return "".join(tokens)
