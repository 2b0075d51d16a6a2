"""Whether the Hugging Face hub can be reached; it fetches nothing."""

import urllib.error
import urllib.request


def hub_answers() -> bool:
    """Asked before its client is, which retries for half a minute before it gives up."""
    from huggingface_hub.constants import ENDPOINT

    try:
        urllib.request.urlopen(urllib.request.Request(ENDPOINT, method="HEAD"), timeout=10).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
