"""Schemathesis over the study's interface, as nobody, as a rater and as the owner.

    python -m venv /tmp/st && /tmp/st/bin/pip install schemathesis
    python benchmarks/study_schemathesis.py --st /tmp/st/bin/st

It makes requests from the interface's own OpenAPI description, fitting ones and others, also in
sequences, and checks every answer against it. Schemathesis lives in an environment of its own. The
served application has no description; it is written to a file here.
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from record import record
from study_raters import clips
from videojam.study.links import Link, read_secrets, token
from videojam.study.new import Design, new_study
from videojam.study.server.app import make_app
from videojam.study.store import Store

# Without the limit of requests, which would refuse most of them.
_SERVER = """
import sys, uvicorn
from pathlib import Path
from videojam.study.server.app import make_app
uvicorn.run(make_app(Path(sys.argv[1]), rate=1e9), port=int(sys.argv[2]), log_level="warning")
"""


@dataclass(frozen=True, kw_only=True)
class Schemathesis:
    """Where it is, and how much it does."""

    st: Path
    "Its command."
    examples: int = 300
    "For each operation."
    seed: int = 0
    port: int = 8799


def requests_of(events: Path) -> tuple[Counter[str], Counter[str]]:
    """Answers by status code, and failed checks by name with operation, from its report."""
    codes: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for line in events.read_text().splitlines():
        event = json.loads(line).get("ScenarioFinished")
        for interaction in (event or {}).get("recorder", {}).get("interactions", {}).values():
            response = interaction.get("response")
            codes[str(response["status_code"]) if response else "none"] += 1
        for checks in (event or {}).get("recorder", {}).get("checks", {}).values():
            for check in checks:
                if check["status"] != "success":
                    failed[f"{event['recorder'].get('label')}: {check['name']}"] += 1
    return codes, failed


def run(args: Schemathesis, schema: Path, header: str | None, root: Path) -> dict[str, Any]:
    events = root / "events.ndjson"
    command = [
        str(args.st), "run", str(schema), "--url", f"http://127.0.0.1:{args.port}",
        "--max-examples", str(args.examples), "--seed", str(args.seed), "--checks", "all",
        # Which answers are asked for is the study's, not the description's.
        "--exclude-checks", "positive_data_acceptance",
        "--continue-on-failure", "--report", "ndjson", "--report-ndjson-path", str(events),
        "--generation-database", "none",
        *(["-H", f"Authorization: Bearer {header}"] if header else []),
    ]  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    (root / "said.txt").write_text(done.stdout + done.stderr)
    print(done.stdout[-6000:], done.stderr[-2000:], flush=True)
    codes, failed = requests_of(events)
    return {
        "requests": sum(codes.values()),
        "status_codes": dict(sorted(codes.items())),
        "errors_of_the_server": sum(n for code, n in codes.items() if code >= "500"),
        "failed_checks": dict(failed),
        "seconds": round(time.monotonic() - began, 1),
    }


def main(args: Schemathesis) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        design = Design(questions=("motion=Which?",), trials=28)
        plan = new_study(root / "study", clips(root / "clips", 16), design)
        secret = read_secrets(root / "study")
        (root / "schema.json").write_text(json.dumps(make_app(root / "study").openapi()))
        server = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(root / "study"), str(args.port)]
        )
        try:
            for _ in range(1200):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{args.port}/", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            rater = token(secret, Link(plan.study, 0, int(time.time()) + 100_000, 28))
            whose = {"nobody": None, "a rater": rater, "the owner": secret.admin}
            figures: dict[str, Any] = {
                who: run(args, root / "schema.json", header, root) for who, header in whose.items()
            }
        finally:
            server.kill()
            server.wait()
        store = Store(root / "study")
        figures["raters_with_votes"] = sorted({stored.vote.rater for stored in store.votes()})
        store.close()
    version = subprocess.run([args.st, "--version"], capture_output=True, text=True).stdout
    figures["schemathesis"] = version.split()[-1]
    print(record("study_schemathesis", figures).read_text())


if __name__ == "__main__":
    main(tyro.cli(Schemathesis))
