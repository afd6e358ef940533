"""``python -m mailsync`` is ``mailsync``."""

from mailsync.cli import main

if __name__ == "__main__":
    main()
