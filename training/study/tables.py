"""Tables: the page of results, written from the evidence alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from training.study.evidence import Evidence, Row
from training.study.goals import NOT_RUN, Measured, difference, judge, measured, share
from training.study.plan import Task

HEAD = """# Results of training

Written by `make results` from the runs' own files, not by hand. The figures are kept beside it:
`python -m training.study page --from docs/results/training.json` writes the page again from them.

Values are means over seeds. Brackets hold the 95 % bootstrap interval over impressions, texts or
queries (not over seeds), each unit's value averaged over the seeds first; comparisons are paired by
unit. "Share of" is a ratio, "minus" a difference. Of figures without brackets only means are kept.
"""
GOALS_RULE = """A comparison with another row is met when its paired interval reaches what is asked
("by the interval": the mean alone does not). A goal for a value of its own is met by its mean.
"""
ABLATIONS_RULE = """Each line minus the line it changes, both by the mean over their seeds. How far
seeds alone differ is said below the tables above.
"""
TOPICS_NOTE = """No row was taught the topics of these texts. The texts themselves take part
without them: in text distillation, and those of MIND as articles of the click log.
"""
CPU_RULE = """User and system time of every attempt of the queue, failed and repeated ones included.
What was run outside of it, such as runs that a recipe was chosen with, is not counted"""
SPENT_BEFORE = """, but for
the row above the sum, which `study.toml` adds"""
EFFECTS = ("auc", "ndcg10", "topics/mind", "topics/huffpost", "search/ndcg10")
NAMES = {
    "auc": "impression AUC",
    "mrr": "MRR",
    "ndcg5": "nDCG@5",
    "ndcg10": "nDCG@10",
    "topics/mind": "MIND accuracy",
    "topics/mind/macro_f": "MIND macro-F",
    "topics/huffpost": "HuffPost accuracy",
    "topics/huffpost/macro_f": "HuffPost macro-F",
    "search/recall10": "search recall@10",
    "search/ndcg10": "search nDCG@10",
    "search/mrr10": "search MRR@10",
}


@dataclass(frozen=True)
class TaskTable:
    """Say which figures a task's table shows, and which of them it compares."""

    task: Task
    title: str
    counted: dict[str, str]
    figures: tuple[str, ...]
    compared: tuple[str, ...]
    by_share: bool = True
    note: str = ""


TASK_TABLES = (
    TaskTable(
        "recommendation",
        "Recommendation",
        {"impressions": "impressions of MIND `dev` that have both clicks and skips"},
        ("auc", "ndcg10", "ndcg5", "mrr"),
        ("auc", "ndcg10"),
    ),
    TaskTable(
        "topics",
        "Topics",
        {"topics/mind/texts": "MIND articles", "topics/huffpost/texts": "HuffPost headlines"},
        ("topics/mind", "topics/mind/macro_f", "topics/huffpost", "topics/huffpost/macro_f"),
        ("topics/mind", "topics/huffpost"),
        by_share=False,
        note=TOPICS_NOTE,
    ),
    TaskTable(
        "search",
        "Search",
        {"search/queries": "queries"},
        ("search/recall10", "search/ndcg10", "search/mrr10"),
        ("search/recall10", "search/ndcg10"),
    ),
)


@dataclass
class _Markdown:
    """Collect the rows of a Markdown table."""

    head: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def text(self) -> str:
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def page(evidence: Evidence) -> str:
    """Write the whole page."""
    sections = [
        HEAD,
        f"## Goals\n\n{_goals(evidence)}\n{GOALS_RULE}{_remarks(evidence)}",
        *(_task(evidence, table) for table in TASK_TABLES),
        _ablations(evidence),
        _cpu(evidence),
        _provenance(evidence),
    ]
    return "\n".join(sections)


def _goals(evidence: Evidence) -> str:
    table = _Markdown(["goal", "asked", "measured", "holds"])
    for goal in evidence.goals:
        found = judge(evidence, goal)
        title = f"{goal.title}: {NAMES[goal.figure]}"
        table.rows.append([title, found.asked, found.measured, found.verdict])
    return table.text()


def _remarks(evidence: Evidence) -> str:
    """List what there is to say of single goals: what was tried, what limits them."""
    remarks = [f"- {g.title}, {NAMES[g.figure]}: {g.remark}" for g in evidence.goals if g.remark]
    return "\n".join(["", *remarks, ""]) if remarks else ""


def _task(evidence: Evidence, spec: TaskTable) -> str:
    references = [evidence.row(name) for name in evidence.references.get(spec.task, ())]
    between = "share of" if spec.by_share else "minus"
    head = ["row", "seeds"]
    for figure in spec.figures:
        head.append(NAMES[figure])
        if figure in spec.compared:
            head += [f"{between} {reference.title}" for reference in references]
    table = _Markdown(head)
    rows = [r for r in evidence.rows if r.table != "ablation" and spec.task in r.tasks]
    for row in rows:
        cells = [cell for figure in spec.figures for cell in _cells(row, figure, spec, references)]
        table.rows.append([row.title, seeds_cell(row, spec.figures), *cells])
    held_out = _held_out(rows) if spec.task == "recommendation" else ""
    parts = [_counts(evidence, spec), held_out, spec.note, table.text(), _spread(rows, spec)]
    return f"## {spec.title}\n\n" + "\n".join(part for part in parts if part)


