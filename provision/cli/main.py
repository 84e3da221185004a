"""The command `holdfast`: finds the verb, runs it, and turns every ending into an exit code.

This is the only place that decides what a failure looks like on the screen. A traceback never
reaches it: what nobody foresaw is written to a file, and one line names that file.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from provision import __version__
from provision.cli.output import error_document, print_document, print_problems
from provision.cli.registry import VERBS, Verb
from provision.core.exitcodes import ExitCode
from provision.core.names import nearest, suggest
from provision.core.problems import HoldfastError, Problem

_EPILOG = """\
exit codes:
  0    nothing fails (`plan` exits 0 with changes pending)
  1    something fails or is unknown
  2    bad input or usage; nothing was contacted
  3    could not run or finish: unreachable, refused, locked, internal
  130  interrupted

`holdfast VERB --help` says more about a verb.
"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are problems like all others.

    Options are never abbreviated: a new option must not change what an old script says.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **given})

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the command line, with exit code 2.

        Raises:
            HoldfastError: always.
        """
        problem = Problem("usage", message, where=self.prog, hint=f"see `{self.prog} --help`")
        raise HoldfastError([problem], ExitCode.USAGE)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse a whole command line; a word that is left over is a mistake with a hint.

        Raises:
            HoldfastError: with exit code 2.
        """
        found, extra = self.parse_known_args(args, namespace)
        if extra:
            word = extra[0].partition("=")[0]
            known = {o for leaf in leaves(self) for a in leaf._actions for o in a.option_strings}
            close = nearest(word, known) if word.startswith("-") else None
            hint = f"did you mean {close!r}?" if close else f"see `{self.prog} --help`"
            what = "option" if word.startswith("-") else "word"
            problem = Problem(
                "usage", f"there is no {what} {word!r} here", where=self.prog, hint=hint
            )
            raise HoldfastError([problem], ExitCode.USAGE)
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a word that is none of the choices, and name the nearest."""
        if action.choices is not None and value not in action.choices:
            hint = suggest(str(value), map(str, action.choices))
            raise argparse.ArgumentError(action, f"there is no {value!r} here; {hint}")


def build_parser(verbs: dict[str, Verb]) -> Parser:
    """The top parser, which knows the verbs by name and help only; it loads none of them."""
    width = max(map(len, verbs))
    listing = "\n".join(f"  {name:<{width}}  {verb.help}" for name, verb in verbs.items())
    parser = Parser(
        prog="holdfast",
        usage="holdfast [--help] [--version] VERB ...",
        description="Own the whole stack, from the operating system to the answer.\n\nverbs:\n"
        + listing,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"holdfast {__version__}")
    return parser


def build_verb_parser(name: str, verb: Verb) -> Parser:
    """The parser of one verb, which imports that verb's module.

    Raises:
        ImportError: the installation is not whole.
    """
    parser = Parser(
        prog=f"holdfast {name}",
        description=verb.help[:1].upper() + verb.help[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _configure(parser, verb)
    return parser


def whole_parser() -> Parser:
    """One parser with every verb and its options, for completion and the reference page.

    Raises:
        ImportError: the installation is not whole.
    """
    top = build_parser(VERBS)
    verbs = top.add_subparsers(dest="verb", metavar="VERB")
    for name, verb in VERBS.items():
        child = verbs.add_parser(
            name,
            help=verb.help,
            description=verb.help[:1].upper() + verb.help[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _configure(child, verb)
    return top


def _configure(parser: argparse.ArgumentParser, verb: Verb) -> None:
    verb.load().configure(parser)
    parser.set_defaults(json=False)
    for leaf in leaves(parser):
        leaf.add_argument(
            "--json",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print one JSON document on stdout",
        )


def leaves(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parsers that end a command line: the sub-commands, or `parser` itself without any."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return [leaf for child in action.choices.values() for leaf in leaves(child)]
    return [parser]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        argv: the words after `holdfast`; those of this process when None.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal of another encoding than UTF-8 shows `?` for a tick; that must not end a run.
        sys.stdout.reconfigure(errors="replace")
    try:
        return int(_dispatch(words))
    except HoldfastError as error:
        return _report(error.problems, error.exit_code, as_json)
    except KeyboardInterrupt:
        problem = Problem("interrupted", "interrupted")
        return _report([problem], ExitCode.INTERRUPTED, as_json)
    except BrokenPipeError:
        # The reader went away (`holdfast ... | head`); there is nobody left to tell, and the
        # interpreter must not try again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.NOT_DONE)
    except SystemExit as ending:  # argparse ends --help and --version this way
        return ending.code if isinstance(ending.code, int) else int(ExitCode.OK)
    except Exception as error:
        return _report([_crash(error, words)], ExitCode.NOT_DONE, as_json)


def _dispatch(words: list[str]) -> ExitCode:
    top = build_parser(VERBS)
    if not words:
        top.print_help()
        return ExitCode.USAGE
    name = words[0]
    if name.startswith("-"):
        top.parse_args(words)
        top.error(f"a verb must come first, not {name!r}")
    if name not in VERBS:
        close = nearest(name, VERBS)
        hint = f"did you mean {close!r}?" if close else "see `holdfast --help` for the verbs"
        problem = Problem("unknown-verb", f"there is no verb {name!r}", value=name, hint=hint)
        raise HoldfastError([problem], ExitCode.USAGE)
    verb = VERBS[name]
    args = build_verb_parser(name, verb).parse_args(words[1:])
    return verb.load().run(args)


def _report(problems: list[Problem], code: ExitCode, as_json: bool) -> int:
    if as_json:
        print_document(error_document(problems, code))
    else:
        print_problems(problems)
    return int(code)


def _crash(error: Exception, words: list[str]) -> Problem:
    summary = f"internal error: {type(error).__name__}: {error}".split("\n")[0]
    try:
        kept = str(_write_crash(error, words))
    except OSError as unwritable:
        kept = f"could not be kept ({unwritable})"
    return Problem("internal", summary, hint=f"this is a fault of Holdfast; details: {kept}")


def _write_crash(error: Exception, words: list[str]) -> Path:
    from provision.core.files import write_whole
    from provision.core.paths import state_home

    folder = state_home() / "crash"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.txt"
    trace = "".join(traceback.format_exception(error))
    write_whole(path, f"holdfast {__version__} {' '.join(words)}\n\n{trace}", mode=0o600)
    return path


if __name__ == "__main__":
    sys.exit(main())
