"""A key that lies in the system's keyring, not in the program: read when it is needed, and printed nowhere."""

from collections.abc import Callable

from okx_ws import OkxWebSocketManager, UsageError
from okx_ws.exchange import LocalExchange

#: The name under which the three parts were stored, once: ``keyring set okx-demo apiKey`` and so on.
SERVICE = "okx-demo"

GetPassword = Callable[[str, str], str | None]


def key_from(get_password: GetPassword, service: str = SERVICE) -> dict[str, str]:
    """Return the key as keyword arguments of a manager; `get_password` is that of ``keyring`` (PyPI)."""
    return {name: get_password(service, name) or "" for name in ("apiKey", "secretKey", "passphrase")}


def main() -> None:
    with LocalExchange() as exchange:
        # With the real one: import keyring, and take keyring.get_password. Here a dict stands for the system's keyring.
        stored = {(SERVICE, name): value for name, value in exchange.credentials.items()}

        def get_password(service: str, name: str) -> str | None:
            return stored.get((service, name))

        with OkxWebSocketManager(**key_from(get_password), urls=exchange.urls) as ws:
            ws.subscribe("account").wait()
            print("logged in; the manager shows as", ws)
            details = ws.get(timeout=10)["data"][0]["details"]
            print("currencies:", ", ".join(row["ccy"] for row in details))
            print("the secret is in what the manager shows:", stored[SERVICE, "secretKey"] in str(vars(ws)))

        del stored[SERVICE, "passphrase"]
        try:
            OkxWebSocketManager(**key_from(get_password), urls=exchange.urls)
        except UsageError as exc:
            print("incomplete:", exc)
        try:
            OkxWebSocketManager(urls=exchange.urls).mass_cancel_spread_orders()
        except UsageError as exc:
            print("without one:", exc)


if __name__ == "__main__":
    main()
