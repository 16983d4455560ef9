"""Exit 0 when this container's service is ready for traffic, 1 when not; standard library only."""

import http.client
import os
import sys

TIMEOUT_S = 2


def is_ready(port: int) -> bool:
    """Ask `/health/ready` on loopback; no answer in time is a no."""
    # Not urllib: a proxy set in the environment must not be asked about loopback.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_ready(int(os.environ.get("NEWSBERT_PORT", "8000"))) else 1)
