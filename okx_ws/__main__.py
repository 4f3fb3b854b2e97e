"""``python -m okx_ws`` and the command ``okx-ws``."""

import sys


def main() -> None:
    """Run the command line; without its extra, say in one sentence what to install."""
    try:
        from .cli import run
    except ModuleNotFoundError as exc:
        # Ours missing is a bug and shows as one; somebody else's is an extra that was not installed.
        if (exc.name or "").partition(".")[0] == __package__:
            raise
        sys.stderr.write(f"okx-ws needs the extra 'cli' ({exc.name} is missing): pip install 'okx-ws[cli]'\n")
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
