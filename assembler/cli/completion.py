"""`completion`: the name of a shell → what that shell runs to complete `assembler`.

The shell then asks with the variable `ASSEMBLER_COMPLETE`, which the table of commands answers. Where
that has nothing to say, the shell completes names of files.
"""

from enum import StrEnum
from typing import Annotated

import typer

from assembler.cli.output import show


class Shell(StrEnum):
    """Whose completion."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


_SCRIPTS = {
    Shell.bash: """\
_assembler() {
    local IFS=$'\\n'
    COMPREPLY=($(ASSEMBLER_COMPLETE=bash assembler "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _assembler assembler""",
    Shell.zsh: """\
#compdef assembler
_assembler() {
    local -a found
    found=("${(@f)$(ASSEMBLER_COMPLETE=zsh assembler "${(@)words[2,$CURRENT]}" 2>/dev/null)}")
    found=("${(@)${(@)found//:/\\\\:}/$'\\t'/:}")
    if [[ -n "${found[*]}" ]]; then _describe assembler found; else _files; fi
}
compdef _assembler assembler""",
    Shell.fish: """\
function __assembler
    set --local words (commandline --tokens-expanded --cut-at-cursor 2>/dev/null)[2..]
    ASSEMBLER_COMPLETE=fish assembler $words (commandline --current-token --cut-at-cursor) 2>/dev/null
end
complete --command assembler --arguments '(__assembler)'""",
}


def completion(
    shell: Annotated[Shell, typer.Argument(help="Whose completion.", show_default=False)],
) -> None:
    """Print what a shell runs to complete `assembler`: commands, options and their values."""
    show(_SCRIPTS[shell])
