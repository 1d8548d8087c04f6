"""Who may do what: keys, tokens, and the requests that a browser may be made to send."""
