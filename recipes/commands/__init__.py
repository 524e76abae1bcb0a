"""The commands, one module each: ``NAME``, ``HELP``, ``EXAMPLES``, ``add_arguments(parser)``, ``execute(args) -> exit code``."""

from __future__ import annotations

from types import ModuleType

from . import (
    audit,
    bundle,
    chat,
    contracts,
    doctor,
    embed,
    evaluate,
    finetune,
    generate,
    list_,
    lock,
    lr,
    plan,
    predict,
    pull,
    push,
    recipes,
    report,
    resume,
    run,
    show,
    transcribe,
    verify,
)

COMMANDS: tuple[ModuleType, ...] = (
    list_,
    show,
    pull,
    lock,
    bundle,
    predict,
    generate,
    chat,
    embed,
    transcribe,
    recipes,
    plan,
    lr,
    finetune,
    run,
    resume,
    verify,
    audit,
    push,
    evaluate,
    contracts,
    report,
    doctor,
)
