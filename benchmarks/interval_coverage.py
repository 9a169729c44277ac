"""How often does a "95 %" interval hold the truth? Every kind that the tables print, simulated.

    python benchmarks/interval_coverage.py [--trials 2000]

Normal metrics and a heavily skewed one (log-normal, sigma 1), one and three seeds a prompt that
correlate at 0.5; yes/no metrics that happen in 5 % and 30 % of the clips, alone and as paired
differences (systems correlate at 0.5); bands of curves over 16 to 128 clips. Two to three minutes.
"""

import argparse
import math
from collections.abc import Callable
from statistics import NormalDist

import torch
from rich.progress import track
from torch import Tensor

from record import record
from videojam.evaluation.statistics.bootstrap import Interval, bootstrap_mean, paired_bootstrap
from videojam.evaluation.statistics.curves import mean_band, resample_weights

PROMPTS, SEEDS = (8, 12, 20, 32, 64, 128), (1, 3)
_random = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=_random, dtype=torch.float64)


def clustered(prompts: int, seeds: int, correlation: float = 0.5) -> Tensor:
    shared, own = normal(prompts, 1), normal(prompts, seeds)
    return (math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own).flatten()


def happens(values: Tensor, share: float) -> Tensor:
    return (values < NormalDist().inv_cdf(share)).double()


def coverage(truth: float, trials: int, interval: Callable[[int], Interval]) -> float:
    found = [interval(trial) for trial in range(trials)]
    return sum(one.low <= truth <= one.high for one in found) / trials


def of_means(prompts: int, seeds: int, trials: int) -> dict[str, float]:
    ids = torch.arange(prompts).repeat_interleave(seeds)

    def mean(make: Callable[[], Tensor]) -> Callable[[int], Interval]:
        return lambda trial: bootstrap_mean(make(), ids, trial, 1000)

    def gap(trial: int) -> Interval:
        shared, one, other = normal(3, prompts * seeds)
        a, b = (happens((shared + own) / math.sqrt(2), p) for own, p in ((one, 0.2), (other, 0.1)))
        return paired_bootstrap(a, b, ids, trial, 1)

    return {
        "normal": coverage(0, trials, mean(lambda: clustered(prompts, seeds))),
        "log-normal": coverage(
            math.exp(0.5), trials, mean(lambda: clustered(prompts, seeds).exp())
        ),
        "yes/no, 5 %": coverage(
            0.05, trials, mean(lambda: happens(clustered(prompts, seeds), 0.05))
        ),
        "yes/no, 30 %": coverage(
            0.3, trials, mean(lambda: happens(clustered(prompts, seeds), 0.3))
        ),
        "yes/no, 20 % - 10 %": coverage(0.1, trials, gap),
    }


def of_curves(clips: int, trials: int) -> float:
    weights = resample_weights(clips, resamples=1000)
    bands = [mean_band(normal(clips, 1), weights) for _ in range(trials)]
    return sum(band.low[0] <= 0 <= band.high[0] for band in bands) / trials


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=2000)
    trials = parser.parse_args().trials
    torch.set_num_threads(1)
    cases = [(prompts, seeds) for seeds in SEEDS for prompts in PROMPTS]
    figures = {
        "trials": trials,
        "means": {
            f"{prompts} prompts x {seeds}": of_means(prompts, seeds, trials)
            for prompts, seeds in track(cases, "coverage")
        },
        "bands of curves": {f"{n} clips": of_curves(n, trials) for n in (8, 16, 32, 64, 128)},
    }
    for name, found in figures["means"].items():
        print(name, " ".join(f"{kind} {share:.3f}" for kind, share in found.items()))
    print(figures["bands of curves"])
    print(record("interval_coverage", figures))


if __name__ == "__main__":
    main()