def _cells(row: Row, figure: str, spec: TaskTable, references: Sequence[Row]) -> list[str]:
    own = measured(row, figure)
    value = row.mean(figure)
    cells = [own.text() if own else "" if value is None else f"{value:.4f}"]
    if figure in spec.compared:
        compare = share if spec.by_share else difference
        found = [None if row == other else compare(row, other, figure) for other in references]
        cells += [one.text(signed=not spec.by_share) if one else "" for one in found]
    return cells


def _counts(evidence: Evidence, spec: TaskTable) -> str:
    found = [
        f"{row.mean(key):,.0f} {what}"
        for key, what in spec.counted.items()
        for row in evidence.rows
        if row.mean(key) is not None
    ]
    return f"Measured on {' and '.join(dict.fromkeys(found))}.\n" if found else ""


def _held_out(rows: Sequence[Row]) -> str:
    """Say which rows learn from less than all impressions, and why."""
    shares = {row.title: row.held_out for row in rows if row.held_out}
    if not shares:
        return ""
    held = "; ".join(f"{share * 100:g} % in {title}" for title, share in shares.items())
    return f"""Training impressions held out to choose the epoch by: {held}.
Every other trained row has all of them to learn from and keeps its last epoch.
"""


def _spread(rows: Sequence[Row], spec: TaskTable) -> str:
    """Say how far seeds differ: what an ablation of one seed is to be read against."""
    figure = spec.compared[0]
    lines = []
    for row in rows:
        values = [f[figure] for f in row.figures.values() if figure in f]
        if len(values) > 1:
            lines.append(f"{row.title} {min(values):.4f} to {max(values):.4f}")
    return f"{NAMES[figure]} by seed: {'; '.join(lines)}.\n" if lines else ""


def _ablations(evidence: Evidence) -> str:
    text = f"## Ablations\n\n{ABLATIONS_RULE}"
    rows = evidence.of("ablation")
    for base in dict.fromkeys(row.against for row in rows if row.against):
        other = evidence.row(base)
        table = _Markdown(["change", "seeds", *(NAMES[f] for f in EFFECTS), "reading"])
        for row in (row for row in rows if row.against == base):
            effects = {figure: difference(row, other, figure) for figure in EFFECTS}
            cells = [one.text(signed=True) if one else "" for one in effects.values()]
            table.rows.append([row.title, seeds_cell(row, EFFECTS), *cells, reading(effects)])
        text += f"\n### From: {other.title} ({seeds_cell(other, EFFECTS)})\n\n{table.text()}"
    return text


def reading(effects: dict[str, Measured | None]) -> str:
    """Put differences into words: one whose interval includes zero is no measurable effect."""
    known = {figure: one for figure, one in effects.items() if one is not None}
    raised = [NAMES[figure] for figure, one in known.items() if one.low > 0]
    lowered = [NAMES[figure] for figure, one in known.items() if one.high < 0]
    found = [f"raises {', '.join(raised)}"] * bool(raised)
    found += [f"lowers {', '.join(lowered)}"] * bool(lowered)
    return "; ".join(found) or ("no measurable effect" if known else "")


def seeds_cell(row: Row, figures: Sequence[str]) -> str:
    """Say how many seeds measured any of some figures, and how many should have."""
    done = sum(any(name in found for name in figures) for found in row.figures.values())
    if not done:
        return NOT_RUN
    if row.table == "baseline":
        return "-"
    return str(done) if done == row.planned else f"{done} of {row.planned}"


def _cpu(evidence: Evidence) -> str:
    titles = {row.name: row.title for row in evidence.rows}
    table = _Markdown(["row", "CPU hours"])
    for row, seconds in evidence.cpu_s.items():
        table.rows.append([titles.get(row, row), f"{seconds / 3600:.3f}"])
    total_h, rule = sum(evidence.cpu_s.values()) / 3600, CPU_RULE
    if (spent := evidence.spent_before) is not None:
        table.rows.append([spent.remark, f"{spent.cpu_hours:.3f}"])
        total_h, rule = total_h + spent.cpu_hours, CPU_RULE + SPENT_BEFORE
    table.rows.append([f"all, of a budget of {evidence.budget_cpu_hours:g}", f"{total_h:.3f}"])
    return f"## CPU time\n\n{rule}.\n\n{table.text()}{_overrun(total_h, evidence.budget_cpu_hours)}"


def _overrun(total_h: float, budget_h: float) -> str:
    """Say it in words where more was spent than was to be."""
    if total_h <= budget_h:
        return ""
    over = f"{total_h - budget_h:.2f} more than the budget of {budget_h:g}"
    return f"\nThe study took {total_h:.2f} CPU hours, {over}.\n"


def _provenance(evidence: Evidence) -> str:
    sources = evidence.sources
    versions = (f"{name} {' and '.join(found)}" for name, found in sources.versions.items())
    data = (f"{file} {sha256[:12]}" for file, sha256 in sources.data.items())
    said = {
        "Teacher": sources.teacher,
        "Code": ", ".join(versions),
        "Data (sha256)": ", ".join(data),
    }
    lines = [f"{what}: {text}.\n" for what, text in said.items() if text]
    return "## Provenance\n\n" + "\n".join(lines or ["Nothing has been run.\n"])
