"""Tables of trained variants: which runs a table needs, how they are trained and reused, and what is said of them."""
