"""Start the demo, as ``kuaihl demo`` does. A Hugging Face Space runs this file."""

import argparse
import sys

from kuaihl.demo.server import serve
from kuaihl.errors import KuaiHLError


def main() -> None:
    """Parse the flags and serve the page."""
    parser = argparse.ArgumentParser(description="Serve the KuaiHL page and API.")
    parser.add_argument("--mcp", action="store_true", help="offer the API as an MCP server too, like KUAIHL_MCP=1")
    try:
        serve(mcp=parser.parse_args().mcp)
    except KuaiHLError as error:
        sys.exit(f"kuaihl: {error}")


if __name__ == "__main__":
    main()
