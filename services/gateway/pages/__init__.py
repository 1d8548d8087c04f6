"""Pages of the gateway: plain HTML without scripts, from the objects that the API answers with."""
