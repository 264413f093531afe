"""Tells how tests end."""

import traceback


def report(*tests):
    """Runs functions, each a test, and tells of each."""
    for test in tests:
        try:
            test()
            print(f"ok {test.__name__}")
        except Exception:
            print(f"failed {test.__name__}")
            traceback.print_exc()
