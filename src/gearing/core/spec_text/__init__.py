"""Token specifications as TOML text: reading that names every mistake with its line, and writing.

Pure: text in, records out. The records' own fields and types drive both directions.
"""

from gearing.core.spec_text.read import parse_token
from gearing.core.spec_text.write import EXAMPLES, example_token, format_token

__all__ = ["EXAMPLES", "example_token", "format_token", "parse_token"]
