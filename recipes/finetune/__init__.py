"""Fine-tuning in one line, which leaves the plain recipe it ran: data and model are looked at, and stated rules decide."""

from __future__ import annotations

from .facts import Facts
from .rules import table
from .tune import Finetuned, Proposal, finetune, propose

__all__ = ["Facts", "Finetuned", "Proposal", "finetune", "propose", "table"]
