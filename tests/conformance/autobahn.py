"""Serve Autobahn's cases to clients: ``python -m tests.conformance.autobahn CASE… -CASE…``; -CASE leaves out.

Prints the port, and when the client has asked for the reports, one JSON object: [behavior, close behavior] by case.
A process of its own, since kosoku changes `sys.path` and `binascii` to run cases that were written for Python 2.
"""

import asyncio
import json
import sys

from kosoku import FailureError, run_fuzzingserver

#: A client that never comes to its end is not waited for.
PATIENCE_S = 300


async def serve(cases, left_out):
    """Serve one run."""
    async with run_fuzzingserver(cases, left_out, port=0) as server:
        print(server.port, flush=True)
        try:
            results = await asyncio.wait_for(server.get_result(), PATIENCE_S)
        except FailureError as exc:
            results = exc.results
    print(json.dumps({result.case_id: [result.behavior.value, result.behavior_close.value] for result in results}))


if __name__ == "__main__":
    asyncio.run(
        serve(
            [case for case in sys.argv[1:] if case[0] != "-"],
            [case[1:] for case in sys.argv[1:] if case[0] == "-"],
        )
    )
