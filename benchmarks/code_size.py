"""How much code a model costs: lines of its row, and of the functions that it names.

    python benchmarks/code_size.py

Lines of the source as formatted, comments and docstrings included. "only": functions that no other
row names. Conditions are lines of the package that ask for a class of one family by name.
"""

import ast
import re
from collections import Counter
from pathlib import Path

from record import record

SOURCE = Path(__file__).parents[1] / "src" / "videojam"
JOINT = SOURCE / "joint"
_ASKS = re.compile(r"""(==|case|in) \(?["'](Autoencoder|\w+Transformer|\w+Pipeline)""")


def main() -> None:
    rows = next(
        node.value
        for node in ast.parse((JOINT / "families.py").read_text()).body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "FAMILIES"
    )
    assert isinstance(rows, ast.Tuple)
    functions = _definitions(JOINT / "noising.py") | _definitions(JOINT / "layouts.py")
    named = {_class(row): _names(row) & functions.keys() for row in rows.elts}
    used = Counter(name for names in named.values() for name in names)
    models = {
        _class(row): {
            "row_lines": _lines(row),
            "functions": {
                name: {"lines": functions[name], "only": used[name] == 1}
                for name in sorted(named[_class(row)])
            },
        }
        for row in rows.elts
    }
    normalisations = _definitions(JOINT / "latents.py")
    conditions = [
        f"{path.relative_to(SOURCE)}: {line.strip()}"
        for path in sorted(SOURCE.rglob("*.py"))
        for line in path.read_text().splitlines()
        if _ASKS.search(line)
    ]
    figures = {
        "models": models,
        "mean_row_lines": sum(model["row_lines"] for model in models.values()) / len(models),
        "latent_normalisations": {
            name: normalisations[name] for name in ("_vectors", "_buffers", "_factor", "_frames")
        },
        "conditions": conditions,
    }
    print(record("code_size", figures).read_text())


def _class(row: ast.expr) -> str:
    assert isinstance(row, ast.Call)
    return next(
        k.value.value
        for k in row.keywords
        if k.arg == "transformer" and isinstance(k.value, ast.Constant)
    )


def _names(row: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(row) if isinstance(node, ast.Name)}


def _definitions(path: Path) -> dict[str, int]:
    """Name -> lines of the functions and constants of a file."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = _lines(node)
        elif isinstance(node, ast.Assign):
            found[ast.unparse(node.targets[0])] = _lines(node)
    return found


def _lines(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1


if __name__ == "__main__":
    main()
