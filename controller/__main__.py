"""`python -m controller`: the same as the console script."""

from controller.cli import main

if __name__ == "__main__":
    main()
