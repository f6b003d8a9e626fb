"""``python -m wordsight``: the command line."""

from wordsight.cli.main import main

if __name__ == "__main__":
    main()
