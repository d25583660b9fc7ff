"""Options of the verbs that need no config."""

import argparse
from typing import NoReturn

from lit_gen.errors import UserError


class OptionParser(argparse.ArgumentParser):
    """argparse whose errors are told in one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self.prog} --help tells the options)")
