"""``explain()``: what became of a compiled function, as a table for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .memory import in_words

if TYPE_CHECKING:
    from .capture import Capture
    from .entry import Entry

_MOST = 40  # lines of a graph


def explained(name: str, entries: list[Entry], captures: list[Capture], history: Counter[str], graph: bool) -> str:
    """The whole text: signatures, steps, chains, memory, guards, and why records were made anew."""
    runs = sum(e.runs for e in entries) + sum(c.runs for c in captures)
    lines = [f"compiled {name}: {len(entries) + len(captures)} signature(s), {runs} call(s) repeated from a record"]
    for number, entry in enumerate(entries):
        lines += ["", f"signature {number}: {entry.title}", *_entry(entry, graph)]
    for number, capture in enumerate(captures, len(entries)):
        lines += ["", f"signature {number}: {capture.title}", *_capture(capture)]
    if history:
        lines += ["", "recorded again, or run as it stands"]
        lines += [f"  {times} x {what}" if times > 1 else f"  {what}" for what, times in history.items()]
    return "\n".join(lines)


def _entry(entry: Entry, graph: bool) -> list[str]:
    if entry.reason:
        return [_row("state", "runs eagerly"), _row("because", entry.reason)]
    if entry.program is None:
        lines = [_row("state", f"being recorded, {entry.traces} call(s) so far")]
        return lines + ([_row("last difference", entry.last_difference)] if entry.last_difference else [])
    nodes, plans = entry.nodes(), entry.memory
    buffers = [b for plan in plans for b in plan.buffers]
    kinds = Counter(n.label for n in nodes if n.kind in ("call", "whole"))
    chains = [n for n in nodes if n.kind == "fused"]
    lines = [
        _row("state", f"repeated {entry.runs} time(s)"),
        _row(
            "steps", f"{len(nodes)}: {entry.recorded} recorded, {entry.folded} folded, {entry.pruned} unused, {entry.fused} fused"
        ),
        _row("calls", ", ".join(f"{n} {label}" for label, n in kinds.most_common(8)) or "none"),
        _row("chains", f"{len(chains)}" if chains else "none"),
        *[_row("", f"{n.label}  <- {', '.join(n.function.inputs)}") for n in chains[:_MOST]],
        _row(
            "arrays",
            f"{in_words(sum(p.total for p in plans))} made in a run, {in_words(max(p.peak for p in plans))} held at most",
        ),
        _row("buffers", f"{len(buffers)} of {in_words(sum(buffers))}, shared by {sum(len(p.shared) for p in plans)} chain(s)"),
        _row("guards", f"{entry.title}; {entry.held} tensor(s) from outside are the same arrays"),
    ]
    looks = [n for n in nodes if n.kind == "guard"]
    lines += [_row("", f"{n.label} is {n.value!r}{f' at {n.place}' if n.place else ''}") for n in looks[:_MOST]]
    return lines + (_graph(entry) if graph else [])


def _capture(capture: Capture) -> list[str]:
    if capture.reason:
        return [_row("state", "runs eagerly"), _row("because", capture.reason)]
    anew = [_row("captured anew", f"{times} x {why}" if times > 1 else why) for why, times in capture.anew.items()]
    if not capture.parts:
        return [_row("state", f"run as it stands before it is captured, {capture.calls} call(s) so far"), *anew]
    between = capture.parts - capture.graphs
    return [
        _row("state", f"launched {capture.runs} time(s)"),
        _row(
            "CUDA graphs",
            f"{capture.graphs}, {between} call(s) of Python between them, {in_words(capture.reserved)} in a pool of their own",
        ),
        *[_row("a graph ends", why) for why in capture.ends],
        *anew,
        _row("guards", f"{capture.title}; tensors from outside are the same arrays"),
    ]


def _graph(entry: Entry) -> list[str]:
    from .program import fills, reads

    assert entry.program is not None, "asked for only where there is one"
    slots = entry.program.slots
    lines = [_row("graph", "result <- step (arguments)")]
    for node in entry.nodes():
        made = ", ".join(f"v{s}" for s in fills(node)) or "-"
        shapes = " ".join(str(list(slots[s].shape)) for s in fills(node))
        lines.append(f"    {made} <- {node.label} ({', '.join(f'v{s}' for s in reads(node))}) {shapes}".rstrip())
    return lines


def _row(name: str, value: str) -> str:
    return f"  {name:<16}{value}"
