"""Parts that indexes on all kinds of servers share."""
