"""The protocol, pure: told what arrived and what time it is; answers with events and with text to send.

No socket, thread, queue or clock in here. Times are seconds on whatever monotonic clock the caller uses.
"""
