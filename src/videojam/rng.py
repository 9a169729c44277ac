"""Random streams that depend on what they are for, and on nothing else.

Every random number of this project comes from a generator keyed by (seed, purpose, index), so
sample i is the same whatever the batch size, the number of processes, or how often a run was
stopped and resumed.
"""

import hashlib
import random

import torch


def generator(seed: int, purpose: str, *index: int) -> torch.Generator:
    """A CPU generator for one purpose and one index, e.g. ``generator(0, "noise", sample)``.

    CPU, so that a seed gives the same numbers on every device; move the tensor afterwards.
    """
    key = repr((int(seed), purpose, tuple(int(i) for i in index))).encode()
    digest = hashlib.blake2b(key, digest_size=8).digest()
    # manual_seed takes 64 bits; 63 keep it positive for every consumer.
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def shuffler(seed: int, purpose: str, *index: int) -> random.Random:
    """The same for lists: Python's own generator, keyed alike."""
    return random.Random(generator(seed, purpose, *index).initial_seed())
