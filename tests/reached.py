"""The modules that run in Azure: those that function_app.py imports, directly or not, at start or later."""

import ast
from functools import cache

import grimp

from local.host import ROOT


@cache
def reached() -> frozenset[str]:
    """Their names, without packages."""
    tree = ast.parse((ROOT / "function_app.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    named = {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
    graph = grimp.build_graph("detectors", cache_dir=None)
    direct = (named | {str(node.module) for node in imports}) & graph.modules
    return frozenset(direct.union(*(graph.find_upstream_modules(module) for module in direct)))
