"""Faults of comparisons for mutations.py: statistics, import, form, VBench's aggregates, tables."""

from mutations import Mutation

_STATISTICS = "tests/evaluation/statistics/test_bootstrap.py"
_IMPORTED = "tests/evaluation/clips/test_imported.py"
_AGGREGATE = "tests/evaluation/vbench/test_aggregate.py"
_GENERATED = "tests/evaluation/experiments/test_experiments_generated.py"
_TABLES = (
    f"{_GENERATED}::test_differences_are_of_pairs_in_any_order "
    f"{_GENERATED}::test_what_survives_holm_is_starred_and_the_primary_is_bold"
)
_COMPARE = "tests/evaluation/compare/test_compare.py"

MUTATIONS = (
    Mutation(
        "percentiles are not taken further out", "evaluation/statistics/bootstrap.py",
        "tail = expanded_tail(len(ids))", "tail = 0.025",
        f"{_STATISTICS} -k the_interval_covers",
    ),
    Mutation(
        "the expansion lacks sqrt(k / (k - 1))", "evaluation/statistics/bootstrap.py",
        "-math.sqrt(clusters / (clusters - 1)) * t", "-t", f"{_STATISTICS} -k tail_is_that",
    ),
    Mutation(
        "clips are drawn, not prompts", "evaluation/statistics/bootstrap.py",
        "    ids, place = clusters[kept].unique(return_inverse=True)\n    mean",
        "    ids, place = torch.arange(len(values)).unique(return_inverse=True)\n    mean",
        f"{_STATISTICS} -k clusters_widen",
    ),
    Mutation(
        "seven prompts have an interval", "evaluation/statistics/bootstrap.py",
        "FEWEST = 8", "FEWEST = 7", f"{_STATISTICS} -k few_prompts",
    ),
    Mutation(
        "Wilson's middle is the share", "evaluation/statistics/proportions.py",
        "middle = p + q * q / (2 * n)", "middle = p", f"{_STATISTICS} -k share",
    ),
    Mutation(
        "seeds of a prompt are independent", "evaluation/statistics/proportions.py",
        "min(max(variance / of_mean, float(k)), float(n))", "float(n)", f"{_STATISTICS} -k share",
    ),
    Mutation(
        "no pairs are added to each way to differ", "evaluation/statistics/proportions.py",
        "((n * p + 1) / (n + 2) for p in (p10, p01))", "(p for p in (p10, p01))",
        f"{_STATISTICS} -k share",
    ),
    Mutation(
        "one-sided p", "evaluation/statistics/several.py",
        "flipped = (signs.double() @ sums).abs()", "flipped = signs.double() @ sums",
        f"{_STATISTICS} -k signs",
    ),
    Mutation(
        "Holm is one step too kind", "evaluation/statistics/several.py",
        "(m - rank) * p_values[index]", "(m - rank - 1) * p_values[index]",
        f"{_STATISTICS} -k holm",
    ),
    Mutation(
        "Holm forgets what came before", "evaluation/statistics/several.py",
        "largest = max(largest, min(1.0, (m - rank) * p_values[index]))",
        "largest = min(1.0, (m - rank) * p_values[index])", f"{_STATISTICS} -k holm",
    ),
    Mutation(
        "the last of two files is taken", "evaluation/clips/imported.py",
        "            doubled.setdefault(key, []).append(path)\n",
        "            doubled.setdefault(key, []).append(clips[key])\n"
        "            clips[key] = path\n",
        _IMPORTED,
    ),
    Mutation(
        "numbers are always from 0", "evaluation/clips/imported.py",
        "(number - from_one, repeat)", "(number, repeat)", _IMPORTED,
    ),
    Mutation(
        "a name cut to few letters counts", "evaluation/clips/imported.py",
        "_CUT_NAME = 20", "_CUT_NAME = 1", _IMPORTED,
    ),
    Mutation(
        "a short clip is repeated to the full length", "evaluation/clips/normalise.py",
        "count = min(form.num_frames, available)", "count = form.num_frames", _IMPORTED,
    ),
    Mutation(
        "the highest rate is the common one", "evaluation/clips/normalise.py",
        "fps = min(one.fps for one in typical)", "fps = max(one.fps for one in typical)", _IMPORTED,
    ),
    Mutation(
        "the shortest clip shortens all", "evaluation/clips/normalise.py",
        "num_frames=int(median(one.num_frames for one in clips))",
        "num_frames=min(one.num_frames for one in clips)", _IMPORTED,
    ),
    Mutation(
        "dynamic degree counts in full", "evaluation/vbench/aggregate.py",
        "Dimension(weight=0.5)", "Dimension(weight=1.0)", _AGGREGATE,
    ),
    Mutation(
        "the total has other shares", "evaluation/vbench/aggregate.py",
        "_QUALITY_SHARE = 0.8", "_QUALITY_SHARE = 0.75", _AGGREGATE,
    ),
    Mutation(
        "the primary one is corrected, too", "evaluation/report/tables.py",
        "for p in places if p != primary})", "for p in places})",
        _TABLES,
    ),
    Mutation(
        "a missing clip counts as a difference", "evaluation/report/tables.py",
        "    one, other, prompts = _column(a, metric), _column(b, metric), _prompts(a)\n",
        "    one, other, prompts = _column(a, metric), _column(b, metric), _prompts(a)\n"
        "    one, other = one.nan_to_num(), other.nan_to_num()\n",
        _TABLES,
    ),
    Mutation(
        "processes make the same clips", "evaluation/compare/work.py",
        "[*items[self.index :: self.count]]", "[*items[1 :: self.count]]",
        f"{_COMPARE}::test_processes_share_every_clip_once",
    ),
    Mutation(
        "a changed clip keeps its old numbers", "evaluation/compare/work.py",
        "            digest.update(_digest_of(path, path.stat().st_mtime_ns))\n",
        "            pass\n", f"{_COMPARE} -k changed_clip",
    ),
    Mutation(
        "the cost counts clips that are there", "evaluation/compare/cost.py",
        "total += flops * passes * todo", "total += flops * passes * len(planned.clips)",
        f"{_COMPARE} -k cost",
    ),
)  # fmt: skip
