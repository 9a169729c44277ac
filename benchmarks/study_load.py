"""How many votes a second does a study's server take, and how long does a rater wait?

    python benchmarks/study_load.py

The server is a process of its own, as `videojam study serve` starts it. Two loads by as many raters
at once, each with a connection of its own: a vote every few seconds, as people do, and one after
the other as fast as they are acknowledged. A vote's time is from the request to the answer, and the
answer comes after the disk has it. Raters and server share the machine.
"""

import asyncio
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import torch
import tyro

from record import record
from study_raters import Server, clips
from videojam.study.links import Link, read_secrets, token
from videojam.study.new import Design, new_study
from videojam.study.plan import Plan
from videojam.study.store import Store


@dataclass(frozen=True, kw_only=True)
class Load:
    """How many raters, and how fast."""

    raters: int = 50
    trials: int = 60
    prompts: int = 44
    pause: float = 4.0
    "Seconds between two votes of a rater who looks, in the mean."
    votes: int = 10
    "Of each rater who looks."
    port: int = 8798


def answer_of(plan: Plan) -> dict[str, str]:
    return {question.id: "left" for question in plan.questions}


async def rater(
    size: Load, plan: Plan, number: int, link: str, trials: range, pause: float
) -> list[float]:
    """Seconds that each vote took."""
    rng, took = random.Random(number), []
    headers = {"authorization": f"Bearer {link}"}
    base = f"http://127.0.0.1:{size.port}"
    async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=120) as client:
        (await client.post("/api/consent", json={})).raise_for_status()
        for trial in trials:
            await asyncio.sleep(pause * rng.uniform(0, 2))
            vote = {"trial": trial, "answers": answer_of(plan), "seconds": 2.0}
            began = time.perf_counter()
            (await client.post("/api/votes", json=vote)).raise_for_status()
            took.append(time.perf_counter() - began)
    return took


async def load(size: Load, plan: Plan, links: list[str], trials: range, pause: float) -> dict:
    began = time.perf_counter()
    took = await asyncio.gather(
        *(rater(size, plan, n, link, trials, pause) for n, link in enumerate(links))
    )
    seconds, times = time.perf_counter() - began, np.array([t for one in took for t in one])
    low, high, most = np.percentile(1000 * times, [50, 99, 100]).round(1).tolist()
    return {
        "votes": len(times),
        "votes_per_second": round(len(times) / seconds, 1),
        "median_ms": low,
        "percentile_99_ms": high,
        "longest_ms": most,
    }


async def measure(size: Load, plan: Plan, links: list[str]) -> dict[str, Any]:
    split = size.votes
    return {
        "as people do": await load(size, plan, links, range(split), size.pause),
        "as fast as they can": await load(size, plan, links, range(split, size.trials), 0.0),
    }


def main(size: Load) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "study"
        design = Design(trials=size.trials, votes_per_pair=size.raters)
        plan = new_study(folder, clips(Path(root) / "clips", size.prompts), design)
        secret = read_secrets(folder)
        expires = int(time.time()) + 10_000
        links = [
            token(secret, Link(plan.study, number, expires, size.trials))
            for number in range(size.raters)
        ]
        busy = os.getloadavg()[0]
        server = Server(folder, size.port)
        try:
            figures = asyncio.run(measure(size, plan, links))
        finally:
            server.kill()
        store = Store(folder)
        figures |= {"raters": size.raters, "votes_stored": store.num_votes()}
        store.close()
    figures["load_average_before"] = round(busy, 1)
    print(record("study_load", figures).read_text())


if __name__ == "__main__":
    main(tyro.cli(Load))
