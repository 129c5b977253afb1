"""`erc completion`: click's own completion script, with a line that says how to install it."""

from __future__ import annotations

import click

from erc_cli.click_parts import Command

_INSTALL = {
    "bash": "erc completion bash > ~/.erc-complete.bash && echo '. ~/.erc-complete.bash' >> ~/.bashrc",
    "zsh": "erc completion zsh > ~/.erc-complete.zsh && echo '. ~/.erc-complete.zsh' >> ~/.zshrc",
    "fish": "erc completion fish > ~/.config/fish/completions/erc.fish",
}


@click.command("completion", cls=Command, examples=list(_INSTALL.values()))
@click.argument("shell", type=click.Choice(list(_INSTALL)))
def command(shell: str) -> None:
    """Print the completion script for SHELL; the examples install it for good."""
    from click.shell_completion import get_completion_class

    from erc_cli.main import erc

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"click has no completion for {shell}.")
    # bash's class asks the installed bash for its version, which is no matter of the script itself.
    script = made.source_template % made(erc, {}, "erc", "_ERC_COMPLETE").source_vars()
    click.echo(f"# Install with: {_INSTALL[shell]}\n{script}")
