"""``python -m wordsight``: the command line."""

from wordsight.serve.cli import main

if __name__ == "__main__":
    main()
