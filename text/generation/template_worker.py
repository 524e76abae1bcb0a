"""The process that renders chat templates: they come with weights from anywhere, so they get no part of the caller's own.

It reads one JSON object a line ({"limits"} first, then {"template", "values"}) and answers with one: {"ready"}, {"text"} or
{"error", "kind"}. Started as a script, by ``chat``; it imports nothing of nyala.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

_KEEP: dict[str, Any] = {}


def _limit(memory: int, seconds: int) -> None:
    """No more memory than this, and no more processor time; where the system has such limits."""
    try:
        import resource
    except ImportError:  # Windows: the caller's clock still ends it
        return
    for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_FSIZE, 0)):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _environment() -> Any:
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_generation(), loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return made


def _generation() -> Any:
    """The tag ``{% generation %}``, with which templates mark what the model wrote: here it changes nothing."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - jinja2's own way

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    return Generation


def _render(template: str, values: dict[str, Any], most: int) -> dict[str, Any]:
    import jinja2

    if "environment" not in _KEEP:
        _KEEP["environment"] = _environment()
    try:
        if _KEEP.get("source") != template:
            _KEEP["made"], _KEEP["source"] = _KEEP["environment"].from_string(template), template
        pieces, size = [], 0
        for piece in _KEEP["made"].generate(**values):
            size += len(piece)
            if size > most:
                return {"kind": "output", "error": f"it writes more than {most:,} characters"}
            pieces.append(piece)
    except jinja2.TemplateSyntaxError as error:
        return {"kind": "syntax", "error": str(error.message), "line": error.lineno}
    except jinja2.sandbox.SecurityError as error:
        return {"kind": "security", "error": str(error)}
    except jinja2.UndefinedError as error:
        return {"kind": "undefined", "error": str(error.message)}
    except jinja2.TemplateError as error:
        return {"kind": "refused", "error": str(error.message or type(error).__name__)}
    except MemoryError:
        return {"kind": "memory", "error": "it takes more memory than it may have"}
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:  # of its expressions
        return {"kind": "failed", "error": f"{type(error).__name__}: {error}"[:500]}
    return {"text": "".join(pieces)}


def main() -> None:
    """Answer until the input ends."""
    most = 1 << 20
    for line in sys.stdin:
        asked = json.loads(line)
        if "limits" in asked:
            told = asked["limits"]
            most = told["output"]
            _environment()  # what jinja2 itself needs is loaded before memory is limited
            _limit(told["memory"], told["processor"])
            print(json.dumps({"ready": True}), flush=True)
            continue
        print(json.dumps(_render(asked["template"], asked["values"], most)), flush=True)


if __name__ == "__main__":
    sys.path += sys.argv[1:]  # where the caller has jinja2 from
    main()
