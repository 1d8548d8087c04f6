"""`instep mcp`: the index as tools of an assistant, over the Model Context Protocol."""
