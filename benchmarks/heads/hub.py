"""Whether the Hugging Face hub can be reached; it fetches nothing."""

import urllib.error
import urllib.request


def hub_answers() -> bool:
    """Checked before the hub's client is used, since that retries for half a minute before it gives up."""
    from huggingface_hub.constants import ENDPOINT

    try:
        urllib.request.urlopen(urllib.request.Request(ENDPOINT, method="HEAD"), timeout=10).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
