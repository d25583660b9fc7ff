"""``python -m lit_gen`` is ``lit-gen``."""

import sys

from lit_gen.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
