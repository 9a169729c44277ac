"""The report as files: results.json, report.html, tables.md, votes.csv."""

import html
import json
from pathlib import Path
from typing import Any

from videojam.records.atomic import write_text
from videojam.study.analysis.results import results
from videojam.study.analysis.votes_csv import votes_csv
from videojam.study.plan import read_plan
from videojam.study.preregistration import TEXT_FILE, preregistration_hash
from videojam.study.store import DATABASE, Store

_STYLE = """body{font:16px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;
padding:0 1rem}table{border-collapse:collapse;margin:1rem 0}
th,td{text-align:left;padding:.3rem 1rem .3rem 0;
border-bottom:1px solid #ccc}.bar{display:inline-block;height:.8rem;background:#0072B2}
.rest{background:#D55E00}code,pre{overflow-wrap:anywhere;white-space:pre-wrap}"""


def write_report(folder: Path, out: Path) -> dict[str, Any]:
    """Write the files; gives what results.json holds.

    Raises ValueError for a folder without votes, or whose plan or pre-registration was changed.
    """
    plan = read_plan(folder)
    if not (folder / DATABASE).exists():
        raise ValueError(f"{folder} has no votes yet; serve the study, or add files of votes")
    digest = preregistration_hash(folder)
    store = Store(folder)
    try:
        store.pin(digest)
        votes = store.votes()
    finally:
        store.close()
    found = results(plan, votes, digest)
    write_text(out / "results.json", json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    write_text(out / "tables.md", _markdown(found))
    write_text(out / "votes.csv", votes_csv(plan, votes))
    text = (folder / TEXT_FILE).read_text("utf-8")
    write_text(out / "report.html", _html(found, text))
    return found


def comparison_rows(rows: list[dict[str, Any]]) -> list[list[str]]:
    """As in the paper: per cent of votes for each of two systems; and how sure."""
    return [
        [
            row["a"],
            row["b"],
            row["question"],
            f"{100 * row['share_of_a']:.1f}",
            f"{100 * (1 - row['share_of_a']):.1f}",
            _interval_text(row),
            f"{row['a_wins']} / {row['ties']} / {row['both_bad']} / {row['b_wins']}",
        ]
        for row in rows
    ]


HEADER = ["A", "B", "question", "% A", "% B", "interval of % A", "A / tie / both bad / B"]


def _interval_text(row: dict[str, Any]) -> str:
    interval = row["interval"]
    if interval is None:
        return "too few"
    kind = "" if row["interval_kind"] == "fixed" else ", sequence"
    return (
        f"{100 * interval['low']:.1f} to {100 * interval['high']:.1f} "
        f"({100 * interval['level']:.0f}%{kind})"
    )


def _sections(found: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of every table."""
    sections = [
        ("Votes", HEADER, comparison_rows(found["comparisons"])),
        (
            "The same with every rater",
            HEADER,
            comparison_rows(found["comparisons_with_everyone"]),
        ),
        (
            "Agreement between raters (Krippendorff's alpha; 1 always, 0 by chance)",
            ["question", "alpha"],
            [
                [name, "none" if value is None else f"{value:.2f}"]
                for name, value in found["agreement"].items()
            ],
        ),
    ]
    sections += [
        (
            f"Bradley-Terry strengths, {question} (log-odds, 95% intervals)",
            ["system", "strength", "interval"],
            [
                [row["system"], f"{row['strength']:.2f}", f"{row['low']:.2f} to {row['high']:.2f}"]
                for row in rows
            ],
        )
        for question, rows in found["bradley_terry"].items()
    ]
    sections.append(
        (
            "Raters",
            ["rater", "trials", "catch passed", "repeats alike", "left", "median s", "left out"],
            [
                [
                    str(each["rater"]),
                    str(each["trials"]),
                    f"{each['catch_passed']} of {each['catch_seen']}",
                    f"{each['repeats_alike']} of {each['repeats']}",
                    f"{each['left']} of {each['decided']}",
                    f"{each['median_seconds']:.1f}",
                    "; ".join(each["reasons"]),
                ]
                for each in found["raters"]
            ],
        )
    )
    return sections


def _facts(found: dict[str, Any]) -> list[str]:
    left_out = sum(bool(each["reasons"]) for each in found["raters"])
    return [
        found["conclusion"],
        f"{found['votes']} of {found['planned_votes']} planned votes on {found['primary']} count; "
        f"{left_out} of {len(found['raters'])} raters are left out; {found['late_votes']} votes "
        "came after the end.",
        "A tie, and both bad, is half a vote to each. Intervals are clustered by prompt and rater.",
        f"Raters agree with themselves on {found['repeats_alike']} of {found['repeats']} repeats.",
        f"Pre-registration (SHA-256): {found['preregistration']}",
    ]


def _markdown(found: dict[str, Any]) -> str:
    def cell(text: str) -> str:
        return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")

    lines = [f"# {cell(found['title'])}", "", *(f"{fact}\n" for fact in _facts(found))]
    for title, header, rows in _sections(found):
        lines += [f"## {cell(title)}", "", _line(header), _line(["---"] * len(header))]
        lines += [*(_line([cell(text) for text in row]) for row in rows), ""]
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _html(found: dict[str, Any], preregistration: str) -> str:
    """One file that loads nothing."""
    escape = html.escape
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>{escape(found['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(found['title'])}</h1>",
        *(f"<p>{escape(fact)}</p>" for fact in _facts(found)),
    ]
    for row in found["comparisons"]:
        share = 100 * row["share_of_a"]
        label = f"{row['question']}: {row['a']} {share:.1f}%, {row['b']} {100 - share:.1f}%"
        bars = "".join(
            f"<span class='bar {kind}' style='width:{0.6 * part:.2f}%'></span>"
            for kind, part in (("", share), ("rest", 100 - share))
        )
        parts.append(f"<p>{bars} {escape(label)}</p>")
    for title, header, rows in _sections(found):
        parts.append(f"<h2>{escape(title)}</h2><table><tr>")
        parts += [f"<th>{escape(text)}</th>" for text in header]
        for cells in rows:
            parts.append("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in cells))
        parts.append("</table>")
    parts.append(f"<h2>Pre-registration</h2><pre>{escape(preregistration)}</pre></html>\n")
    return "\n".join(parts)
