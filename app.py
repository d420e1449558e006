"""Start the demo, as ``kuaihl demo`` does. A Hugging Face Space runs this file."""

import argparse
import sys

from kuaihl.demo.server import serve
from kuaihl.errors import KuaiHLError


def main() -> None:
    """Parse the flags and serve the page."""
    parser = argparse.ArgumentParser(description="Serve the KuaiHL page and API.")
    parser.add_argument("--mcp", action="store_true", help="offer the API as an MCP server too, like KUAIHL_MCP=1")
    parser.add_argument(
        "--local-paths", action="store_true", help="let visitors name files of this machine, like KUAIHL_LOCAL_PATHS=1"
    )
    flags = parser.parse_args()
    try:
        serve(mcp=flags.mcp, local_paths=flags.local_paths)
    except KuaiHLError as error:
        sys.exit(f"kuaihl: {error}")


if __name__ == "__main__":
    main()
