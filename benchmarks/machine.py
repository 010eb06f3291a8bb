"""The machine and the versions that a measurement was made with, without which its figures mean nothing."""

import os
import platform
import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.report import Column, Section


@dataclass(frozen=True, slots=True)
class Machine:
    """Processor model, cores this process may use, Python, operating system, and versions of the contenders."""

    cpu: str
    cores: int
    python: str
    system: str
    contenders: str


def this_machine() -> Machine:
    """Return the machine that runs this."""
    contenders = ", ".join(f"{name} {version(name)}" for name in ("msgspec", "duckdb", "polars"))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return Machine(_cpu(), os.process_cpu_count() or 1, python, f"{platform.system()} {platform.machine()}", contenders)


def section(machine: Machine) -> Section:
    """Return the machine as the first table of a report."""
    columns = (Column("cpu"), Column("cores"), Column("python"), Column("system"), Column("contenders"))
    return Section("machine", "The machine", columns, (asdict(machine),))


def _cpu() -> str:
    """Return the model as Linux names it; elsewhere what Python knows, which may be no more than the architecture."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return found[1] if found else platform.processor() or platform.machine()
